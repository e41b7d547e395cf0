"""What metrics.json says of thresholds: promised and achieved false alarms, and whether the items are like the reference normals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from esad.pipeline.evaluation.counted_items import unseen
from esad.pipeline.evaluation.item_figures import DIVIDED_BY, TERMS, group_codes, rows_by
from esad.pipeline.runs.items import evenly
from esad.pipeline.runs.run_files import read_config, read_references
from esad.pipeline.scoring.open_scores import Scores
from esad.pipeline.scoring.slides.slide_scores import suspicious
from esad.pipeline.thresholds.false_alarms import FEWEST, achieved, over_splits
from esad.pipeline.thresholds.reference_sets import LEVEL

if TYPE_CHECKING:
    import pandas as pd

ANOMALIES = 0.2
"""Share of anomalies in an archive that is not yet taken for another kind of normals."""
MOST_COMPARED = 5000
"""Items that are compared with the reference normals, evenly out of more: a share of pairs is then known to a hundredth."""
COMPARED = ("item_id", "group", "score", *TERMS, *DIVIDED_BY)
UNLABELLED, NORMAL = "items without a label", "normal items"


def alarms(scores: Scores, items: pd.DataFrame, of_test: bool) -> dict[str, Any]:
    """`rule` and its sets, promised and achieved rates over the labelled `items` that count, over splits, and `likeness`.

    `of_test`: the items are the test part of the run's own split, so that their normals and those held out may be shuffled.
    """
    rule = scores.marker.get("thresholds")
    level = float(rule["level"]) if rule else LEVEL
    references = {str(each["name"]): int(each["normals"]) for each in rule["sets"]} if rule else {}
    per_group = bool(rule and rule["per_group"])
    by = rule["by"] if rule else None
    counted = _highest_of_groups(items, by) if per_group else items
    alike = of_test and (rule or {}).get("held_out") is not False  # scores of items that trained are lower
    return {
        "rule": rule,
        "achieved": _achieved(counted, references or {"": int(scores.marker.get("normals", 99))}, level, by),
        "by": _by_columns(items, per_group),
        "splits": _over_splits(scores, items, level, alike, per_group),
        "likeness": likeness(scores, by),
    }


def _highest_of_groups(items: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """Of each group's normals, and of its anomalies, the item that is the furthest from normal, in each set of references `by` a column:
    where a threshold is per group, this one is what the promise is about, and the group counts once."""
    if items.empty:
        return items
    kept = ["code", "label", *([by] if by in items else [])]
    order = items.assign(code=group_codes(items)).sort_values(
        ["p_value", "score"], ascending=[True, False], kind="stable", na_position="last"
    )
    return order.drop_duplicates(kept).drop(columns="code").sort_index()


def _achieved(
    items: pd.DataFrame, references: Mapping[str, int], level: float, by: str | None = None
) -> dict[str, Any] | None:
    """`achieved` of these items, each beside the set of its value of `by`; a set without normals gave no threshold."""
    if items.empty or (by and by not in items):
        return None
    labels = items["label"].to_numpy(dtype="int8")
    return achieved(
        items["p_value"].to_numpy(dtype=float),
        suspicious(items),
        labels,
        group_codes(items),
        {name: normals for name, normals in references.items() if normals},
        level,
        items[by].astype("string").fillna("").to_numpy(dtype=object) if by else None,
    )


def _by_columns(items: pd.DataFrame, per_group: bool) -> dict[str, Any]:
    """The share of each projection's and each site's normals above the threshold: one threshold for all may hold for none.

    None where normals have no threshold, their projection or site having no reference normals.
    """
    normals = items[items["label"] == 0]
    found = {
        name: rows_by(_highest_of_groups(normals, name) if per_group else normals, name)
        for name in DIVIDED_BY
    }
    return {
        name: {
            value: {
                "normals": len(rows),
                "achieved": float(suspicious(rows).mean()) if rows["threshold"].notna().any() else None,
            }
            for value, rows in parts.items()
        }
        for name, parts in found.items()
        if parts
    }


def _over_splits(
    scores: Scores, items: pd.DataFrame, level: float, with_references: bool, per_group: bool
) -> dict[str, Any] | None:
    import pandas as pd

    kept = ["item_id", "score", "group"]
    normals = (
        items.loc[items["label"] == 0, [name for name in kept if name in items]] if len(items) else items
    )
    if with_references and (scores.run / "normals.parquet").is_file():
        references = read_references(scores.run)
        references = references[[name for name in kept if name in references]]
        normals = pd.concat([normals, references], ignore_index=True) if len(normals) else references
    if normals.empty:
        return None
    values = normals["score"].to_numpy(dtype=float)
    return over_splits(values, group_codes(normals), level, per_group=per_group)


def likeness(scores: Scores, by: str | None) -> dict[str, Any] | None:
    """How unlike the reference normals what the run has not seen is: of the score and each of its terms, by projection and site.

    Compared are items without a label (`of`), or the normal ones where fewer than FEWEST have none. `alike` is False where so many
    score higher, or lower, than the reference normals that thresholds `by` a column of DIVIDED_BY, or one for all, cannot hold.
    `own`: the store is the one that the run was trained on. None where there are fewer than FEWEST items, or no reference normals.
    """
    if not (scores.run / "normals.parquet").is_file():
        return None
    table, new = scores.table, unseen(scores)
    unlabelled, normal = new & table["label"].isna(), new & (table["label"] == 0).fillna(False)
    rows, which = (unlabelled, UNLABELLED) if unlabelled.sum() >= FEWEST else (normal, NORMAL)
    chosen = table.loc[rows, [name for name in COMPARED if name in table]]
    references = read_references(scores.run, (*TERMS, *DIVIDED_BY))
    if len(chosen) < FEWEST or references.empty:
        return None
    store = read_config(scores.run)["store"]
    parts = {name: _compared_parts(chosen, references, name) for name in DIVIDED_BY}
    others = [name for name in TERMS if name != scores.marker.get("score")]  # which the score is
    terms = ["score", *(name for name in others if _known(chosen, name) and _known(references, name))]
    found = {name: _compared(chosen, references, name) for name in terms}
    own_sets = [part["alike"] for part in (parts.get(by or "") or {}).values() if part["reference"] != ALL]
    alike = (
        (False if False in own_sets else True if True in own_sets else None)
        if own_sets
        else found["score"]["alike"]
    )
    return {
        "of": which, "own": scores.marker.get("inputs") == store.get("inputs"), "items": len(chosen), "normals": len(references),
        "alike": alike, "terms": found, "by": {name: part for name, part in parts.items() if part},
    }  # fmt: skip


ALL = "all"
"""Named as the reference of a projection or site that has no reference normals of its own."""


def _known(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(table[name].notna().all())


def _compared(chosen: pd.DataFrame, references: pd.DataFrame, name: str) -> dict[str, Any]:
    """`superiority` of a column of items over reference normals, and whether it lets thresholds hold."""
    import numpy as np

    from esad.pipeline.evaluation.measures.intervals import superiority

    sides = [table.iloc[evenly(np.arange(len(table)), MOST_COMPARED)] for table in (chosen, references)]
    values = [side[name].to_numpy(dtype=float) for side in sides]
    found = superiority(*values, *(group_codes(side) for side in sides))
    most, interval = 0.5 + ANOMALIES / 2, found["interval"]
    alike = None if interval is None else bool(interval[0] <= most and interval[1] >= 1 - most)
    return {**found, "alike": alike}


def _compared_parts(chosen: pd.DataFrame, references: pd.DataFrame, name: str) -> dict[str, Any]:
    """Value of the column `name` -> its items' scores beside the reference normals of the same value, or beside ALL.

    Empty where items state one value at most, and the reference normals the same or none.
    """
    parts, known = rows_by(chosen, name), rows_by(references, name)
    if len({*parts, *known}) < 2:
        return {}
    found = {}
    for value, rows in parts.items():
        own = value in known
        if len(rows) >= FEWEST:
            beside = known[value] if own else references
            found[value] = {
                "items": len(rows), "reference": value if own else ALL, "normals": len(beside), **_compared(rows, beside, "score"),
            }  # fmt: skip
    return found


def known_normals(content: dict[str, Any]) -> str:
    """What the reference normals of `alarms` are called: held out, of training where none was, or neither where the run does not say."""
    held_out = (content["rule"] or {}).get("held_out")
    return {True: "held-out normals", False: "normals of training", None: "reference normals"}[held_out]


def alarm_notes(content: dict[str, Any]) -> list[str]:
    """What of `alarms` makes thresholds say less than they promise, a sentence or two each."""
    found, alike, rule, said = content["achieved"], content["likeness"], content["rule"], []
    if rule and rule["held_out"] is False:
        said.append(
            "The reference normals are training items: new normals score higher, so the promised rates do not hold."
        )
    if found and not found["kept"]:
        broken = f" for {rule['by']} {', '.join(found['broken'])}" if rule and found.get("broken") else ""
        those = "those held out" if rule and rule["held_out"] else "the reference normals"
        said.append(f"There are more false alarms than promised{broken}: new normals are not like {those}.")
    known = known_normals(content)
    if alike and alike["alike"] is False:
        pairs = _pairs(alike, alike["terms"]["score"], alike["of"], known)
        said.append(
            f"These items are not like the normals of training: {pairs} (50 % would). Thresholds, p-values and percentiles do not hold "
            "for them: train with normals from where they come from."
        )
    return said + (_part_notes(alike, known) if alike else [])


def _pairs(told: dict[str, Any], found: dict[str, Any], of: str, known: str) -> str:
    """`in 84 % [75, 91] of pairs one of 75 items without a label scores higher than one of 57 held-out normals`."""
    higher = found["superiority"] >= 0.5
    share = found["superiority"] if higher else 1 - found["superiority"]
    ends = found["interval"] and sorted(end if higher else 1 - end for end in found["interval"])
    within = f" [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]" if ends else ""
    return (
        f"in {100 * share:.0f} %{within} of pairs one of {told['items']} {of} scores {'higher' if higher else 'lower'} than one of "
        f"{told['normals']} {known}"
    )


def _part_notes(alike: dict[str, Any], known: str) -> list[str]:
    """The projections and sites whose items are unlike the reference normals, and those that these have none of."""
    said = []
    for name, parts in alike["by"].items():
        unlike = [
            f"{value} ({_pairs(part, part, alike['of'], known)}{f' of {name} {value}' if part['reference'] != ALL else ''})"
            for value, part in parts.items()
            if part["alike"] is False
        ]
        if unlike:
            said.append(f"Not like the normals of training by {name}: {'; '.join(unlike)}.")
        strange = [value for value, part in parts.items() if part["reference"] == ALL]
        if strange:
            said.append(
                f"The run has no {known} of {name} {', '.join(strange)}: nothing shows that its thresholds hold there."
            )
    return said


def alarm_sentences(content: dict[str, Any]) -> str:
    """`alarms` in words; empty where nothing was measured."""
    found, alike, words = content["achieved"], content["likeness"], []
    if found:
        interval = found["interval"]
        within = f" [{100 * interval[0]:.3g}, {100 * interval[1]:.3g}]" if interval else ""
        caught = (
            ""
            if found["anomalies_found"] is None
            else f"; {100 * found['anomalies_found']:.3g} % of {counted_as(content, 'anomalies')}"
        )
        words.append(
            f"Above the threshold: {100 * found['achieved']:.3g} %{within} of {found['normals']} {counted_as(content)}, "
            f"{100 * found['promised']:.3g} % promised{caught}."
        )
    if alike and not alike["own"]:
        words.append(shift_sentence(alike, known_normals(content)))
    return " ".join(words + alarm_notes(content))


def counted_as(content: dict[str, Any], what: str = "normals") -> str:
    """What `achieved` counts: normals or anomalies, or groups with such where a threshold is per group."""
    return f"groups with {what}" if content["rule"] and content["rule"]["per_group"] else what


def shift_sentence(alike: dict[str, Any], known: str) -> str:
    """How far `likeness` has found the items to lie from the reference normals, term by term; 50 % is no shift."""
    terms = []
    for name, found in alike["terms"].items():
        ends = found["interval"]
        within = f" [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]" if ends else ""
        terms.append(f"{name} {100 * found['superiority']:.0f} %{within}")
    may = ", among which may be anomalies," if alike["of"] == UNLABELLED else ""
    return (
        f"Shift: of pairs of {alike['items']} {alike['of']}{may} and {alike['normals']} {known} the item of this "
        f"store is higher in: {', '.join(terms)} (50 % where there is none)."
    )
