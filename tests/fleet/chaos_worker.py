"""`billingsync fleet worker` as it is, but for what `fleet_patches` changes in it and in its cycles."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

from billingsync.cli import main
from billingsync.fleet.worker import FleetWorker
from tests.fleet import fleet_patches  # noqa: F401

if __name__ == "__main__":
    true = FleetWorker.__post_init__

    def with_patches(worker: Any) -> None:
        true(worker)
        multiprocessing.get_context("forkserver").set_forkserver_preload(
            ["billingsync.fleet.warm", "tests.fleet.fleet_patches"]
        )

    FleetWorker.__post_init__ = with_patches  # type: ignore[method-assign]
    sys.exit(main(["fleet", "worker", *sys.argv[1:]]))
