
import sys; sys.path.insert(0,'/work/main/tests/sandbox')
from test_behavior_latest import *
def test_x(stage):
    made = stage(change_seq_conflict="ignored")
    two_seats(made)
    target = made.latest(214)["id"]
    line = made.invoice(target)["lines"][0]["id"]
    with made.meanwhile("/Invoice", lambda: made.edit(target, line, qty_order=Decimal(13))) as met:
        r = made.office.run("run", "2026-11", "--yes", "--json")
    print(r.text[:2500])
    r = made.office.run("run", "2026-11", "--yes", "--json")
    print(r.text[:2500])
    assert 0
