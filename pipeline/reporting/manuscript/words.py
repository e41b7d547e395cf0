"""Numbers and lists as a manuscript has them."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float) -> str:
    """`0.001`, `1e-06`, `1,481`."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 group`, `1,481 groups`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def percent(share: float) -> str:
    """`1 %`, `0.93 %`."""
    return f"{100 * share:.3g} %"
