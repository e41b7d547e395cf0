"""`esad figures` as a user drives it: pictures that open, numbers that are those of the scores, and errors in words."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from defusedxml import ElementTree
from PIL import Image

from esad.pipeline.cli.app import call
from esad.pipeline.drawing.codes import embedded
from esad.pipeline.runs.run_folder import open_run
from esad.preprocessing.store.store import Store
from tests.pipeline.drawing.runs import train
from tests.pipeline.stores import QUICK
from tests.pipeline.test_report import references

SHORT = {**QUICK, "train.steps": 20, "train.warmup.steps": 10}
OF_CLASSES = {
    "data.normal_classes": "[a]",
    "data.labelled_classes": "[b]",
    "data.labelled": "ratio",
    "data.gamma_l": 0.1,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A store of grey pictures of a normal class and two others, of which one is labelled, with runs `esad` and `deep`, scored."""
    folder = tmp_path_factory.mktemp("pictures")
    numbers = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[np.repeat([0, 1, 2], [90, 30, 30])][numbers.permutation(150)]
    x = numbers.integers(60, 120, (150, 16, 16, 1), dtype=np.uint8)
    x[y == "b", 4:9, 4:9] += 120
    x[y == "c", 9:14, 2:5] -= 60
    for name in "abc":
        (folder / "Hansen-Erika" / name).mkdir(parents=True)
    for number, (picture, name) in enumerate(zip(x, y, strict=True)):
        Image.fromarray(picture[..., 0]).save(folder / "Hansen-Erika" / name / f"Hansen{number:03d}.png")
    assert call(["images", str(folder / "Hansen-Erika"), "--out", str(folder / "store")]) == 0
    for name, method in (("esad", "esad"), ("deep", "deep_sad")):
        settings = {**SHORT, **OF_CLASSES, "method": method}
        train(folder / "store", folder / name, settings)
    return folder


@pytest.fixture(scope="module")
def drawn(pictures):
    """The figures of both runs."""
    out = pictures / "figures"
    assert (
        call(["figures", str(pictures / "esad"), str(pictures / "deep"), "--out", str(out), "--items", "40"])
        == 0
    )
    return out


def test_each_figure_is_there_as_png_svg_and_csv_and_a_page_says_what_they_are(drawn, capsys):
    names = {"tsne", "examples-esad", "examples-deep"}
    expected = {f"{name}.{ending}" for name in names for ending in ("png", "svg", "csv")}
    assert {path.name for path in drawn.iterdir()} == {*expected, "README.md", "figures.json"}
    page = (drawn / "README.md").read_text()
    assert [name for name in expected if f"`{name}`" not in page] == []
    for name in names:
        with Image.open(drawn / f"{name}.png") as picture:
            picture.load()
            assert 700 <= picture.width <= 2500
            assert 300 <= picture.height <= 1500
            assert np.asarray(picture.convert("L")).std() > 10
        assert ElementTree.parse(drawn / f"{name}.svg").getroot().tag.endswith("svg")
    assert references((drawn / "tsne.svg").read_text())
    assert all(
        target.startswith(("#", "data:")) for target in references((drawn / "examples-esad.svg").read_text())
    )


def test_nothing_names_an_item_a_file_or_a_patient(pictures, drawn):
    manifest = Store(pictures / "store").manifest
    for path in drawn.iterdir():
        content = path.read_bytes()
        assert b"Hansen" not in content, path
    assert manifest["item_id"].str.contains("Hansen").all()  # it would have been seen


