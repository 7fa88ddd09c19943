"""What makes two names equal, alike or different [C1a]."""

from __future__ import annotations

import re
import unicodedata

# Each legal form as it is written, with the spelling that stands for all of its spellings.
_SPELLINGS = {"limited": "ltd", "incorporated": "inc", "corporation": "corp"}
_LEGAL_FORMS = frozenset(
    (
        "ltd limited inc incorporated llc llp lp plc gmbh mbh ag kg kgaa ohg ug se ev eg co corp corporation bv nv "
        "vof sa sas sarl srl spa snc sl slu ab as asa aps oy oyj kk pty pvt pte sro doo kft zrt eood ltda"
    ).split()
)
_JOINED = str.maketrans("", "", ".'\u2019\u2018`\u00b4")  # O'Brien, S.A.: the parts belong together
_BETWEEN = re.compile(r"[\W_]+")


def normalise(name: str) -> str:
    """A name for comparing: case, punctuation, spaces and legal forms do not count [C1]."""
    return _taken_apart(name)[0]


def same_name(one: str, other: str) -> bool:
    """Whether two names are equal: but for case, punctuation, spaces, and the spelling of one legal form. A name
    without a legal form equals the same name with one; two legal forms are two customers."""
    (core, form), (other_core, other_form) = _taken_apart(one), _taken_apart(other)
    return bool(core) and core == other_core and (form == other_form or not form or not other_form)


def same_digits(one: str, other: str) -> bool:
    """Names that differ in a digit are never the same customer: "Studio 54" is not "Studio 45"."""
    return _digits(one) == _digits(other)


def scripts(name: str) -> frozenset[str]:
    """The alphabets that a name is written in: a Cyrillic letter in a Latin name is a look-alike, not a likeness."""
    return frozenset(unicodedata.name(letter, "?").split()[0] for letter in name if letter.isalpha())


def _taken_apart(name: str) -> tuple[str, tuple[str, ...]]:
    """The name itself, and its legal form in one spelling."""
    # Before and after: NFKC takes an acute accent that stands for an apostrophe apart.
    plain = unicodedata.normalize("NFKC", name.translate(_JOINED)).casefold().translate(_JOINED)
    words = _BETWEEN.sub(" ", plain).split()
    end = len(words)
    while end > 1 and words[end - 1] in _LEGAL_FORMS:
        end -= 1
    return " ".join(words[:end]), tuple(_SPELLINGS.get(word, word) for word in words[end:])


def _digits(name: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKC", name) if letter.isdigit())
