"""What is seen of a training while it runs: figures of the codes, warnings, the table, TensorBoard; and no trace of it."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import esad.pipeline.monitoring.watch
from esad.models.settings import MethodSettings
from esad.pipeline.monitoring.collapse import CollapseWatch, effective_rank, latent_figures
from esad.pipeline.train import train
from tests.pipeline.stores import QUICK, QUICK_TABLE, make_store


def test_the_effective_rank_counts_the_directions_that_vary():
    eye = torch.eye(4)
    assert effective_rank(torch.cat([eye, -eye])) == pytest.approx(4)
    assert effective_rank(torch.cat([eye, -eye]).reshape(8, 2, 2) + 3) == pytest.approx(4)
    line = torch.linspace(0, 1, 9)[:, None] * torch.tensor([[1.0, 2.0, -1.0]])
    assert effective_rank(line) == pytest.approx(1)
    unequal = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    shares = np.array([0.75, 0.25])
    assert effective_rank(unequal) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_a_constant_code_has_rank_zero_be_it_noisy_in_the_last_digits():
    assert effective_rank(torch.full((8, 5), 2.0)) == 0
    assert effective_rank(2 + 1e-6 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))) == 0
    assert effective_rank(torch.zeros(8, 5)) == 0
    assert np.isnan(effective_rank(torch.tensor([[1.0], [float("nan")]])))


def test_mean_squares_are_by_group_and_the_rank_is_that_of_the_unlabelled():
    codes = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.0, 4.0]])
    figures = latent_figures("z", codes, torch.tensor([False, False, True]))
    assert figures == pytest.approx({"z_square_unlabelled": 1, "z_square_anomaly": 8, "z_rank": 1})
    assert "z_square_anomaly" not in latent_figures("z", codes, torch.zeros(3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("figures", "faulty"),
    [
        ({"z_square_unlabelled": 0.2, "z_rank": 3.0}, []),
        ({"z_square_unlabelled": 0.2, "z_rank": 1.2}, ["z"]),
        ({"z_square_unlabelled": 1e-6, "z_rank": 3.0}, ["z"]),
        ({"z_hat_square_unlabelled": 1e-6, "z_hat_rank": 3.0}, ["z_hat"]),
        ({"z_hat_square_unlabelled": 0.0, "z_hat_square_anomaly": 2.0, "z_hat_rank": 0.0}, []),
        ({"z_hat_square_unlabelled": 0.16, "z_hat_square_anomaly": 0.16, "z_hat_rank": 2.0}, ["z_hat"]),
        ({"z_hat_square_unlabelled": 0.59, "z_hat_square_anomaly": 0.69, "z_hat_rank": 3.0}, []),
        ({"z_hat_square_unlabelled": 0.0, "z_hat_square_anomaly": 1e-6, "z_hat_rank": 2.0}, ["z_hat"]),
    ],
)
def test_what_counts_as_collapsed(figures, faulty):
    assert list(CollapseWatch(MethodSettings()).faults(figures)) == faulty


def test_what_collapses_in_the_warm_up_is_told_of_the_warm_ups_settings(capsys):
    CollapseWatch(MethodSettings()).check({"z_square_unlabelled": 1e-6, "z_rank": 3.0}, "warmup")
    said = capsys.readouterr().err
    assert "Lower train.warmup.learning_rate" in said
    assert "lambda" not in said


BRIEF = {**QUICK, "train.steps": 20, "train.warmup.steps": 10}
WATCHED = {**QUICK_TABLE, "train.steps": 240}
NO_LABELS = {"data.labelled": "ratio", "data.gamma_l": 0.0}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss.lambda1": 1000, **NO_LABELS}, r"gives 0 for all items .*Lower loss\.lambda1 \(now 1000\)"),
        ({"loss.lambda2": 1000}, r"does not yet tell labelled anomalies .*Lower loss\.lambda2 \(now 1000\)"),
        ({}, None),
        (NO_LABELS, None),
    ],
)
def test_a_collapsed_training_warns_once_and_a_healthy_one_does_not(tmp_path, capsys, changes, told):
    make_store(tmp_path)
    train(tmp_path / "store", tmp_path / "run", None, [{**WATCHED, **changes}])
    error = capsys.readouterr().err
    assert error.count("warning: collapse") == (1 if told else 0)
    if told:
        assert re.search(told, error)
    terms = set(pd.read_csv(tmp_path / "run" / "history.csv")["term"])
    assert {"z_rank", "z_hat_rank", "z_square_unlabelled", "z_hat_square_unlabelled"} <= terms
    assert ("reconstruction_anomaly" in terms) == ("data.gamma_l" not in changes)
    assert "reconstruction_normal" not in terms  # the store has no labelled normals


def test_a_watched_training_ends_with_the_weights_of_the_plain_loop(tmp_path, monkeypatch):
    from esad.models.methods.registry import build
    from esad.models.training.augment import Augmentation
    from esad.models.training.fit import TrainingData, fit
    from esad.pipeline.runs.items import in_memory, positions_of
    from esad.pipeline.runs.run_folder import open_run

    monkeypatch.setattr(esad.pipeline.monitoring.watch, "REPORT_EVERY_STEPS", 1)
    store = make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "run", None, [{**BRIEF, "data.flip": "both"}])
    run = open_run(tmp_path / "run")
    part = run.assignments[run.assignments["part"] == "train"]
    data = TrainingData(
        in_memory(store),
        [positions_of(store, part["item_id"])],
        [part["semi_label"].to_numpy(dtype="int8")],
    )
    method = fit(build(run.settings, store.shape, (0,)), data, "cpu", Augmentation(None, "both"))
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in method.state_dict().items())


def test_tensorboard_has_the_terms_and_pictures_of_inputs_targets_and_reconstructions(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "run", None, [BRIEF])
    events = EventAccumulator(
        str(tmp_path / "run" / "log" / "events"), size_guidance={"images": 0, "scalars": 0}
    ).Reload()
    assert {"loss", "reconstruction_anomaly", "z_rank"} <= set(events.Tags()["scalars"])
    assert [point.step for point in events.Scalars("z_rank")] == [10, 30]  # the ends of warm-up and training
    for row in ("input_0_CHW", "input_1_CHW", "output_CHW"):
        pictures = events.Images(row)
        assert [picture.step for picture in pictures] == [10, 30]
        assert (pictures[0].width, pictures[0].height) == (16 * 18, 16)


def test_tensorboard_shows_grey_as_it_is_not_stretched(tmp_path):
    import io

    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    store = make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "run", None, [BRIEF])
    events = EventAccumulator(str(tmp_path / "run" / "log" / "events"), size_guidance={"images": 0}).Reload()
    shown = np.asarray(Image.open(io.BytesIO(events.Images("input_0_CHW")[0].encoded_image_string)))
    stored = {item.tobytes() for item in store.read(np.arange(len(store)))[..., 0]}
    assert all(shown[:, place : place + 16, 0].tobytes() in stored for place in range(0, shown.shape[1], 18))


def test_a_log_of_lines_is_beside_the_events_and_nothing_is_printed_twice(tmp_path, capsys):
    make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "run", None, [BRIEF])
    lines = (tmp_path / "run" / "log" / "training.log").read_text().splitlines()
    history = pd.read_csv(tmp_path / "run" / "history.csv").query("term == 'loss'")
    assert [int(re.search(r"Iter: (\d+)/30", line)[1]) - 1 for line in lines] == history["step"].tolist()
    told = [float(re.search(r" loss: (\S+)", line)[1]) for line in lines]
    assert told == pytest.approx(history["value"].tolist(), abs=1e-4)
    assert "Iter:" not in "".join(capsys.readouterr())


def test_the_picture_shows_phi_of_labelled_anomalies_as_target(tmp_path, monkeypatch):
    import esad.pipeline.monitoring.picture_rows as module

    drawn = []
    original = module.picture_rows
    monkeypatch.setattr(
        esad.pipeline.monitoring.watch,
        "picture_rows",
        lambda *given: drawn.append(original(*given)) or drawn[-1],
    )
    make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "run", None, [BRIEF])
    inputs, targets, _ = (
        row[0].unfold(2, 18, 18)[..., :16] for row in drawn[-1]
    )  # channel, height, item, width
    same = (inputs == targets).permute(2, 0, 1, 3).flatten(1).all(1)
    assert same[:8].all()
    assert not same[8:].any()


def test_the_table_of_epochs_has_a_row_a_report_in_a_terminal_and_lines_in_a_log(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(esad.pipeline.monitoring.watch, "REPORT_EVERY_STEPS", 4)
    make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "log", None, [BRIEF])
    lines = [line for line in capsys.readouterr().err.splitlines() if " epoch " in line]
    assert 2 <= len(lines) <= 4
    assert re.search(r"reconstruction unlabelled / anomaly [\d.e-]+ / [\d.e-]+;", lines[-1])
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train(tmp_path / "store", tmp_path / "terminal", None, [BRIEF])
    error = capsys.readouterr().err
    phases = re.findall(r"(warmup|train) +\d+/\d+ +[\d.]+", error)
    assert error.count("unlabelled / anomaly") == 2  # one header, two columns by group
    assert phases == sorted(phases, reverse=True)
    assert phases.count("warmup") >= 2
    assert phases.count("train") >= 4


def test_what_reconstructions_explain_is_said_while_it_trains_after_and_where_it_is_little(tmp_path, capsys):
    make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "run", None, [{**BRIEF, "network.linear": None}])
    error = capsys.readouterr().err
    assert re.search(r"explained model / PCA -?\d", error)
    assert re.search(r"warning: Reconstructions explain -?\d.*set network\.linear", error)
    history = pd.read_csv(tmp_path / "run" / "history.csv").set_index("term")["value"]
    said = json.loads((tmp_path / "run" / "provenance.json").read_text())["reconstruction"]
    assert said["held_out"]
    assert said["model_interval"][0] <= said["model"] <= said["model_interval"][1] < 1
    assert said["model"] < said["pca"]
    assert history["explained"].iloc[-1] < 1
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert f"Reconstructions explain {100 * said['model']:.0f} %" in card


def test_a_linear_code_explains_more_than_components_and_nothing_is_warned_of(tmp_path, capsys):
    make_store(tmp_path, "images")
    train(tmp_path / "store", tmp_path / "run", None, [{**BRIEF, "network.linear": 200}])
    assert "warning: Reconstructions" not in capsys.readouterr().err


@pytest.mark.parametrize(("method", "kind"), [("deep_sad", "images"), ("cae", "table")])
def test_only_methods_that_reconstruct_are_compared(tmp_path, method, kind):
    make_store(tmp_path, kind)
    short = {**QUICK_TABLE, "train.steps": 20, "train.warmup.steps": 10} if kind == "table" else BRIEF
    train(tmp_path / "store", tmp_path / "run", None, [{**short, "method": method}])
    said = json.loads((tmp_path / "run" / "provenance.json").read_text())["reconstruction"]
    assert (said is None) == (method == "deep_sad")
    if said:
        assert said["components"] < 64  # as many as the row's own code
