"""Ctrl-C and SIGTERM in mid-run: it is said what was and was not done, and the next run finishes (faults 18, 40)."""

import signal
import subprocess
import time

import cli
import pytest
from test_cli_json import one_document

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def interrupted(office, number, *words, when, times=1, patience=15):
    """Runs the command until `when` comes true, then sends the signal. Gives what it said and how long it took to."""
    running = office.start(*words)
    limit = time.monotonic() + 30
    while not when() and time.monotonic() < limit and running.poll() is None:
        time.sleep(0.01)
    assert running.poll() is None, running.communicate()
    begun = time.monotonic()
    running.send_signal(number)
    try:
        out, err = running.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        running.kill()
        out, err = running.communicate()
        raise AssertionError(f"still running {patience} s after the signal:\n{err}") from None
    return cli.Ran(running.returncode, out, err), time.monotonic() - begun


def posts(office):
    return [call for call in office.sandbox.calls if call.method == "POST" and call.path == "/Invoice"]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("nth", [1, 3])
def test_fault_40_stopped_during_a_posting(office, number, nth):
    sandbox, before, due = office.sandbox, office.sandbox.state(), cli.due(office.sandbox)
    sandbox.faults.add(f"halo:POST:/Invoice:{nth}:timeout_after:seconds=20")
    ran, _ = interrupted(office, number, "run", "--yes", "--json", when=lambda: len(posts(office)) == nth)
    assert ran.code == SIGNALS[number], ran.text
    error = one_document(ran)["error"]
    assert error["exit_code"] == ran.code
    sandbox.faults.clear()
    with cli.quick_time(sandbox):
        runs = office.run("runs", "--json").must(0).json["runs"]
        assert runs[0]["state"] == "interrupted"
        office.run("run", "--yes", "--json").must(0)
    assert cli.billed(sandbox, before) == due


def test_fault_18_stopping_says_how_much_was_done(office):
    """ "Stopped" alone is not enough: two clients have their invoice, one may have it, one has none."""
    office.sandbox.faults.add("halo:POST:/Invoice:3:timeout:seconds=20")
    ran, _ = interrupted(office, signal.SIGINT, "run", "--yes", when=lambda: len(posts(office)) == 3)
    assert ran.code == 130
    assert "2" in ran.stderr and "Contoso" in ran.stderr, ran.stderr


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_fault_40_stopped_while_reading(office, number):
    sandbox = office.sandbox
    sandbox.faults.add("pax8:GET:/companies:1:black_hole")
    reading = lambda: any(call.path == "/companies" for call in sandbox.calls)  # noqa: E731
    ran, took = interrupted(office, number, "run", "--yes", "--json", when=reading, patience=20)
    assert ran.code == SIGNALS[number], ran.text
    one_document(ran)
    assert took < 5, f"a person waited {took:.0f} s for Ctrl-C"
    assert not posts(office)


def test_fault_40_stopped_while_waiting_for_the_horizon(office):
    sandbox, before, due = office.sandbox, office.sandbox.state(), cli.due(office.sandbox)
    office.settings["BILLINGSYNC_HALO__ABSENCE_S"] = "60"
    sandbox.faults.add("halo:POST:/Invoice:2:504_after")
    sandbox.faults.add("halo:GET:/Invoice:2+:no_rows")
    looked = lambda: (  # noqa: E731
        len(posts(office)) == 4
        and sandbox.calls[-1].path.startswith("/Invoice")
        and (sandbox.calls[-1].method == "GET")
    )
    ran, took = interrupted(office, signal.SIGINT, "run", "--yes", when=looked)
    assert ran.code == 130
    assert took < 5
    sandbox.faults.clear()
    with cli.quick_time(sandbox):
        office.run("run", "--yes", "--json").must(0)
    assert cli.billed(sandbox, before) == due


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_sandbox_command_stops_at_a_signal(office, number):
    running = office.start("sandbox", "--port", "0", "--json")
    begun = time.monotonic()
    line = running.stdout.readline()
    while "}" not in line and time.monotonic() - begun < 20:
        line += running.stdout.readline()
    running.send_signal(number)
    out, err = running.communicate(timeout=15)
    assert running.returncode == SIGNALS[number], (out, err)
    assert "Traceback" not in err


def test_fault_18_a_second_run_says_who_runs_already(office):
    sandbox, before, due = office.sandbox, office.sandbox.state(), cli.due(office.sandbox)
    sandbox.faults.add("halo:POST:/Invoice:1:slow:seconds=6")
    first = office.start("run", "--yes", "--json")
    limit = time.monotonic() + 30
    while not posts(office) and time.monotonic() < limit:
        time.sleep(0.01)
    second = office.run("run", "--yes", "--json")
    assert second.code == 5, second.text
    error = one_document(second)["error"]
    assert error["code"] == "BS-LOCKED"
    assert f"process {first.pid}" in error["message"]
    office.run("plan", "--json").must(0, 3)  # reading is free while another posts
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, (out, err)
    assert cli.billed(sandbox, before) == due
