"""The worker's process: signals, the watchdog, the stop.

Two threads that matter. The one that works runs a cycle when it is due and waits in between. The main one only
watches: signals, the watchdog (fed as long as the *work* shows signs of life), and the stop, which gives a write in
hand its time and no more. Whatever is cut off there is found out about by the next start: the ledger is the truth.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import structlog

from billingsync.service.sdnotify import Systemd
from billingsync.service.worker import Worker

GRACE_WRITING_S = 90.0  # a write in hand: one call of 60 s and what follows it
GRACE_S = 5.0  # anything else may be cut off: nothing is lost but the reading


def run_process(worker: Worker, systemd: Systemd, *, exit_now: Callable[[int], None], grace_s: float = GRACE_S) -> int:
    """Works until SIGTERM or SIGINT; gives the exit code: 0, or 1 where the work itself died. `exit_now` ends the
    process where the work does not stop within `grace_s`, or longer where a write is in hand."""
    turn = min(1.0, systemd.watchdog_s / 3) if systemd.watchdog_s else 1.0
    working = threading.Thread(target=worker.work, name="work", daemon=True)
    stopping = worker.progress.stopping
    with _signals() as wait:
        worker.delivery.start()
        worker.pings.start()
        working.start()
        systemd.ready()
        hung = False
        while working.is_alive() and not stopping.is_set():
            if not worker.progress.hangs():
                systemd.alive()
                worker.show_life()
                hung = False
            elif not hung:
                hung = True
                structlog.get_logger().error("the work hangs", doing=worker.progress.doing)
                if not systemd.watchdog_s:  # nobody watches us: end, so that whoever started us starts us again
                    exit_now(1)
            systemd.status(worker.progress.doing)
            for number in wait(turn):
                if number == getattr(signal, "SIGHUP", None):
                    worker.wake()
                else:
                    worker.stop()
        if not stopping.is_set():
            structlog.get_logger().error("the work died")
            return 1
        return _stopped(worker, working, systemd, exit_now, grace_s)


def _stopped(
    worker: Worker, working: threading.Thread, systemd: Systemd, exit_now: Callable[[int], None], grace_s: float
) -> int:
    systemd.stopping()
    writing = worker.progress.writing
    systemd.status("stopping; a write is being finished" if writing else "stopping")
    structlog.get_logger().info("stopping", doing=worker.progress.doing)
    left = GRACE_WRITING_S if writing else grace_s
    while working.is_alive() and left > 0:
        systemd.alive()
        working.join(min(1.0, left))
        left -= 1.0
    worker.pings.stop()
    if working.is_alive():
        structlog.get_logger().warning(
            "stopped in the middle; the next start finds out and goes on", doing=worker.progress.doing
        )
        exit_now(0)  # threads in a call would keep the process
    worker.delivery.stop()
    structlog.get_logger().info("stopped cleanly")
    return 0


@contextmanager
def _signals() -> Iterator[Callable[[float], list[int]]]:
    """SIGTERM, SIGINT and SIGHUP become values: gives a function that waits so many seconds at most and returns those
    that came. The handlers themselves do next to nothing: a lock taken in one could be the one that it interrupted."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)

    def on_signal(number: int, frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(writer, bytes([number]))

    def wait(seconds: float) -> list[int]:
        if not select.select([reader], [], [], seconds)[0]:
            return []
        return list(os.read(reader, 100))

    numbers = [number for name in ("SIGTERM", "SIGINT", "SIGHUP") if (number := getattr(signal, name, None))]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