def test_a_map_shows_the_codes_of_test_items_drawn_by_seed(pictures, drawn):
    table = pd.read_csv(drawn / "tsne.csv")
    panels = list(table.groupby(["run", "code"], sort=False))
    assert [key for key, _ in panels] == [("esad", "z"), ("esad", "z_hat"), ("deep", "z")]
    manifest = Store(pictures / "store").manifest
    for (name, code), panel in panels:
        run = open_run(pictures / name)
        parts = run.assignments.set_index("item_id")["part"]
        assert (parts.reindex(manifest["item_id"].iloc[panel["row"]]) == "test").all()
        assert panel["label"].value_counts().to_dict() == {0: 20, 1: 20}
        classes = manifest["class_name"].iloc[panel["row"]].to_numpy()
        assert (panel["class_name"].to_numpy() == classes).all()
        told = {"a": "normal", "b": "anomaly, class labelled in training", "c": "anomaly, class not labelled"}
        assert panel["kind"].tolist() == [told[each] for each in classes]
        assert set(classes) == set("abc")
        codes = direct_codes(pictures, name, panel["row"].to_numpy())[code]
        found = panel[["x", "y"]].to_numpy()
        assert np.isfinite(found).all()
        neighbours = [
            np.argsort(np.linalg.norm(values[:, None] - values[None], axis=-1), axis=1)[:, 1]
            for values in (codes, found)
        ]
        near = np.linalg.norm(codes - codes[neighbours[1]], axis=1)
        assert np.median(near) < 0.5 * np.median(
            np.linalg.norm(codes[:, None] - codes[None], axis=-1)
        )  # neighbours stay near


def test_labelled_classes_are_found_of_runs_that_do_not_name_them(pictures, drawn, tmp_path):
    run = shutil.copytree(pictures / "esad", tmp_path / "esad")
    path = run / "provenance.json"
    content = json.loads(path.read_text())
    assert set(content.pop("labelled_classes")) == {"b"}
    path.write_text(json.dumps(content))
    assert call(["figures", str(run), "--out", str(tmp_path / "out"), "--items", "40", "--only", "tsne"]) == 0
    before, found = (pd.read_csv(folder / "tsne.csv") for folder in (drawn, tmp_path / "out"))
    assert found["kind"].tolist() == before.loc[before["run"] == "esad", "kind"].tolist()


