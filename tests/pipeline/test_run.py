"""Workflows: references, checks before the first step, and what happens when a step fails or refuses inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from esad.pipeline.cli.app import call
from esad.pipeline.run import commands, run_workflow
from esad.pipeline.stage.errors import EsadError, Stopped, UsageError
from esad.pipeline.stage.outcome import Outcome
from esad.pipeline.workflow.files import WORKFLOWS, locate, read_workflow

FLOW: list[dict[str, Any]] = [
    {
        "name": "store",
        "stage": "tables",
        "inputs": ["t.csv"],
        "options": {"label": "sick", "labels": "l.csv"},
    },
    {
        "name": "model",
        "stage": "train",
        "inputs": ["${store}"],
        "options": {"preset": "cpu", "seed": 3, "set": {"train.epochs": 2, "data.where": {"view": "AP"}}},
    },
    {"name": "scores", "stage": "score", "inputs": ["${model}"], "options": {"overlays": "none"}},
    {"name": "figures", "stage": "evaluate", "inputs": ["${scores}"]},
    {"name": "page", "stage": "report", "inputs": ["${figures}", "${model}/scores/other"]},
]


class Stages:
    """Fake stage modules that keep their calls in order; `results` says what one returns or raises instead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, tuple, dict]] = []
        self.results: dict[str, object] = {}
        for name in ("tables", "train", "score", "evaluate", "report", "synthetic"):
            monkeypatch.setattr(f"esad.pipeline.{name}.{name}", self._stage(name))

    def _stage(self, name: str) -> Any:
        def stage(*args: object, **kwargs: object) -> object:
            self.calls.append((name, args, kwargs))
            result = self.results.get(name)
            if isinstance(result, BaseException):
                raise result
            return result or Outcome(Path(f"made-by-{name}"), f"Wrote {name}.", "", 0, {"items": 1})

        return stage

    @property
    def order(self) -> list[str]:
        return [name for name, _, _ in self.calls]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    return Stages(monkeypatch)


def write(folder: Path, steps: object) -> Path:
    path = folder / "flow.yaml"
    path.write_text(yaml.safe_dump(steps, sort_keys=False))
    return path


def test_steps_are_the_commands_a_person_would_type(tmp_path):
    steps = read_workflow(write(tmp_path, FLOW), Path("out"), commands())
    assert [step.shell for step in steps] == [
        f"esad tables {tmp_path}/t.csv --out out/store --label sick --labels {tmp_path}/l.csv",
        "esad train out/store --out out/model --preset cpu --seed 3 --set train.epochs=2 --set 'data.where={view: AP}'",
        "esad score out/model --out out/scores --overlays none",
        "esad evaluate out/scores",
        "esad report out/scores out/model/scores/other --out out/page.html",
    ]


def test_files_are_relative_to_the_workflow_file_and_names_stay_names(tmp_path):
    """In another folder, as a person would call it; a folder of a grid's name beside the workflow is none."""
    steps = [
        {"name": "tiles", "stage": "tile", "inputs": ["slides"], "options": {"stain_target": "target.tif@0,0,64"}},
        {"name": "vectors", "stage": "embed", "inputs": ["${tiles}"], "options": {"encoder": "encoders/enc.onnx"}},
        {"name": "ready", "stage": "embed", "inputs": ["${tiles}"], "options": {"encoder": "imagenet"}},
        {"name": "grid", "stage": "benchmark", "inputs": ["table8"], "options": {"data": "sets", "forecast": True}},
        {"name": "own-grid", "stage": "benchmark", "inputs": ["grid.yaml"], "options": {"data": "${got}"}},
        {"name": "got", "stage": "fetch", "inputs": ["mnist"]},
        {"name": "model", "stage": "train", "inputs": ["${tiles}"], "options": {"set": {"backbone.weights": "w.safetensors"}}},
        {"name": "page", "stage": "report", "inputs": ["one", "two", "${model}"], "options": {"figures": "drawn"}},
    ]  # fmt: skip
    steps.insert(0, steps.pop(5))
    (tmp_path / "flow.yaml").write_text(yaml.safe_dump(steps))
    found = {
        step.name: step.arguments for step in read_workflow(tmp_path / "flow.yaml", Path("out"), commands())
    }
    assert str(tmp_path / "target.tif@0,0,64") in found["tiles"]
    assert str(tmp_path / "encoders" / "enc.onnx") in found["vectors"]
    assert "imagenet" in found["ready"]
    assert found["grid"][0] == "table8"
    assert found["own-grid"][0] == str(tmp_path / "grid.yaml")
    assert found["got"][0] == "mnist"
    assert f"backbone.weights={tmp_path / 'w.safetensors'}" in found["model"]
    assert found["page"][:3] == (str(tmp_path / "one"), str(tmp_path / "two"), str(Path("out") / "model"))
    assert str(tmp_path / "drawn") in found["page"]


