"""Which held-out normals a score is compared with: all of a run's, or those of its projection, site or slide; a score a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from esad.pipeline.stage.errors import UsageError
from esad.pipeline.thresholds.conformal import (
    colour_ends,
    fewest_normals,
    level_reached,
    p_values,
    rate_bounds,
    threshold,
)

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.01
"""The promised false-alarm rate, where none is asked for."""
BY = ("view", "site", "source")
"""Columns of a manifest that reference sets may be formed by."""
OF_NORMALS = ("group", *BY)
"""What normals.parquet repeats of the manifest."""


@dataclass(frozen=True)
class Rule:
    """How thresholds are set: the promised false-alarm rate `level`, `by` a column of BY or None, one score `per_group` or each."""

    level: float = LEVEL
    by: str | None = None
    per_group: bool = False

    @classmethod
    def of(cls, marker: Mapping[str, Any]) -> Rule | None:
        """That of a scores.json; None for one of an earlier version."""
        found = marker.get("thresholds")
        return cls(found["level"], found["by"], found["per_group"]) if isinstance(found, Mapping) else None


@dataclass(frozen=True)
class ReferenceSets:
    """Reference scores by the value of `rule.by` (one set named "" without): `scores` (n,) ascending, of items or of groups."""

    rule: Rule
    scores: dict[str, np.ndarray]
    groups: int | None
    """Groups among all reference items; None where they have none, or the run does not say."""
    held_out: bool | None
    """Whether they are held out, or training items for want of others; None of a run that does not say."""

    @classmethod
    def of(cls, normals: pd.DataFrame, rule: Rule, run: str) -> ReferenceSets:
        """Those of normals.parquet; UsageError where it lacks what the rule asks for, `run` being its name in the message."""
        if rule.by and rule.by not in BY:
            raise UsageError(f"--by {rule.by}: expected one of {', '.join(BY)}.")
        for name, option in ((rule.by, "--by"), ("group" if rule.per_group else None, "--per-group")):
            if name and (name not in normals or normals[name].isna().all()):
                raise UsageError(
                    f"{option}: the reference normals of {run} have no {name}. Runs trained by this version say what their store says; "
                    "choose another column or leave the option out."
                )
        names = normals[rule.by].astype("string").fillna("") if rule.by else np.full(len(normals), "")
        table = normals[["score"]].assign(set=np.asarray(names, dtype=object))
        if rule.per_group:
            own = normals["group"].astype("string").fillna("item " + normals["item_id"].astype("string"))
            table = (
                table.groupby(["set", own.to_numpy(dtype=object)], sort=True)["score"]
                .max()
                .reset_index("set")
            )
        sets = {
            str(name): np.sort(each.to_numpy(dtype=float)) for name, each in table.groupby("set")["score"]
        }
        if rule.by:
            sets.pop("", None)  # an item that does not say is compared with nothing
        groups = (
            int(normals["group"].nunique()) if "group" in normals and normals["group"].notna().any() else None
        )
        held = bool((normals["part"] != "train").all()) if "part" in normals else None
        return cls(rule, sets, groups, held)

    def compare(self, scores: np.ndarray, names: pd.Series | None) -> tuple[np.ndarray, np.ndarray]:
        """(p-value, threshold) of each score (N,), float64; NaN where an item has no set.

        `names` (N,) are the items' values of `rule.by`; not looked at without it.
        """
        p, at = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
        own = np.full(len(scores), "", dtype=object)
        if self.rule.by:
            own[:] = "" if names is None else names.astype("string").fillna("").to_numpy(dtype=object)
        for name, reference in self.scores.items():
            chosen = own == name
            p[chosen] = p_values(scores[chosen], reference)
            at[chosen] = threshold(reference, self.rule.level)
        return p, at

    def described(self) -> dict[str, Any]:
        """What scores.json says: the rule, and of each set its normals, threshold and the false-alarm rate that it promises."""
        level = self.rule.level
        sets = [
            {
                "name": name, "normals": len(reference), "threshold": threshold(reference, level),
                "level": level_reached(level, len(reference)), "rate_bounds": list(rate_bounds(len(reference), level)),
            }
            for name, reference in sorted(self.scores.items())
        ]  # fmt: skip
        return {
            **asdict(self.rule), "fewest_normals": fewest_normals(level), "groups": self.groups, "held_out": self.held_out,
            "sets": sets,
        }  # fmt: skip

    @property
    def most(self) -> int:
        """Reference scores of the largest set."""
        return max(map(len, self.scores.values()))

    @property
    def colour_ends(self) -> tuple[float, float]:
        """The p-values at which the colours of slide maps begin and end, for all sets together."""
        return colour_ends(self.rule.level, *map(len, self.scores.values()))

    def promise(self) -> str:
        """`1 % of normals, promised by 250 held out`, for the middle of a sentence; of several sets the ranges of both.

        Of reference normals that trained, or of which the run does not say it, nothing is said to be held out.
        """
        counts = [len(reference) for reference in self.scores.values()]
        levels = sorted(level_reached(self.rule.level, count) for count in counts)
        many = len(counts) > 1
        span = f"{min(counts)} to {max(counts)}" if many else f"{counts[0]}"
        whose = " training" if self.held_out is False else " held out" if self.held_out and not many else ""
        what = " groups" if self.rule.per_group else " items" if self.held_out is False else ""
        rates = list(dict.fromkeys(f"{100 * level:.3g} %" for level in (levels[0], levels[-1])))
        by = f" by {self.rule.by}" if many else ""
        return f"{' to '.join(rates)} of normals, promised by {span}{whose}{what}{by}"

    def warnings(self, without: int = 0) -> list[str]:
        """What makes the promise weaker than it looks, a sentence each; `without` items had no reference set."""
        level, said = self.rule.level, []
        few = {name: len(each) for name, each in self.scores.items() if len(each) < fewest_normals(level)}
        if few:
            name = min(few, key=lambda name: few[name])
            of = f" for {self.rule.by} {name}" if self.rule.by else ""
            what = "groups with normals" if self.rule.per_group else "normal items"
            are = "were held out" if self.held_out else "are references"
            said.append(
                f"Only {few[name]} {what} {are}{of}, and {100 * level:.3g} % needs {fewest_normals(level)}: hold out more "
                "(data.validation_share), or take a higher --false-alarms."
            )
        if self.held_out is False:
            said.append(
                "The reference normals are training items: new normals score higher, and more of them are alarms than promised."
            )
        if without:
            said.append(
                f"{without} items have no reference normals of their {self.rule.by}: they have no p-value and no threshold."
            )
        return said
