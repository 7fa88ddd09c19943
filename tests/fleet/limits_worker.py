"""A fleet's worker with limits that a test can reach. `python limits_worker.py URL MEMORY LONGEST_S LEASE_S TURN_S
DATABASE_BYTES`."""

from __future__ import annotations

import asyncio
import sys

from billingsync.fleet.engines import make_engine
from billingsync.fleet.worker import FleetWorker
from billingsync.log import set_up_logging
from billingsync.store.fleet import open_fleet

if __name__ == "__main__":
    _, url, memory, longest_s, lease_s, turn_s, database_bytes = sys.argv
    set_up_logging(format="json", level="info", redact=str)
    with open_fleet(url) as fleet:
        worker = FleetWorker(
            fleet=fleet,
            engine=make_engine(url),
            database_url=url,
            slots=3,
            name="limits",
            lease_s=float(lease_s),
            longest_s=float(longest_s),
            memory=int(memory),
            turn_s=float(turn_s),
            database_bytes=int(database_bytes),
            log_format="json",
        )
        asyncio.run(worker.work())