def direct_codes(folder: Path, name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Codes (N, K) of a run on pictures, item by item."""
    method, store = open_run(folder / name).method(torch.device("cpu")), Store(folder / "store")
    with torch.inference_mode():
        found = [method.latents(method.scaler(torch.from_numpy(store.read(np.array([row]))))) for row in rows]
    return {key: torch.cat([each[key] for each in found]).flatten(1).numpy() for key in found[0]}


def test_the_map_is_the_t_sne_of_just_these_codes(pictures):
    from esad.pipeline.drawing.codes import code_maps, codes_of
    from esad.pipeline.drawing.subjects import find_subjects

    (subject,), _ = find_subjects([pictures / "esad"])
    maps, _ = code_maps([subject], 40, 0, "cpu")
    rows = maps[1].items["row"].to_numpy()
    codes = codes_of(subject, rows, "cpu")
    direct = direct_codes(pictures, "esad", rows)
    for name, values in codes.items():
        assert np.allclose(values, direct[name], rtol=1e-4, atol=1e-5)
    assert np.array_equal(maps[1].items[["x", "y"]].to_numpy(), embedded(codes["z_hat"], 0))


def test_examples_stand_at_the_ranks_of_the_scores_with_their_reconstructions(pictures, drawn):
    scores = pd.read_parquet(pictures / "esad/scores/store/scores.parquet")
    scores["row"] = scores.index
    table = pd.read_csv(drawn / "examples-esad.csv")
    assert table["place"].tolist() == 2 * ["lowest", "25 %", "median", "75 %", "highest"]
    assert table["kind"].tolist() == 5 * ["normal"] + 5 * ["anomaly"]
    method, store = open_run(pictures / "esad").method(torch.device("cpu")), Store(pictures / "store")
    for label, group in table.groupby("label"):
        ranked = scores[(scores["part"] == "test") & (scores["label"] == label)].sort_values(["score", "row"])
        expected = ranked.iloc[np.round(np.linspace(0, len(ranked) - 1, 5)).astype(int)]
        assert group["row"].tolist() == expected["row"].tolist()
        assert group["score"].tolist() == pytest.approx(expected["score"].tolist(), rel=1e-6)
        assert group["percentile"].tolist() == pytest.approx(expected["percentile"].tolist())
        assert set(group["of"]) == {len(ranked)}
    with torch.inference_mode():
        x = method.scaler(torch.from_numpy(store.read(table["row"].to_numpy())))
        error = (method.reconstruct(x) - x).abs().mean((1, 2, 3))
    assert table["difference"].tolist() == pytest.approx(error.tolist(), rel=1e-3)
    deep = pd.read_csv(drawn / "examples-deep.csv")
    assert deep["difference"].isna().all()
    assert "Deep SAD does not reconstruct" in (drawn / "README.md").read_text()
    heights = [Image.open(drawn / f"examples-{name}.png").height for name in ("esad", "deep")]
    assert heights[0] > 1.7 * heights[1]


def test_the_same_again_has_the_same_bytes_and_a_finished_folder_is_left_alone(pictures, drawn, capsys):
    runs = [str(pictures / name) for name in ("esad", "deep")]
    again = pictures / "again"
    assert call(["figures", *runs, "--out", str(again), "--items", "40"]) == 0
    for path in drawn.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name
    before = (again / "tsne.png").stat().st_mtime_ns
    assert call(["figures", *runs, "--out", str(again), "--items", "40", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == ["tsne", "examples-esad", "examples-deep"]
    assert (again / "tsne.png").stat().st_mtime_ns == before
    (again / "mine.txt").write_text("kept")
    assert call(["figures", *runs, "--out", str(again), "--items", "20"]) == 1
    assert "holds other figures (items: 40 -> 20)" in capsys.readouterr().err
    assert call(["figures", *runs, "--out", str(again), "--items", "20", "--only", "tsne", "--force"]) == 0
    assert {path.name for path in again.iterdir()} == {
        "mine.txt", "tsne.png", "tsne.svg", "tsne.csv", "README.md", "figures.json",
    }  # fmt: skip


def test_figures_are_drawn_anew_where_a_run_was_scored_since(pictures, tmp_path, capsys):
    run = shutil.copytree(pictures / "esad", tmp_path / "esad")
    scores = run / "scores"
    scores.rename(tmp_path / "kept")
    out = str(tmp_path / "out")
    assert call(["figures", str(run), "--out", out, "--items", "20"]) == 3
    assert f"Not drawn: {run}: not scored yet. Run: esad score {run}" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("examples*"))
    (tmp_path / "kept").rename(scores)
    assert call(["figures", str(run), "--out", out, "--items", "20"]) == 0
    assert (tmp_path / "out" / "examples-esad.csv").is_file()
    assert call(["figures", str(run), "--out", out, "--items", "20"]) == 0
    assert "Left alone" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_told_before_anything_is_written(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    esad = str(pictures / "esad")
    unfinished = shutil.copytree(pictures / "esad", tmp_path / "unfinished")
    (unfinished / "model.safetensors").unlink()
    unscored = shutil.copytree(pictures / "esad", tmp_path / "unscored")
    shutil.rmtree(unscored / "scores")
    for given, status, told in (
        ([tmp_path / "nowhere"], 2, "no such folder; expected a run, scores or a sweep"),
        ([pictures / "store"], 1, "neither a run (config.yaml) nor scores"),
        ([esad, esad], 2, "is named twice"),
        ([esad, "--only", "tnse"], 2, "did you mean 'tsne'?"),
        ([esad, "--across", "data.gama_p"], 2, "did you mean 'data.gamma_p'?"),
        ([esad, "--across", "loss.lambda1"], 2, "is what the curves are drawn over"),
        ([unfinished], 1, "training has not finished"),
        ([unscored, "--only", "examples"], 1, f"not scored yet. Run: esad score {unscored}"),
        ([unscored, "--only", "lambda"], 1, f"not scored yet. Run: esad score {unscored}"),
        ([esad, "--only", "lambda"], 1, "the runs differ neither in loss.lambda1 nor in loss.lambda2"),
        (
            [pictures / "deep", "--only", "lambda"],
            1,
            "none of the runs is scored and of a method with lambda1",
        ),
    ):
        assert call(["figures", *map(str, given), "--out", str(out)]) == status, told
        assert told in capsys.readouterr().err
        assert not out.exists()
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    assert call(["figures", esad, "--out", str(out), "--force"]) == 1
    assert "exists and is no folder of figures" in capsys.readouterr().err


def test_scores_of_other_weights_and_a_store_made_anew_are_found_out(pictures, tmp_path, capsys):
    run = shutil.copytree(pictures / "esad", tmp_path / "esad")
    marker = run / "scores/store/scores.json"
    content = json.loads(marker.read_text())
    marker.write_text(json.dumps({**content, "model": "0" * 16}))
    assert call(["figures", str(run), "--out", str(tmp_path / "out")]) == 1
    assert "holds scores of other weights" in capsys.readouterr().err
    marker.write_text(json.dumps({**content, "inputs": "0" * 16}))
    assert call(["figures", str(run), "--out", str(tmp_path / "out")]) == 1
    assert "was made anew of other inputs" in capsys.readouterr().err
    marker.write_text(json.dumps({**content, "store": str(tmp_path / "gone")}))
    assert call(["figures", str(run), "--out", str(tmp_path / "out")]) == 1
    assert "is gone" in capsys.readouterr().err


def test_more_runs_than_a_picture_shows_are_refused_and_runs_of_one_name_told_apart(
    pictures, tmp_path, capsys
):
    copies = [shutil.copytree(pictures / "deep", tmp_path / f"{number}" / "deep") for number in range(13)]
    assert call(["figures", *map(str, copies), "--out", str(tmp_path / "out")]) == 2
    assert "13 runs: maps of codes and examples are drawn of at most 12" in capsys.readouterr().err
    assert call(["figures", *map(str, copies[:2]), "--out", str(tmp_path / "out"), "--items", "20"]) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {
        "tsne.csv", "examples-0-deep.csv", "examples-1-deep.csv",
    }  # fmt: skip
    assert pd.read_csv(tmp_path / "out/tsne.csv")["run"].unique().tolist() == ["0/deep", "1/deep"]


def test_a_workflow_draws_and_reports(pictures, tmp_path):
    for name in ("esad", "deep"):
        shutil.copytree(pictures / name, tmp_path / name)
    steps = [
        {
            "name": "drawn",
            "stage": "figures",
            "inputs": ["esad", "deep"],
            "options": {"only": ["tsne", "examples"], "items": 20},
        },
        {"name": "page", "stage": "report", "inputs": ["esad"], "options": {"figures": "${drawn}"}},
    ]
    (tmp_path / "flow.yaml").write_text(yaml.safe_dump(steps))
    for _ in range(2):
        assert call(["run", str(tmp_path / "flow.yaml"), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out/page.html").read_text()
    assert re.findall(r"<h3>((?:Maps|Examples) [^<]*)</h3>", page) == [
        "Maps of the codes", "Examples of esad", "Examples of deep",
    ]  # fmt: skip
    assert all(target.startswith(("data:image/", "#")) for target in references(page))


def test_a_report_shows_the_figures_in_the_run_itself_while_they_are_of_its_weights(
    pictures, tmp_path, capsys
):
    run = shutil.copytree(pictures / "esad", tmp_path / "esad")
    assert call(["report", str(run), "--out", str(tmp_path / "before.html")]) == 0
    assert call(["figures", str(run), "--out", str(run / "figures"), "--items", "20"]) == 0
    assert call(["report", str(run), "--out", str(tmp_path / "with.html")]) == 0
    assert (
        call(["report", str(run), "--out", str(tmp_path / "named.html"), "--figures", str(run / "figures")])
        == 0
    )
    assert "Maps of the codes" not in (tmp_path / "before.html").read_text()
    page = (tmp_path / "with.html").read_text()
    assert page.count("<h3>Maps of the codes</h3>") == 1
    assert (tmp_path / "named.html").read_text() == page
    path = run / "figures/figures.json"
    content = json.loads(path.read_text())
    content["runs"][0]["model"] = "0" * 16
    path.write_text(json.dumps(content))
    capsys.readouterr()
    assert call(["report", str(run), "--out", str(tmp_path / "stale.html")]) == 0
    assert "shows other weights than the run has now" in capsys.readouterr().err
    assert "Maps of the codes" not in (tmp_path / "stale.html").read_text()
    assert (
        call(["report", str(run), "--out", str(tmp_path / "no.html"), "--figures", str(tmp_path / "esad")])
        == 1
    )
    assert "no finished figures" in capsys.readouterr().err
