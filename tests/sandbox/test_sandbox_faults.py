"""Each kind of fault, as a real HTTP client meets it, and what it leaves in the tables."""

import time
from pathlib import Path

import httpx2
import pytest

from billingsync.sandbox.caller import Caller, json
from billingsync.sandbox.clock import Clock
from billingsync.sandbox.faults import KINDS, STATUSES, Fault, Faults, parse_fault
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def server():
    with Sandbox() as sandbox, Caller(sandbox.environment()) as caller:
        yield sandbox, caller


@pytest.fixture
def sandbox(server):
    server[0].reset(SandboxOptions(clients=3, charges=10, trouble=False, history=0))
    return server[0]


@pytest.fixture
def caller(server, sandbox):
    server[1].forget()
    server[1].http.timeout = 10
    return server[1]


def impatient(caller):
    caller.halo("/Tax")  # logs in, with all the time it needs
    caller.http.timeout = 0.3


MARKED = {"item_longdescription": "text [key]", "productnumber": "key"}
LINES = [
    {"item_shortdescription": "a", "qty_order": 1, "unit_price": 1.5, **MARKED},
    {"item_shortdescription": "b", "qty_order": 2, "unit_price": 2.25, **MARKED},
]
BODY = [{"client_id": 214, "internal_note": "key", "lines": LINES}]


def post(caller):
    return caller.halo("/Invoice", "POST", BODY)


def written(sandbox):
    """Invoices that the tests' POSTs left in the table."""
    return [row for row in sandbox.halo.invoices.values() if row["date_created"].startswith("2026-11-05")]


# --- which calls -----------------------------------------------------------------------------------------------------


def hits(text, calls=6):
    faults = Faults(1, Clock())
    faults.add(text)
    return [number for number in range(1, calls + 1) if faults.pick("halo", "POST", "/Invoice")]


def test_which_calls_are_hit():
    assert hits("halo:POST:/Invoice:1:500") == [1]
    assert hits("halo:POST:/Invoice:3:500") == [3]
    assert hits("halo:POST:/Invoice:2+:500") == [2, 3, 4, 5, 6]
    assert hits("halo:POST:/Invoice:2:500:times=2") == [2, 3]
    assert hits("halo:POST:/Invoice:*:500") == [1, 2, 3, 4, 5, 6]
    assert hits("*:*:/inv*:1:500") == [1]
    assert hits("pax8:POST:/Invoice:*:500") == hits("halo:GET:/Invoice:*:500") == hits("halo:POST:/Item:*:500") == []
    share = len(hits("halo:POST:/Invoice:10%:500", 2_000))
    assert 140 < share < 260 and len(hits("halo:POST:/Invoice:10%:500", 2_000)) == share


def test_one_fault_a_call_and_clear():
    faults = Faults(1, Clock())
    first, second = faults.add("halo:*:*:*:500"), faults.add(Fault(kind="reset", times=None))
    assert faults.pick("halo", "GET", "/Tax")[0] is first and faults.pick("pax8", "GET", "/companies")[0] is second
    assert faults.fired == [first, second] and len(faults) == 2
    faults.clear()
    assert faults.pick("halo", "GET", "/Tax") is None


def test_notation():
    fault = parse_fault("Halo:post:/Invoice/*:2:late:seconds=1.5:calls=3:answer=reset:times=*")
    assert (fault.service, fault.method, fault.path, fault.nth) == ("halo", "POST", "/Invoice/*", 2)
    assert (fault.seconds, fault.calls, fault.answer, fault.times) == (1.5, 3, "reset", None)
    assert parse_fault("pax8:GET:*:1:redirect:to=http://127.0.0.1:9/x").to == "http://127.0.0.1:9/x"
    assert parse_fault("halo:POST:*:1:drop_marker:fields=a,b").fields == ("a", "b")


