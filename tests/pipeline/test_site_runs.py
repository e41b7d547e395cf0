"""Several sites from training to figures: one left out, thresholds and figures by site, the audit, and a sweep over sites."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from esad.pipeline.cli.app import call
from esad.pipeline.thresholds.conformal import p_values
from esad.preprocessing.store.store import Store

SHORT = [
    "--set", "train.steps=20", "--set", "train.warmup.steps=10", "--set", "train.batch_size=16", "--set", "network.width=1",
    "--set", "data.validation_share=0.4", "--set", "data.split=leave-site-out",
]  # fmt: skip
FOREST = ["--set", "method=isolation_forest", "--set", "isolation_forest.trees=5"]
SITES = ("east", "north", "south/a")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store of three sites, a patient to two rows, one patient at two sites, and a run that leaves one out."""
    folder = tmp_path_factory.mktemp("sites")
    numbers = np.random.default_rng(0)
    y = np.arange(180) % 6 == 5
    table = pd.DataFrame(numbers.normal(size=(180, 4)) + 3 * y[:, None], columns=list("abcd"))
    table = table.assign(y=y.astype(int), site=np.repeat(SITES, 60), group=[f"p{n // 2}" for n in range(180)])
    table.loc[[0, 1, 170, 171], "group"] = "moved"
    table.loc[60:61, "site"] = None
    table.to_csv(folder / "t.csv", index=False)
    assert call(["tables", str(folder / "t.csv"), "--out", str(folder / "store")]) == 0
    words = [
        "train",
        str(folder / "store"),
        "--out",
        str(folder / "run"),
        *SHORT,
        "--set",
        "data.site=south/a",
    ]
    assert call(words) == 0
    return folder


def test_the_site_is_in_no_other_part_and_what_is_left_out_is_said(folder, capsys):
    words = [
        "train",
        str(folder / "store"),
        "--out",
        str(folder / "again"),
        *SHORT,
        "--set",
        "data.site=south/a",
    ]
    assert call(words) == 0
    told = capsys.readouterr().err
    assert "occur at a site held out: 2 items." in told
    assert "nothing says their site: 2 items." in told
    items = Store(folder / "store").manifest[["item_id", "site", "group"]]
    used = (
        pd.read_parquet(folder / "run" / "assignments.parquet")
        .drop(columns="group")
        .merge(items, on="item_id")
    )
    assert set(used.loc[used["part"] == "test", "site"]) == {"south/a"}
    assert set(used.loc[used["part"] != "test", "site"]) == {"north", "east"}
    assert used.groupby("group")["part"].nunique().max() == 1


