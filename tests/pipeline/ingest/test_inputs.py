"""Which files an ingest stage takes for its inputs, and options of the form NAME=KIND."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.ingest.inputs import parse_kinds
from esad.pipeline.stage.errors import ExitStatus, UsageError

STAGES = {
    "tile": (".tif", ["--magnification", "10", "--min-tissue", "0", "--stain", "none"]),
    "images": (".png", []),
    "radiographs": (".png", []),
    "tables": (".csv", []),
}


def write(path):
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    if path.suffix == ".tif":
        tifffile.imwrite(
            path, picture, tile=(64, 64), photometric="rgb", resolution=(10_000, 10_000), resolutionunit=3
        )
    elif path.suffix == ".png":
        Image.fromarray(picture[..., 0]).save(path)
    else:
        path.write_text("a,b\n1,2\n3,4\n")


@pytest.mark.parametrize("stage", STAGES)
def test_a_link_to_nothing_is_a_refused_source_of_every_stage(tmp_path, stage):
    """As git-annex and DVC leave them where the content was not fetched."""
    ending, words = STAGES[stage]
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write(folder / f"a{ending}")
    (folder / f"b{ending}").symlink_to(tmp_path / "annex" / "nowhere")
    (folder / f"c{ending}").symlink_to(f"c{ending}")
    (folder / "d.other").symlink_to("nowhere")
    assert call([stage, str(folder), "--out", str(out), *words]) == ExitStatus.SOME_REFUSED
    sources = pd.read_parquet(out / "sources.parquet").set_index("source")
    assert sources["state"].to_dict() == {
        f"a{ending}": "done", f"b{ending}": "refused", f"c{ending}": "refused"
    }  # fmt: skip
    assert all("link" in sources.loc[f"{name}{ending}", "reason"] for name in "bc")


@pytest.mark.parametrize("pairs", [["A=x", "a=y"], ["a=x", " A =y"], ["Ä=x", "ä=y"]])
def test_one_name_of_two_kinds_is_a_wrong_command(pairs):
    with pytest.raises(UsageError, match=r"--class.*twice.*x.*y"):
        parse_kinds("--class", pairs, ("x", "y"), "a=x")


def test_one_name_of_one_kind_may_stand_twice_and_names_keep_their_equals_signs():
    assert parse_kinds("--class", ["a=x", "a=x", "b=c=y"], ("x", "y"), "a=x") == {"a": "x", "b=c": "y"}