@pytest.mark.parametrize(("text", "says"), [
    ("halo:POST:/Invoice:1:timeout_afer", "timeout_after"),
    ("halo:POST:/Invoice:1:melt", "Known kinds: 200, 400"),
    ("halo:POST:/Invoice", "service:METHOD:path:which:kind"),
    ("xero:POST:/Invoice:1:500", "pax8, halo"),
    ("halo:POST:/Invoice:soon:500", "1, 2+"),
    ("halo:POST:/Invoice:0:500", "from 1"),
    ("halo:POST:/Invoice:200%:500", "between 0 and 1"),
    ("halo:POST:/Invoice:1:500:colour=red", "colour"),
    ("halo:POST:/Invoice:1:late:answer=200", "504, timeout or reset"),
    ("halo:POST:/Invoice:1:slow:seconds=x", "x"),
])  # fmt: skip
def test_wrong_notation_is_explained(text, says):
    with pytest.raises(ValueError) as wrong:
        parse_fault(text)
    assert says in str(wrong.value)


def test_every_kind_is_explained():
    assert all(text[:1].islower() or text[:1].isdigit() for text in KINDS.values())


# --- not done --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "200"])
@pytest.mark.parametrize("done", [False, True])
def test_statuses(status, done, caller, sandbox):
    sandbox.faults.add(f"halo:POST:/Invoice:1:{status}{'_after' if done else ''}")
    answer = post(caller)
    assert answer.status_code == int(status) and len(written(sandbox)) == done
    assert (sandbox.calls[-1].status, sandbox.calls[-1].effect) == (int(status), done)
    assert post(caller).status_code == 201


def test_bodies_of_errors(caller, sandbox):
    def body(kind, service="halo"):
        sandbox.faults.clear()
        sandbox.faults.add(f"{service}:GET:*:*:{kind}")
        return caller.halo("/Tax") if service == "halo" else caller.pax8("/products")

    assert isinstance(body("400").json(), str) and isinstance(body("400_object").json(), dict)
    assert body("401").content == body("403").content == body("500").content == b""
    assert body("503").headers["Content-Type"].startswith("text/html")
    assert "300 Requests" in body("429").text
    assert body("429", "pax8").json()["status"] == 429
    assert body("422", "pax8").json().keys() == {"type", "message", "instance", "status", "details"}
    assert body('200:body={"total": 1, "total": 2}').text == '{"total": 1, "total": 2}'


