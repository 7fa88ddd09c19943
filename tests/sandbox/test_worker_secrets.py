"""No secret in anything that the service gives out: canaries are planted, every output is searched (fault 8, I9)."""

from __future__ import annotations

import base64
import http.client
import http.server
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from bench import AUTO, bench
from sqlalchemy import create_engine

from billingsync.log import set_up_logging
from billingsync.sandbox.options import SandboxOptions
from billingsync.service.http_port import Port
from billingsync.service.metrics import Metrics
from billingsync.service.status import take
from billingsync.service.webhook import PATH, route
from billingsync.store.schema import metadata

CANARY = "kanarienvogel-4711-geheim"
TOKEN = "kanarienvogeltoken9273"
HOOK = "kanarienvogelhaken-0815"


class Inbox(http.server.BaseHTTPRequestHandler):
    received: list[bytes]

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers.get("content-length") or 0)))
        self.send_response(500 if len(self.received) % 2 else 200)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


def call_webhook(value: str) -> tuple[int, bytes]:
    """The webhook as the worker serves it: (status, body)."""
    with Port("127.0.0.1", 0, [route(HOOK, lambda: None)], group="WEBHOOK") as hook:
        connection = http.client.HTTPConnection("127.0.0.1", hook.port, timeout=10)
        connection.request("POST", PATH, body=HOOK, headers={"Authorization": value})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()


REPORTS = (["--json"], ["--format", "html", "--out", "plan.html"], ["--format", "xlsx", "--out", "plan.xlsx"])


def tables(url: str) -> dict[str, str]:
    """Every row of every table: what lies in a database file in pieces cannot hide."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {table.name: str(list(connection.execute(table.select()))) for table in metadata.sorted_tables}
    engine.dispose()
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise's own imports
def test_canaries_in_every_credential_are_in_no_output(tmp_path: Path, ledger_url: str) -> None:
    from billingsync.service.notify import Delivery, hide

    handler = type("Inbox", (Inbox,), {"received": []})
    options = SandboxOptions(clients=3, history=0, secret=CANARY)
    stream = io.StringIO()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        settings = {
            "BILLINGSYNC_NOTIFY__URLS": f"json://u:{TOKEN}@{host}/{TOKEN}",
            "BILLINGSYNC_PING__URL": f"http://{host}/{TOKEN}",
            "BILLINGSYNC_HALO__EXTRA_HEADERS": '{"x-extra": "kanarienvogelkopf"}',
            "BILLINGSYNC_WEBHOOK__AUTHORIZATION": HOOK,
            "BILLINGSYNC_NOTIFY__HALO_TICKET": "{}",
        }
        with bench(tmp_path, options, rules=AUTO, database_url=ledger_url, **settings) as (worker, sandbox):
            set_up_logging(format="json", level="debug", redact=worker.redactor.text, stream=stream)
            try:
                service = worker.worker
                delivery = Delivery(service.settings, service.ledger, worker.redactor)
                service.pings.start()
                hide([settings["BILLINGSYNC_NOTIFY__URLS"]], worker.redactor)
                # an upstream that gives our own secret back, in every way it could
                for text in (f"{CANARY}-halo", base64.b64encode(f"x:{CANARY}-halo".encode()).decode()):
                    sandbox.faults.add(f"halo:GET:/Client:1:400:body={text}")
                    worker.cycle()
                    worker.turn(hours=1)
                sandbox.faults.add("pax8:POST:/token:*:401")
                worker.cycle()
                sandbox.faults.clear()
                worker.turn(hours=1)
                worker.cycle()
                delivery.round()
                delivery.round()
                metrics = Metrics(lambda: take(service.ledger), service.progress).text()
                worker.office.run("audit", "export", "2026-11", "--out", "audit").must(0)
                status = worker.office.run("status", "--json")
                shown = worker.office.run("status")
                listed = worker.office.run("settings", "show")
                tested = worker.office.run("notify", "test")
                hooked = call_webhook(HOOK), call_webhook(HOOK + "x"), call_webhook("")
                planned = [worker.office.run("plan", *words).text for words in REPORTS]
                service.pings.stop()
            finally:
                set_up_logging(format="json", level="info")
        server.shutdown()
    texts = {
        "log": stream.getvalue(),
        "metrics": metrics.decode(),
        "status": status.text + shown.text,
        "settings": listed.text,
        "notify test": tested.text,
        "notices": b"".join(handler.received).decode(),
        "tickets": str(sandbox.halo.tickets),
        "plans": "".join(planned),
        "webhook": str(hooked),
    }
    assert [status for status, _ in hooked] == [202, 401, 401] and sandbox.halo.tickets
    texts |= tables(ledger_url)
    for path, content in worker.office.everything_written():
        texts[path.name] = content.decode("latin-1")
    assert len(handler.received) > 2 and "cycle ended" in texts["log"] and "***" in texts["notice"]
    assert {"plan.html", "plan.xlsx", "sheet1.xml", "SHA256SUMS"} <= set(texts), sorted(texts)
    for secret in (CANARY, TOKEN, HOOK, "kanarienvogelkopf", base64.b64encode(CANARY.encode()).decode()[:20]):
        for name, text in texts.items():
            assert secret not in text, (secret, name)
