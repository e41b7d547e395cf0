"""A finished SCORES folder, opened for the stages after it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esad.pipeline.stage.errors import EsadError, UsageError

if TYPE_CHECKING:
    import pandas as pd


NEEDED = ("item_id", "score", "label", "part")


@dataclass(frozen=True)
class Scores:
    """A SCORES folder, opened: `marker` is scores.json, `table` scores.parquet."""

    root: Path
    marker: dict[str, Any]
    table: pd.DataFrame

    @property
    def run(self) -> Path:
        """The run that gave the scores."""
        return Path(self.marker["run"])


def scores_folder(path: Path) -> Path:
    """`path` if it is a SCORES folder, else the scores of a RUN: those of its own store, or the only ones.

    Raises UsageError where no such folder is, EsadError naming the command where there are no scores, or several and
    none of the own store.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such folder; expected a run or scores.")
    if (path / "scores.json").is_file():
        return path
    if not (path / "config.yaml").is_file():
        raise EsadError(
            f"{path}: neither a run (config.yaml) nor scores (scores.json). Make scores with: esad score RUN"
        )
    from esad.pipeline.runs.run_folder import read_config

    name = str(read_config(path)["store"]["name"])
    own = path / "scores" / name
    if (own / "scores.json").is_file():
        return own
    others = sorted(marker.parent for marker in path.glob("scores/*/scores.json"))
    if len(others) == 1:
        return others[0]
    if others:
        names = ", ".join(str(folder) for folder in others)
        raise EsadError(
            f"{path}: its own store is not scored yet (esad score {path}); name one of these: {names}."
        )
    raise EsadError(f"{path}: not scored yet. Run: esad score {path}")


def open_scores(path: Path) -> Scores:
    """Open a RUN's or a SCORES folder's scores; EsadError where they are missing or not finished."""
    import pandas as pd

    root = scores_folder(path)
    try:
        marker = json.loads((root / "scores.json").read_text(encoding="utf-8"))
        table = pd.read_parquet(root / "scores.parquet")
        run, kind = marker["run"], marker["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EsadError(
            f"{root}: the scores cannot be read ({error}); make them anew with: esad score RUN --force"
        ) from error
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise EsadError(
            f"{root / 'scores.parquet'}: column {missing[0]!r} is missing; run: esad score {run} --force"
        )
    if table["score"].isna().any():
        bad = table.loc[table["score"].isna(), "item_id"].iloc[0]
        raise EsadError(
            f"{root / 'scores.parquet'}: the score of {bad} ({kind}) is not a number; train the run anew with a lower "
            "train.learning_rate."
        )
    return Scores(root, marker, table)
