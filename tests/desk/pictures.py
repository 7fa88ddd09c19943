"""Makes the pictures of the README: `python tests/desk/pictures.py` from the checkout, where Chromium is there.

A sandbox's November is planned and shown as it is: nothing is touched up."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parent))

from browser import chromium, tab
from office import MONTH, office
from test_browser import _running

from billingsync.core.desk import Role
from billingsync.sandbox.options import SandboxOptions

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    FOLDER.mkdir(exist_ok=True)
    options = SandboxOptions(seed=7, clients=24, charges=240)
    with tempfile.TemporaryDirectory() as folder, office(Path(folder), options) as desk:
        desk.plan()
        head = desk.ledger.newest_plan(MONTH)
        assert head
        row = next(row for row in desk.ledger.client_rows(head.digest) if row.lines > 2 and not row.holds)
        body = desk.ledger.client_body(head.digest, row.nth)
        assert body
        charge = body["lines"][0]["charges"][0]
        orders, server = _running(desk)
        with orders, server, chromium() as browser:
            base, cookie = f"http://127.0.0.1:{server.port}", desk.session(Role.FINANCIAL)
            for name, path in (("ready", f"/ready/{MONTH}"), ("charge", f"/charges/{charge}")):
                with tab(browser, base, cookie) as opened:
                    opened.go(path)
                    opened.page.screenshot(path=str(FOLDER / f"{name}.png"))


if __name__ == "__main__":
    main()
