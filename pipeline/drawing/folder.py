"""The folder of figures: what it was made of, its files, and a README that says what each is."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esad.pipeline.drawing.style import Drawing, counted
from esad.pipeline.drawing.subjects import Subject
from esad.pipeline.settings.config import first_difference
from esad.pipeline.stage.errors import EsadError, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.preprocessing.store.digests import file_digest
from esad.preprocessing.store.durable import is_empty, take_name
from esad.preprocessing.store.reading import check_entries, damaged, read_object
from esad.preprocessing.store.writing import remove_temporaries, write_atomically, write_json

MARK, BEGUN = "figures.json", "begun.json"
"""`figures.json` is written last: the folder is finished. `begun.json` marks one that was begun."""
OURS = re.compile(
    r"(lambda[12]|tsne|examples-.+)\.(png|svg|csv)|lambda-runs\.csv|README\.md|figures\.json|begun\.json"
)
"""Names of what this stage writes: it removes nothing else."""
DRAW_AGAIN = "make the figures anew with: esad figures RUN --out FOLDER --force"
ENTRIES: dict[str, type | tuple[type, ...]] = {
    "asked": dict,
    "runs": list,
    "figures": list,
    "left_out": list,
    "refused": int,
}
OF_A_FIGURE: dict[str, type | tuple[type, ...]] = {"name": str, "title": str, "caption": str, "tables": dict}


def described(out: Path, subjects: Sequence[Subject], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder of figures follows from: `asked` of it, and of which runs (as seen from it), weights and scores."""
    whole = out.resolve()

    def seen(path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), whole)).as_posix()

    runs = []
    for each in subjects:
        scored = each.folder and file_digest(each.folder / "scores.parquet")
        runs.append(
            {
                "run": seen(each.run.root), "name": each.name, "method": each.run.settings.method, "model": each.run.digest,
                "scores": each.folder and seen(each.folder), "scored": scored,
            }
        )  # fmt: skip
    return {"asked": dict(asked), "runs": runs}


def already_drawn(out: Path, wanted: Mapping[str, Any], force: bool) -> bool:
    """Whether `out` holds just these figures; where runs were trained or scored anew since, it does not.

    EsadError for a folder of something else, or of other figures unless `force`.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; expected a folder to write.")
    if not out.exists() or is_empty(out):
        return False
    if not (out / MARK).is_file():
        if (out / BEGUN).is_file():
            return False
        raise EsadError(f"{out}: exists and is no folder of figures; choose another --out.")
    if force:
        return False
    found = read_figures(out)
    difference = first_difference(_asked(found), _asked(wanted))
    if difference:
        raise EsadError(
            f"{out}: holds other figures ({difference}). Choose another --out, or --force to replace them."
        )
    same = all(found[name] == wanted[name] for name in wanted)
    if same:
        (out / BEGUN).unlink(missing_ok=True)  # of a call that was killed before it changed anything
    return same


def _asked(content: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for: the options, and the runs by their places."""
    return {**content["asked"], "runs": [each.get("run") for each in content["runs"]]}


def write_figures(
    out: Path, wanted: Mapping[str, Any], drawings: Sequence[Drawing], left_out: Sequence[str], refused: int
) -> None:
    """Write all files, those of an earlier call removed, `figures.json` last; of the lines `left_out` so many are refusals."""
    write_json(out / BEGUN, wanted)  # first: between the two it must still be known whose folder it is
    take_name(out / MARK)
    for path in sorted(out.iterdir()):
        if path.is_file() and OURS.fullmatch(path.name) and path.name != BEGUN:
            path.unlink()
    remove_temporaries(out)
    for drawing in drawings:
        drawing.write(out)
    text = _readme(drawings, left_out)
    write_atomically(out / "README.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    figures = [
        {
            "name": each.name, "title": each.title, "caption": each.caption,
            "tables": {name: told for name, (_, told) in each.tables.items()},
        }
        for each in drawings
    ]  # fmt: skip
    write_json(out / MARK, {**wanted, "figures": figures, "left_out": list(left_out), "refused": refused})
    (out / BEGUN).unlink(missing_ok=True)


def _readme(drawings: Sequence[Drawing], left_out: Sequence[str]) -> str:
    """The page of the folder."""
    lines = [
        "# Figures",
        "",
        "Made by `esad figures`. Each figure is there as PNG and as SVG, with the numbers behind it as CSV. Items are named by their "
        "place in the store's manifest alone. Research use only, not a diagnosis.",
    ]
    for each in drawings:
        lines += ["", f"## {each.title}", "", each.caption, "", f"![{each.title}](<{each.name}.png>)", ""]
        lines += [f"- `{each.name}.png`, `{each.name}.svg`: the figure."]
        lines += [f"- `{name}`: {told}." for name, (_, told) in each.tables.items()]
    if left_out:
        lines += ["", "## Not drawn", "", *(f"- {line}." for line in left_out)]
    return "\n".join(lines) + "\n"


def read_figures(folder: Path) -> dict[str, Any]:
    """The content of figures.json; UsageError where no such folder is, EsadError where it is of something else, or damaged."""
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder; expected one that esad figures wrote.")
    path = folder / MARK
    if not path.is_file():
        raise EsadError(
            f"{folder}: no finished figures (no {MARK}); make some with: esad figures RUN --out {folder}"
        )
    content = read_object(path, DRAW_AGAIN, ENTRIES)
    for entry in content["figures"]:
        check_entries(path, entry, DRAW_AGAIN, OF_A_FIGURE)
        picture = folder / f"{entry['name']}.png"
        if "/" in entry["name"] or not picture.is_file():
            raise damaged(picture, "is missing", DRAW_AGAIN)
    for entry in content["runs"]:
        check_entries(path, entry, DRAW_AGAIN, {"run": str, "model": str})
    return content


def figures_outcome(out: Path, verb: str, subjects: Sequence[Subject]) -> Outcome:
    """What is in a finished folder, in a line and as an object."""
    content = read_figures(out)
    names, left_out = [entry["name"] for entry in content["figures"]], content["left_out"]
    message = f"{verb} {out}: {', '.join(names)}, each as PNG, SVG and CSV; README.md says what they show."
    if left_out:
        more = f" README.md has {counted(len(left_out) - 1, 'more reason')}." if len(left_out) > 1 else ""
        message += f" Not drawn: {left_out[0]}.{more}"
    scored = [
        str(each.run.root if each.folder is None else each.folder)
        for each in subjects
        if each.folder and not each.cell
    ]
    following = shlex.join(["esad", "report", *scored, "--figures", str(out)]) if scored else ""
    return Outcome(out, message, following, content["refused"], {"figures": names, "left_out": left_out})
