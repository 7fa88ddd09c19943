"""No spelling of a secret survives; everything else stays as it was."""

from __future__ import annotations

import base64
import html
import json
import traceback
from decimal import Decimal
from urllib.parse import quote, quote_plus

import pytest

from billingsync.errors import UpstreamError
from billingsync.redaction import Redactor, one_line

SECRET = "pä ss/w+rd=&\"<'1"


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_spelling_is_hidden(spelling: str) -> None:
    hidden = Redactor([SECRET]).text(f"before {spelling} after")
    assert "***" in hidden
    assert hidden.startswith("before ") and hidden.endswith(" after")
    assert not any(piece in hidden for piece in (SECRET, spelling[2:-2]))


@pytest.mark.parametrize("before", ["", "i", "id", "id:", "the-client-id:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
def test_base64_of_something_longer_hides_it_too(before: str, after: str) -> None:
    secret = "correct horse battery"
    encoded = base64.b64encode(f"{before}{secret}{after}".encode()).decode()
    hidden = Redactor([secret]).text(f"Basic {encoded}")
    assert "***" in hidden
    shown = hidden.removeprefix("Basic ").replace("***", "")
    assert len(shown) <= len(encoded) - len(secret)


def test_short_secrets_are_hidden_only_where_they_stand_alone() -> None:
    redactor = Redactor(["abc", ""])
    assert redactor.text("abc, (abc) abcd xabc abc") == "***, (***) abcd xabc ***"
    assert Redactor([""]).text("nothing to hide") == "nothing to hide"


def test_the_longer_of_two_secrets_leaves_no_tail() -> None:
    assert Redactor(["secret", "secret-and-more"]).text("secret-and-more secret") == "*** ***"


def test_only_the_newest_tokens_are_remembered() -> None:
    redactor = Redactor(["lasting-secret"])
    for number in range(20):
        redactor.add_token(f"token-number-{number:02}")
    assert redactor.text("lasting-secret token-number-00 token-number-19") == "*** token-number-00 ***"


def test_values_keep_their_shape() -> None:
    redactor = Redactor(["hidden-thing"])
    kept = {"n": 5, "d": Decimal("1.10"), "none": None, "yes": True, "set": {1}, "list": [1, ("a",)]}
    assert redactor.value(kept) == kept
    assert redactor.value({"hidden-thing": ["x hidden-thing", ("hidden-thing",)], "e": {"hidden-thing"}}) == {
        "***": ["x ***", ("***",)],
        "e": {"***"},
    }


def test_it_is_a_structlog_processor() -> None:
    event = {"event": "login with hidden-thing", "body": {"secret": "hidden-thing"}, "count": 3}
    assert Redactor(["hidden-thing"])(None, "info", event) == {
        "event": "login with ***",
        "body": {"secret": "***"},
        "count": 3,
    }


def fail_with(secret: str) -> None:
    try:
        raise OSError(5, f"cannot read {secret}")
    except OSError as first:
        first.add_note(f"the note says {secret}")
        raise UpstreamError(
            "Pax8", "GET /x", 400, f"said {secret}", body=secret, next_steps=[["login", secret]]
        ) from first


def test_exceptions_are_cleaned_with_their_causes() -> None:
    redactor = Redactor(["hidden-thing"])
    with pytest.raises(UpstreamError) as caught:
        fail_with("hidden-thing")
    error = caught.value
    assert redactor.exception(error) is error
    shown = "".join(line for line in traceback.format_exception(error) if not line.startswith("  File"))
    assert "hidden-thing" not in shown + error.message + error.body + repr(error.next_steps)
    assert (error.status, error.next_steps) == (400, (("login", "***"),))
    group = redactor.exception(ExceptionGroup("two", [ValueError("hidden-thing")]))
    assert repr(group.exceptions) == "(ValueError('***'),)"


def test_one_line_obeys_nobody() -> None:
    assert one_line("a\x1b[31m\r\n\tb\u202ec\x00 d\u2028e\ud800") == "a [31m b c d e"
    assert one_line("x" * 400) == "x" * 299 + "…"
