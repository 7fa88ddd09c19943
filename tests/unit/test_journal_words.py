"""What the journal says to people: a sentence for every kind of entry, without gaps."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billingsync import store
from billingsync.core.states import PostingState
from billingsync.report.log import Wanted, told


@dataclass(frozen=True)
class Entry:
    kind: str
    body: str
    seq: int = 1
    at: str = "2026-11-29T10:00:00+00:00"


def says(kind: str, **body: Any) -> str:
    (one,) = told([Entry(kind, json.dumps(body))], Wanted(), {})
    return one.says


def kinds() -> list[str]:
    """Every kind that the ledger writes."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in Path(store.__path__[0]).glob("*.py"))
    found = set(re.findall(r'\.note\(\s*connection, "([a-z_.]+)"', text))
    assert len(found) > 30
    return sorted(found | {f"posting.{state}" for state in PostingState})


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_entry_has_a_sentence(kind: str) -> None:
    assert not says(kind, key="ab12").startswith(f"{kind}:")


def test_sentences_leave_out_what_an_entry_does_not_say() -> None:
    assert says("posting.kept", key="ab12", message="") == "Posting ab12 was not undone"
    assert says("posting.kept", key="ab12", message="it is there") == "Posting ab12 was not undone: it is there"
    assert says("set_aside", charges=["a", "b"], period="2026-11", reason=None) == "Set aside 2 charges of 2026-11"
    assert says("desk_rules", company_name="", version=2) == "Saved the desk's rules for all clients, version 2"


def test_a_match_says_how_in_words_and_when_it_is_never_billed() -> None:
    matched = {"company_name": "Contoso", "client_id": 214, "how": "external_id"}
    assert says("match.company", **matched) == "Mapped Contoso to client 214 (matched by Pax8's external id)"
    assert says("match.company", company_name="Contoso", client_id=None, how="person") == "Contoso is never billed"
