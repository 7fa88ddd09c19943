"""The desk's own hands: a thread that carries out orders where no worker shows life."""

from __future__ import annotations

import threading

import structlog

from billingsync.errors import BillingSyncError
from billingsync.run.orders import Carrier
from billingsync.store.orders import SILENT

TURN_S = 1.0
LIFE_S = 20.0


class OrderThread:
    """`with OrderThread(carrier) as orders:`; `orders.wake()` makes it look at once."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="orders", daemon=True)

    def __enter__(self) -> OrderThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5)

    def wake(self) -> None:
        self._wake.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(TURN_S)
            self._wake.clear()
            try:
                if not self._worker_lives():
                    while not self._stop.is_set() and self._carrier.one():
                        pass
            except BillingSyncError as failed:
                structlog.get_logger("desk").error("orders wait", code=failed.code, says=failed.message)
                self._stop.wait(5 * TURN_S)

    def _worker_lives(self) -> bool:
        last = self._carrier.ledger.last_life("worker")
        return last is not None and self._carrier.clock() - last < SILENT
