"""Words and signs that stand for nothing: for a missing number, and for a label that an item does not have."""

from __future__ import annotations

from collections.abc import Iterable

# fmt: off
OF_PROGRAMS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
)
"""What programs alone write for a missing value."""
HOLES = frozenset({
    "?", "-", "\u2013", "\u2014", "--", ".", "*", "none", "missing", "na", "n/a", "n.a.", "nan", "null", "#na", "<na>",
    "#div/0!", "#n/a", "#num!", "#ref!", "#value!",
})
"""Texts for a missing number, in lower case."""
MISSING = "missing"
"""As a folder's name it may say that a part is missing, which is an anomaly."""
NO_LABEL_WORDS = (HOLES - {MISSING}) | frozenset({
    "unknown", "unlabelled", "unlabeled", "not labelled", "not labeled", "no label", "unannotated", "unsure", "n.a", "n/d", "n.d.", "n/k",
    "tbd", "tba", "t.b.d.", "to be determined", "not available", "not applicable", "not known", "unspecified", "ungraded", "unrated",
    "unassigned", "nil", "unk", "unkn", "to do", "keine angabe", "k.a.", "unbekannt", "nicht bekannt", "inconnu", "inconnue", "non connu",
    "desconocido", "sconosciuto", "onbekend", *map(str.casefold, filter(None, OF_PROGRAMS)),
})
"""Values that say that there is no label, be they in brackets or written with underscores."""
NEGATIVE_TOO = frozenset({"nil", "n.a", "n.a.", "not applicable"})
"""Of these, what may say as well that nothing was found: `nil` beside `tumor`. `None` and `n/a` are what programs write for nothing."""
# fmt: on
BRACKETS = "()[]<>{}"
SIGNS_OF_NOTHING = frozenset("?-.*_/\u2212\u2013\u2014\u2026 ")
POSITIVE_AND_NEGATIVE = frozenset("+-\u2212/")


def without_label(words: Iterable[str], of_column: bool) -> set[str]:
    """Which of the `words`, in lower case, say that there is no label: values of a column, or names of classes.

    `-` is negative where `+` stands beside it. `missing` is a word of columns alone.
    """
    words = set(words)
    found = {word for word in words if {word, _plain(word)} & NO_LABEL_WORDS or set(word) <= SIGNS_OF_NOTHING}
    found |= words & {MISSING} if of_column else set()
    signs = {word for word in words if set(word) <= POSITIVE_AND_NEGATIVE}
    return found - signs if any("+" in word for word in signs) else found


def is_sign(word: str) -> bool:
    """Whether a value that says that there is no label is a sign such as `-`, which may be the negative value. Question marks are not."""
    return set(word) <= SIGNS_OF_NOTHING and "?" not in word


def may_be_negative(word: str) -> bool:
    """Whether a value that says that there is no label may be the negative one, beside one other: `-` beside `1`, `nil` beside `tumor`."""
    return is_sign(word) or _plain(word) in NEGATIVE_TOO


def _plain(word: str) -> str:
    """A word without brackets around it, and with spaces for underscores; signs as they are: `(-)` beside `(+)` is negative."""
    return word if not any(map(str.isalpha, word)) else word.strip(BRACKETS).replace("_", " ").strip()