def test_the_audit_has_a_rule_for_it(folder, tmp_path, capsys):
    assert call(["audit", str(folder / "run"), "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["sites_apart"]["passed"]
    path = folder / "run" / "assignments.parquet"
    before = pd.read_parquet(path)
    moved = before.copy()
    moved.loc[(moved["part"] == "test").idxmax(), "part"] = "validation"
    moved.to_parquet(path)
    assert call(["audit", str(folder / "run"), "--json"]) == 1
    broken = {
        check["name"]: check["count"]
        for check in json.loads(capsys.readouterr().out)["checks"]
        if not check["passed"]
    }
    assert (
        broken["sites_apart"]
        == int((moved["part"] != "train").sum() - (moved["part"] == "validation").sum()) + 1
    )
    before.to_parquet(path)


def test_thresholds_by_site_are_of_each_sites_own_normals(folder, tmp_path, capsys):
    words = ["score", str(folder / "run"), "--overlays", "none", "--by", "site", "--false-alarms", "0.2"]
    assert call([*words, "--out", str(tmp_path / "scores")]) == 0
    told = capsys.readouterr().err
    table = pd.read_parquet(tmp_path / "scores" / "scores.parquet")
    normals = pd.read_parquet(folder / "run" / "normals.parquet")
    assert set(normals["site"]) == {"north", "east"}
    for site in ("north", "east"):
        own, rows = normals.loc[normals["site"] == site, "score"].to_numpy(), table[table["site"] == site]
        assert rows["p_value"].to_numpy() == pytest.approx(p_values(rows["score"].to_numpy(), own))
    without = table["site"].isna() | (table["site"] == "south/a")
    assert table.loc[without, ["p_value", "threshold"]].isna().all(axis=None)
    assert f"{int(without.sum())} items have no reference normals of their site" in told
    sets = json.loads((tmp_path / "scores" / "scores.json").read_text())["thresholds"]["sets"]
    assert [each["name"] for each in sets] == ["east", "north"]
    assert call(["evaluate", str(tmp_path / "scores"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["alarms"]["by"]["site"]["south/a"]["achieved"] is None
    assert content["alarms"]["likeness"]["by"]["site"]["south/a"]["reference"] == "all"


def test_figures_and_report_are_by_site(folder, capsys):
    assert call(["score", str(folder / "run"), "--overlays", "none"]) == 0
    assert call(["evaluate", str(folder / "run"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["evaluated"] == "test part"
    assert content["by"]["site"]["south/a"]["items"] == content["items"]
    assert call(["report", str(folder / "run")]) == 0
    page = (folder / "run" / "scores" / "store" / "report.html").read_text()
    for caption in ("Figures of each site", "False alarms of each site", "Unlike the normals of training?"):
        assert caption in page
    assert "All labelled rows of the site south/a were held out to test" in page


def test_a_sweep_leaves_out_each_site_in_turn(folder, tmp_path, capsys):
    words = [
        "sweep",
        str(folder / "store"),
        "--out",
        str(tmp_path / "sweep"),
        *SHORT,
        *FOREST,
    ]
    assert call([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")
    assert rows["data.site"].tolist() == sorted(SITES)
    assert told["best"] == {}
    items = Store(folder / "store").manifest
    for site, run in rows[["data.site", "run"]].itertuples(index=False):
        used = pd.read_parquet(tmp_path / "sweep" / run / "assignments.parquet")
        tested = items.set_index("item_id").loc[used.loc[used["part"] == "test", "item_id"], "site"]
        assert set(tested) == {site}
        assert f"| {site} | 0 |" in (tmp_path / "sweep" / "sweep.md").read_text()
    assert call(words) == 0  # all are there
    assert "3 runs, each of 3 sites left out in turn" in capsys.readouterr().err


def test_settings_are_chosen_by_the_mean_over_sites(folder, tmp_path, capsys):
    over = ["--over", "isolation_forest.trees=2,20", "--set", "data.validation_site=north", *FOREST]
    words = ["sweep", str(folder / "store"), "--out", str(tmp_path / "sweep"), *SHORT, *over]
    assert call([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = pd.read_parquet(tmp_path / "sweep" / "sweep.parquet")
    assert rows["data.site"].tolist() == ["east", "south/a"] * 2  # what validates is not left out
    means = rows.groupby("isolation_forest.trees")["auc"].mean()
    assert told["best"] == {"isolation_forest.trees": means.idxmax()}
    assert [cell["auc"] for cell in told["cells"]] == pytest.approx(means.tolist())
    assert [cell["seeds"] for cell in told["cells"]] == [2, 2]
    page = (tmp_path / "sweep" / "sweep.md").read_text()
    fewest = told["validation"]
    assert f"at least {fewest['normal']} normal items and at least {fewest['anomaly']} anomalies" in page


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--over", "data.site=north,east"], "a site is not chosen"),
        (["--over", "isolation_forest.trees=2", "--set", "data.split=clean", "--set", "data.site=east"], ""),
        (["--set", "data.split=clean"], "--over is missing"),
        (["--set", "data.site=west"], "--over is missing"),
    ],
)
def test_what_a_sweep_over_sites_refuses(folder, tmp_path, capsys, more, told):
    words = [
        "sweep",
        str(folder / "store"),
        "--out",
        str(tmp_path / "sweep"),
        *SHORT,
        *FOREST,
        *more,
    ]
    assert call(words) == (2 if told else 0)
    assert told in capsys.readouterr().err


def test_a_run_without_a_site_to_leave_out_names_those_that_there_are(folder, tmp_path, capsys):
    assert call(["train", str(folder / "store"), "--out", str(tmp_path / "run"), *SHORT]) == 2
    assert (
        "say which site tests, for example --set data.site=east (there are east, north, south/a)"
        in capsys.readouterr().err
    )


def test_a_grid_has_a_line_for_each_site_that_is_left_out(folder, tmp_path, capsys):
    sites = {name: {"path": "t.csv", "settings": {"data.site": name}} for name in ("north", "east")}
    settings = {"train.steps": 4, "train.warmup.steps": 2, "train.batch_size": 16, "network.width": 1.0}
    grid = {
        "datasets": sites,
        "methods": {"cae": {}},
        "splits": ["leave-site-out"],
        "gamma_l": [0.05],
        "seeds": 1,
        "settings": settings,
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    words = [
        "benchmark",
        str(tmp_path / "grid.yaml"),
        "--data",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    assert call(words) == 0
    capsys.readouterr()
    cells = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").rglob("cells/*.json"))]
    assert len(cells) == 2
    manifest = Store(folder / "store").manifest
    for name in ("east", "north"):
        assert f'"tested": {int((manifest["site"] == name).sum())}' in json.dumps(cells)
