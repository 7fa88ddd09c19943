"""What an MSP would write with the packages `pax8` 0.5 and `HaloPSA` 2.0.2: one page and one POST at a time.

Run by the Python of a virtual environment that holds just these two, which `python_of_peers` makes. Both packages know
one address each, the vendor's. `pointed_at` rewrites it in `requests`, which both use; nothing else of them is changed.
`pax8` cannot make its own InvoiceItem of today's items (it knows neither `salesTax` nor `subscriptionId`, and raises
TypeError), so its REST layer is used, as one would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("pax8==0.5", "HaloPSA==2.0.2")


def python_of_peers() -> str:
    """The interpreter of the peers' environment; made once, in the folder for temporary files."""
    folder = Path(tempfile.gettempdir()) / f"billingsync-bench-peers-{os.getuid()}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return str(python)


def run_peer(job: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """`job`: fetch | post. What this file prints when it is run by the peers' Python."""
    settings = {name: value for name, value in environment.items() if name.startswith("BILLINGSYNC_")}
    done = subprocess.run(
        [python_of_peers(), __file__, job, "2026-11"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the peer's script failed:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def pointed_at(environment: Mapping[str, str]) -> None:
    """Sends what is meant for the vendors to the sandbox."""
    import requests

    halo = environment["BILLINGSYNC_HALO__BASE_URL"]
    places = {
        "https://login.pax8.com/oauth/token": environment["BILLINGSYNC_PAX8__TOKEN_URL"],
        "https://api.pax8.com/v1/": f"{environment['BILLINGSYNC_PAX8__BASE_URL']}/",
        "https://sandbox.halopsa.com/": f"{halo}/",
    }
    request = requests.Session.request

    def redirected(self: Any, method: str, url: str, **more: Any) -> Any:
        there = next((place + url[len(vendor) :] for vendor, place in places.items() if url.startswith(vendor)), url)
        if isinstance(more.get("json"), dict) and "audience" in more["json"]:
            # The package still asks with the audience of Pax8's old login.
            more["json"] = {**more["json"], "audience": environment["BILLINGSYNC_PAX8__AUDIENCE"]}
        return request(self, method, there, **more)

    requests.Session.request = redirected  # type: ignore[method-assign]


def fetch(environment: Mapping[str, str], month: str) -> list[dict[str, Any]]:
    """Every item of the month's invoices, page after page."""
    from pax8 import Pax8Client

    pax8 = Pax8Client(
        environment["BILLINGSYNC_PAX8__CLIENT_ID"], environment["BILLINGSYNC_PAX8__CLIENT_SECRET"], cache_token=False
    )
    invoices = pax8.conn.list_resource("invoices", {"page": 0, "size": 200})
    items: list[dict[str, Any]] = []
    for invoice in invoices:
        if not invoice["invoiceDate"].startswith(month) or invoice["status"] in ("Void", "Credited"):
            continue
        page, pages = 0, 1
        while page < pages:
            answer = pax8.conn.list_nested_resource(
                "invoices", invoice["id"], "items", {"page": page, "size": 200}, content_only=False
            )
            items += answer["content"]
            page, pages = page + 1, answer["page"]["totalPages"]
    return items


def post(environment: Mapping[str, str], items: list[dict[str, Any]]) -> dict[str, Any]:
    """One invoice for each client of that name, one after the other; where it ends, and how."""
    from HaloPSA.Halo import Halo

    halo = Halo("sandbox", environment["BILLINGSYNC_HALO__CLIENT_ID"], environment["BILLINGSYNC_HALO__CLIENT_SECRET"])
    clients = {row["name"]: row["id"] for row in halo.Clients.search(count=10_000)["clients"]}
    lines: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in items:
        client = clients.get(item["companyName"]) or clients.get((item["companyName"] or "").rsplit(" ", 1)[0])
        if client:
            lines[client].append(
                {
                    "item_shortdescription": item["description"],
                    "qty_order": item["quantity"],
                    "unit_price": item["price"],
                    "unit_cost": item["cost"],
                }
            )
    posted = 0
    for client, its in lines.items():
        try:
            halo.Invoices.update(client_id=client, invoice_date="2026-11-05T00:00:00", lines=its)
        except Exception as ended:  # noqa: BLE001 - whatever the package makes of it ends such a script
            return {"clients": len(lines), "posted": posted, "ended": f"{type(ended).__name__}: {ended}"}
        posted += 1
    return {"clients": len(lines), "posted": posted, "ended": ""}


def _main() -> None:
    job, month = sys.argv[1:]
    pointed_at(os.environ)
    began, cpu = time.monotonic(), time.process_time()
    items = fetch(os.environ, month)
    found: dict[str, Any] = {"items": len(items)}
    if job == "post":
        found |= post(os.environ, items)
    print(json.dumps({**found, "wall_s": time.monotonic() - began, "cpu_s": time.process_time() - cpu}))


if __name__ == "__main__":
    _main()