@pytest.mark.parametrize("value", ["5", "0", "-1", "1000000000", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
def test_retry_after(value, caller, sandbox):
    sandbox.faults.add(Fault(kind="429", method="GET", retry_after=value))
    assert caller.halo("/Tax").headers["Retry-After"] == value
    sandbox.faults.add(Fault(kind="429", method="GET"))
    assert "Retry-After" not in caller.halo("/Tax").headers


@pytest.mark.parametrize(("kind", "done"), [("reset", 0), ("reset_after", 1), ("cut", 1), ("black_hole", 0),
                                            ("timeout", 0), ("timeout_after", 1), ("black_hole_after", 1)])  # fmt: skip
def test_connections_that_break(kind, done, caller, sandbox):
    impatient(caller)
    sandbox.faults.add(f"halo:POST:/Invoice:1:{kind}")
    broken = {"reset": httpx2.ReadError, "cut": httpx2.RemoteProtocolError}.get(
        kind.removesuffix("_after"), httpx2.ReadTimeout
    )
    with pytest.raises(broken):
        post(caller)
    assert len(written(sandbox)) == done and sandbox.calls[-1].effect == bool(done)
    assert (sandbox.calls[-1].status is None) == (kind != "timeout_after")
    caller.http.timeout = 10
    assert post(caller).status_code == 201


def test_reset_is_a_reset_on_the_socket(caller, sandbox):
    sandbox.faults.add("halo:POST:/Invoice:1:reset")
    with pytest.raises(httpx2.ReadError, match=r"(?i)reset"):
        post(caller)


def test_held_answers_come_when_the_time_is_over(caller, sandbox):
    sandbox.faults.add("halo:POST:/Invoice:1:timeout:seconds=0.05")
    sandbox.faults.add("halo:POST:/Invoice:1:timeout_after:seconds=0.05")
    assert post(caller).status_code == 504
    sandbox.faults.add("halo:POST:/Invoice:1:slow:seconds=0.05")
    started = time.monotonic()
    assert post(caller).status_code == 201 and time.monotonic() - started >= 0.05
    assert post(caller).status_code == 201


def test_one_byte_after_the_other(caller, sandbox):
    sandbox.faults.add("halo:GET:/Currency:1:drip:seconds=0.001")
    with caller.http.stream("GET", f"{sandbox.url}/halo/api/Currency", headers=caller._bearer("halo")) as answer:
        parts = list(answer.iter_raw())
    assert len(parts) > 20 and b"".join(parts) == caller.halo("/Currency").content
    sandbox.faults.add("halo:GET:/Currency:1:drip:seconds=0.3")
    started = time.monotonic()
    with pytest.raises(httpx2.ReadTimeout):  # only a deadline for the whole helps: each byte comes in time
        caller.http.get(f"{sandbox.url}/halo/api/Currency", headers=caller._bearer("halo"), timeout=0.2)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("kind", ["not_json", "empty", "error_inside"])
def test_answers_that_say_nothing(kind, done, caller, sandbox):
    sandbox.faults.add(f"halo:POST:/Invoice:1:{kind}{'_after' if done else ''}")
    answer = post(caller)
    assert answer.status_code == 200 and len(written(sandbox)) == done
    if kind == "not_json":
        assert "<html>" in answer.text and answer.headers["Content-Type"].startswith("text/html")
    else:
        assert "id" not in (answer.json() if answer.content else {})


def test_redirect(caller, sandbox):
    sandbox.faults.add("halo:POST:/Invoice:1:redirect:to=https://other.invalid/api/Invoice")
    answer = post(caller)
    assert (answer.status_code, answer.headers["Location"]) == (308, "https://other.invalid/api/Invoice")
    assert not written(sandbox)


# --- done otherwise --------------------------------------------------------------------------------------------------


def test_fewer_lines(caller, sandbox):
    sandbox.faults.add("halo:POST:/Invoice:1:fewer_lines")
    assert len(json(post(caller))["lines"]) == len(written(sandbox)[0]["lines"]) == 1


def test_drop_marker(caller, sandbox):
    sandbox.faults.add("halo:POST:/Invoice:1:drop_marker")
    made = json(post(caller))
    assert "key" not in str(made) and len(made["lines"]) == 2
    sandbox.faults.add("halo:POST:/Invoice:1:drop_marker:fields=internal_note")
    made = json(post(caller))
    assert made["internal_note"] == "" and made["lines"][0]["item_longdescription"] == "text [key]"


def test_cut_text_and_rounded_amounts(caller, sandbox):
    sandbox.faults.add("halo:POST:/Invoice:1:cut_text:length=4")
    assert json(post(caller))["lines"][0]["item_longdescription"] == "text"
    sandbox.faults.add("halo:POST:/Invoice:1:round_amounts")
    assert [line["unit_price"] for line in json(post(caller))["lines"]] == [2, 2]


def test_list_for_object(caller, sandbox):
    sandbox.faults.add("halo:*:/Invoice*:*:list_for_object")
    (made,) = json(post(caller))
    assert json(caller.halo(f"/Invoice/{made['id']}"))[0]["id"] == made["id"]


# --- late and lying --------------------------------------------------------------------------------------------------


def seen(caller):
    return [row["id"] for row in json(caller.halo("/Invoice", client_id=214, count=500, order="id"))["invoices"]]


def test_late_by_time(caller, sandbox):
    before = seen(caller)
    sandbox.faults.add("halo:POST:/Invoice:1:late:seconds=100")
    assert post(caller).status_code == 504
    late = sandbox.calls[-1]
    sandbox.clock.advance(99)
    assert seen(caller) == before and not late.effect
    sandbox.clock.advance(2)
    assert len(seen(caller)) == len(before) + 1 and late.effect and len(written(sandbox)) == 1


def test_late_by_calls_and_by_hand(caller, sandbox):
    before = seen(caller)
    sandbox.faults.add("halo:POST:/Invoice:1:late:calls=2")
    post(caller)
    assert [len(seen(caller)) - len(before) for _ in range(3)] == [0, 0, 1]
    sandbox.faults.add("halo:POST:/Invoice:1:late:answer=reset")
    with pytest.raises(httpx2.ReadError):
        post(caller)
    for _ in range(5):
        assert len(seen(caller)) == len(before) + 1
    assert sandbox.land() == 1 and len(seen(caller)) == len(before) + 2
    assert sandbox.land() == 0


def test_late_write_meets_what_came_after_it(caller, sandbox):
    row_id = json(post(caller))["id"]
    sandbox.faults.add("halo:POST:/Invoice:1:late:answer=timeout")
    impatient(caller)
    with pytest.raises(httpx2.ReadTimeout):
        caller.halo("/Invoice", "POST", [{"id": row_id, "lines": [], "last_change_seq": 1}])
    caller.halo("/Invoice", "POST", [{"id": row_id, "notes_1": "edited meanwhile"}])
    assert sandbox.land() == 0  # change_seq is another by now
    assert len(sandbox.halo.invoices[row_id]["lines"]) == 2


def test_stale_list(caller, sandbox):
    before = seen(caller)
    sandbox.faults.add("halo:GET:/Invoice:*:stale:times=2")
    made = json(post(caller))["id"]
    assert seen(caller) == before and caller.halo(f"/Invoice/{made}").status_code == 200
    assert seen(caller) == before
    assert seen(caller) == [*before, made]


def test_stale_by_age_hides_changes_too(caller, sandbox):
    made = json(post(caller))["id"]
    sandbox.clock.advance(30)
    caller.halo("/Invoice", "POST", [{"id": made, "reference": "new"}])
    sandbox.faults.add("halo:GET:/Invoice:*:stale:seconds=20")
    rows = json(caller.halo("/Invoice", client_id=214, count=500))["invoices"]
    assert next(row for row in rows if row["id"] == made)["reference"] == ""
    sandbox.clock.advance(21)
    rows = json(caller.halo("/Invoice", client_id=214, count=500))["invoices"]
    assert next(row for row in rows if row["id"] == made)["reference"] == "new"


def test_lists_that_lie(caller, sandbox):
    everything = {"client_id": 214, "count": 500}
    total = len(seen(caller))
    sandbox.faults.add("halo:GET:/Invoice:1:cut50")
    cut = json(caller.halo("/Invoice", **everything))
    assert len(cut["invoices"]) == 50 and cut["record_count"] == total
    sandbox.faults.add("halo:GET:/Invoice:1:cut50:count=cut")
    assert json(caller.halo("/Invoice", **everything))["record_count"] == 50
    sandbox.faults.add("halo:GET:/Invoice:1:no_rows")
    assert json(caller.halo("/Invoice", **everything)) == {"page_size": 500, "record_count": 0, "invoices": []}
    sandbox.faults.add("halo:GET:/Invoice:*:repeat_pages")
    pages = [json(caller.halo("/Invoice", pageinate="true", page_size=10, page_no=n)) for n in (1, 2)]
    assert pages[0] == pages[1] and len(pages[0]["invoices"]) == 10


def test_pax8_lists_that_lie(caller, sandbox):
    invoice = max(sandbox.pax8.items, key=lambda key: len(sandbox.pax8.items[key]))
    path, total = f"/invoices/{invoice}/items", len(sandbox.pax8.items[invoice])
    sandbox.faults.add("pax8:GET:/invoices/*/items:1:no_rows")
    empty = json(caller.pax8(path))
    assert empty["content"] == [] and empty["page"]["totalElements"] == 0
    sandbox.faults.add("pax8:GET:/invoices/*/items:1+:repeat_pages")
    assert json(caller.pax8(path, size=2, page=1)) == json(caller.pax8(path, size=2, page=0))
    assert json(caller.pax8(path, size=2, page=1))["page"]["totalElements"] == total


def test_tokens_can_fault_too(caller, sandbox):
    sandbox.faults.add("halo:POST:/auth/token:1:429")
    assert caller.halo_token().status_code == 429 and caller.halo_token().status_code == 200
    sandbox.faults.add("pax8:POST:/token:1:503")
    assert caller.pax8_token().status_code == 503 and caller.pax8_token().status_code == 200


def test_every_kind_was_tried():
    text = Path(__file__).read_text(encoding="utf-8")
    instead = {kind.removesuffix("_after") for kind in KINDS} - set(STATUSES)
    assert [kind for kind in instead if kind not in text] == []
