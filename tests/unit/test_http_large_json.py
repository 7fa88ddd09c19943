"""A large answer is read through escapes: it must come to the same value, or to the same refusal."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billingsync.http import jsontext, read_json

LONG = " " * (jsontext._LARGE + 1)  # around a JSON value, blanks mean nothing


def _read(body: bytes) -> Any:
    try:
        return read_json(body)
    except ValueError as refused:
        return type(refused)


@given(
    st.recursive(st.text() | st.integers() | st.none(), lambda each: st.lists(each) | st.dictionaries(st.text(), each))
)
@settings(deadline=None)  # a busy machine takes longer than Hypothesis thinks right
def test_a_large_answer_means_what_a_small_one_means(value: Any) -> None:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert _read(body + LONG.encode()) == _read(body)


@given(st.lists(st.sampled_from(["\\", '"', "é", "€", "😀", "u00e9", " ", "\ufeff"]), max_size=12).map("".join))
def test_what_is_no_json_stays_none_in_a_large_answer(text: str) -> None:
    body = f'{{"a":"{text}"}}'.encode()
    assert _read(body + LONG.encode()) == _read(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',  # a surrogate is no UTF-8
        b'{"a":"\xf4\x90\x80\x80"}',  # beyond Unicode
        b'{"a":"\xe2\x82"}',  # cut
        b'{"a":"\\\xc3\xa9"}',  # no escape that JSON knows; with one of ours it would be another text
        b'{"\xc3\xa9":1,"\\u00e9":2}',  # the same key, written in two ways
        b"\xc3\xa9",
    ],
)
def test_a_large_answer_is_refused_as_a_small_one_is(body: bytes) -> None:
    for text in (body, body + LONG.encode()):
        with pytest.raises(ValueError):
            read_json(text)


def test_a_large_answer_keeps_its_digits_and_its_emoji_and_may_begin_with_a_mark() -> None:
    body = b"\xef\xbb\xbf" + '{"😀": 1.10, "é": "\\\\é 日本"}'.encode() + LONG.encode()
    assert read_json(body) == {"😀": Decimal("1.10"), "é": "\\é 日本"}
    assert str(read_json(body)["😀"]) == "1.10"