def test_all_steps_run_in_order_with_what_the_file_says(stages, tmp_path, capsys):
    outcome = run_workflow(write(tmp_path, FLOW), tmp_path / "out")
    assert stages.order == ["tables", "train", "score", "evaluate", "report"]
    store, out, preset, layers, force = stages.calls[1][1]
    assert (store, out, preset, force) == (tmp_path / "out/store", tmp_path / "out/model", "cpu", False)
    assert layers[1] == {"train.epochs": 2, "data.where": {"view": "AP"}}
    assert outcome.exit_status == 0
    assert outcome.summary["result"] == "made-by-report"
    assert [row["name"] for row in outcome.summary["steps"]] == [
        "store",
        "model",
        "scores",
        "figures",
        "page",
    ]
    assert "[2/5] esad train" in capsys.readouterr().err


def test_the_command_prints_one_object_for_the_whole_workflow(stages, tmp_path, capsys):
    assert call(["run", str(write(tmp_path, FLOW)), "--out", str(tmp_path / "out"), "--json", "--force"]) == 0
    assert len(json.loads(capsys.readouterr().out)["steps"]) == 5
    assert stages.calls[1][1][-1] is True  # --force reaches the steps that know it


def test_a_step_that_refuses_inputs_does_not_stop_the_others(stages, tmp_path, capsys):
    stages.results["tables"] = Outcome(tmp_path, "Wrote the store.", refused=2)
    assert call(["run", str(write(tmp_path, FLOW)), "--out", str(tmp_path / "out")]) == 3
    assert stages.order[-1] == "report"
    assert "2 inputs were refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "kind", "status"),
    [
        (EsadError("the loss is not finite."), EsadError, 1),
        (UsageError("--preset 'x' is unknown."), UsageError, 2),
        (Stopped("Stopped at step 3."), Stopped, 75),
        (KeyboardInterrupt(), Stopped, 75),
        (OSError(28, "No space left on device", "f"), EsadError, 1),
    ],
)
def test_a_failed_step_ends_the_workflow_and_is_named(failure, kind, status, stages, tmp_path):
    stages.results["train"] = failure
    file = write(tmp_path, FLOW)
    with pytest.raises(kind, match=r"Step 'model' \(2 of 5\) (failed|was stopped)") as end:
        run_workflow(file, tmp_path / "out")
    assert "esad train" in str(end.value)  # the command to run alone
    assert stages.order == ["tables", "train"]
    assert call(["run", str(file), "--out", str(tmp_path / "out")]) == status


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stage": "trian"}, "unknown stage 'trian'; did you mean 'train'?"),
        ({"stage": "run"}, "unknown stage 'run'"),
        ({"inputs": ["${stoer}/x"]}, r"\$\{stoer\} is no earlier step; did you mean 'store'?"),
        ({"inputs": ["${model}"]}, r"\$\{model\} is no earlier step"),
        ({"inputs": []}, "esad train needs inputs"),
        ({"inputs": "${store}"}, "inputs is a list"),
        ({"inputs": ["${store}", "more"]}, "unexpected extra argument"),
        ({"options": {"prest": "cpu"}}, "unknown option '--prest'; did you mean '--preset'?"),
        ({"options": {"json": True}}, "unknown option '--json'"),
        ({"options": {"seed": "many"}}, "--seed"),
        ({"option": {}}, "unknown key 'option'; did you mean 'options'?"),
        ({"name": "store"}, "already a step 'store'"),
        ({"name": "../up"}, "a name is made of"),
    ],
)
def test_faults_of_the_file_are_found_before_anything_runs(change, told, stages, tmp_path):
    steps = [dict(step) for step in FLOW[:2]]
    steps[1].update(change)
    with pytest.raises(UsageError, match="(?i)" + told.replace("?", r"\?")) as end:
        run_workflow(write(tmp_path, steps), tmp_path / "out")
    assert "step 2" in str(end.value)
    assert not stages.calls


@pytest.mark.parametrize("content", [{"steps": []}, [], ["train"], [{"stage": "train"}], None])
def test_a_file_that_is_no_list_of_steps_is_refused(content, tmp_path):
    with pytest.raises(UsageError, match=r"expected a (list|mapping)"):
        read_workflow(write(tmp_path, content), tmp_path, commands())


def test_yaml_that_cannot_be_read_and_absent_files_are_named(tmp_path):
    path = tmp_path / "flow.yaml"
    path.write_text("- {name: [")
    with pytest.raises(UsageError, match="cannot be read as YAML"):
        read_workflow(path, tmp_path, commands())
    with pytest.raises(UsageError, match=r"none\.yaml: no such file, and no workflow of the package"):
        locate(tmp_path / "none.yaml")


def test_the_demo_is_found_by_name_even_beside_a_folder_demo_and_is_sound(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    file = locate(Path("demo"))
    assert file == WORKFLOWS / "demo.yaml"
    stages = {step.stage for step in read_workflow(file, Path("demo"), commands())}
    assert stages >= {"synthetic", "tile", "radiographs", "tables", "train", "score", "evaluate", "report"}


def test_every_command_but_run_can_be_a_step():
    assert {"tile", "radiographs", "images", "tables", "train", "score", "evaluate", "report"} <= set(
        commands()
    )
    assert "run" not in commands()
