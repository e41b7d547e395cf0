"""Scored slides to look at: real stores of drawn slides, odd in size and scale, with scores chosen here; one has a script in its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from starlette.testclient import TestClient

from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.inspection.app import Viewer
from esad.pipeline.inspection.marks import Marks
from esad.pipeline.inspection.security import Guard
from esad.pipeline.inspection.server import viewer
from esad.pipeline.inspection.subject import Subject
from esad.pipeline.scoring.scores_folder import write_tables
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.thresholds.conformal import colour_ends, threshold
from esad.pipeline.tile import tile
from esad.preprocessing.store.store import Store
from tests.pipeline.test_report import complete
from tests.pipeline.test_tile import stained, write_slide

HOSTILE = "<img src=x onerror=alert(1)>"
"""A slide's name, and a group's."""
ODD = (1019, 1237)
"""Height and width of the slides: no multiple of a tile, of 254 or of 256."""
NORMALS = 199
TOKEN = "a-token-for-tests"
PORT = 8765
ORIGIN = f"http://127.0.0.1:{PORT}"


def draw_slides(folder: Path) -> Path:
    """Three slides of ODD size; tiles of 64 pixels span 139.13 level-0 pixels."""
    folder.mkdir(parents=True)
    for number, name in enumerate(("a", "b", HOSTILE)):
        picture = np.tile(stained(1237, number), (1, 1, 1))[: ODD[0], : ODD[1]]
        write_slide(folder / f"{name}.tif", picture, mpp=0.46)
    return folder


def make_store(folder: Path) -> Store:
    """The store `folder`/store of the slides in `folder`/slides."""
    slides = draw_slides(folder / "slides")
    tile(
        [slides],
        TileSettings(stain="none", min_tissue=0.1, mpp=1.0, magnification=None),
        IngestOptions(folder / "store"),
    )
    return Store(folder / "store")


def score_store(folder: Path, store: Store, name: str = "run", seed: int = 0, **columns: object) -> Path:
    """A RUN in `folder`/NAME with scores of the store; `columns` replace or add some of the scores table."""
    run = complete(folder / name, store.kind)
    numbers, manifest = np.random.default_rng(seed), store.manifest
    normals = pd.DataFrame({name: numbers.normal(size=NORMALS) for name in ("reconstruction", "norm")})
    normals["score"] = normals["eq9"] = normals["reconstruction"] + normals["norm"]
    normals["item_id"] = [f"n{number}" for number in range(NORMALS)]
    normals.to_parquet(run / "normals.parquet")
    table = pd.DataFrame({"item_id": manifest["item_id"].astype("string")})
    for term in ("reconstruction", "norm"):
        table[term] = numbers.normal(size=len(manifest)).astype(np.float32)
    table.loc[::7, "norm"] += 6
    table["score"] = table["eq9"] = table["reconstruction"] + table["norm"]
    table["standardised"] = table["score"] / 2
    lower = np.searchsorted(np.sort(normals["score"]), table["score"], side="left")
    table["percentile"] = lower / (NORMALS + 1)
    table["p_value"] = 1 - table["percentile"]
    table["threshold"] = threshold(np.sort(normals["score"].to_numpy()), 0.01)
    for column in ("source", "group", "x", "y", "width", "height", "tumour_fraction", "view", "label"):
        if column in manifest:
            table[column] = manifest[column].array
    table["part"] = pd.array((["train", "test", None] * len(table))[: len(table)], dtype="string")
    table = table.assign(**columns)
    scores = run / "scores" / "store"
    write_tables(scores, store, [table], colour_ends(0.01, NORMALS))
    marker = json.loads((scores / "scores.json").read_text())
    marker |= {"kind": store.kind, "store": str(store.root), "normals": NORMALS, "items": len(table)}
    (scores / "scores.json").write_text(json.dumps(marker))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["store"] |= {"path": str(store.root), "shape": list(store.shape)}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


@dataclass(frozen=True)
class Case:
    """A served subject, and a client that has the token."""

    pages: Viewer
    client: TestClient

    @property
    def subject(self) -> Subject:
        return self.pages.subject

    def get(self, address: str, **query: object) -> object:
        """The JSON at an address."""
        answer = self.client.get(address, params={key: str(value) for key, value in query.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def mark(self, row: int, mark: str | None, reader: str = "Ada", **more: object) -> object:
        answer = self.client.post(
            "/api/marks", json={"of": "item", "row": row, "mark": mark, "reader": reader, **more}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["entry"]


def case_of(
    paths: list[Path], marks: Path, archive: Path | None = None, annotations: Path | None = None
) -> Case:
    """The scores at `paths`, served to a client."""
    pages = viewer(Subject(paths), Marks(marks), archive, annotations)
    guarded = Guard(pages.application(), TOKEN, "127.0.0.1", PORT)
    return Case(pages, TestClient(guarded, base_url=ORIGIN, cookies={f"esad-{PORT}": TOKEN}))
