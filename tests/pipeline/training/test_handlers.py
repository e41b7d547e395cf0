"""The trainer is MONAI's: handlers of MONAI and of a person's own are attached, see what they look for, and change no weight."""

from __future__ import annotations

import logging

import pytest
from ignite.engine import Events
from monai.engines import Trainer
from monai.handlers import StatsHandler

import esad
from esad.models.detector import Method
from tests.pipeline.stores import QUICK_TABLE, make_store

SETTINGS = {**QUICK_TABLE, "train.steps": 30, "train.warmup.steps": 20}


class Noting:
    """Notes what an engine is, the steps that it goes through and the losses of logged ones; stops it after `last`, by `how`."""

    def __init__(self, last=None, how="terminate", when=Events.ITERATION_COMPLETED):
        self.engine, self.steps, self.losses, self.last = None, [], {}, last
        self.how, self.when = how, when

    def attach(self, engine):
        self.engine = engine
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        engine.add_event_handler(self.when, self.stop)

    def note(self, engine):
        self.steps.append(engine.state.iteration)
        if len(engine.state.output) > 1:
            self.losses[engine.state.iteration] = engine.state.output["loss"]

    def stop(self, engine):
        if engine.state.iteration == self.last:
            getattr(engine, self.how)()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("stores"))


def test_a_handler_sees_every_step_of_a_monai_trainer_and_changes_no_weight(store, tmp_path):
    seen = Noting()
    with_it = esad.train(store, tmp_path / "with", settings=SETTINGS, handlers=[seen])
    without = esad.train(store, tmp_path / "without", settings=SETTINGS)
    assert isinstance(seen.engine, Trainer)
    assert isinstance(seen.engine.network, Method)
    assert seen.steps == list(range(1, 51))
    assert set(seen.losses) >= {1, 21, 41}
    assert with_it.digest == without.digest
    history = (tmp_path / "with" / "history.csv").read_text()
    assert history == (tmp_path / "without" / "history.csv").read_text()
    assert f"0,warmup,loss,{seen.losses[1]:.8g}\n" in history


@pytest.mark.parametrize(
    ("how", "when", "done"),
    [
        ("terminate", Events.ITERATION_COMPLETED, 25),
        ("terminate_epoch", Events.ITERATION_COMPLETED, 25),
        ("interrupt", Events.ITERATION_COMPLETED, 25),
        ("terminate", Events.ITERATION_STARTED, 24),
    ],
)
def test_a_training_that_a_handler_stopped_goes_on_to_the_same_weights(store, tmp_path, how, when, done):
    settings = {**SETTINGS, "checkpoint_seconds": 600}
    with pytest.raises(esad.EsadError, match=f"Stopped at step {done} of 50"):
        esad.train(store, tmp_path / "run", settings=settings, handlers=[Noting(25, how, when)])
    rest = Noting()
    run = esad.train(store, tmp_path / "run", settings=settings, handlers=[rest])
    assert rest.steps == list(range(done + 1, 51))
    whole = esad.train(store, tmp_path / "whole", settings=SETTINGS)
    assert run.digest == whole.digest


def test_monais_own_handler_reads_the_terms(store, tmp_path):
    said = []
    listening = logging.Handler()
    listening.emit = lambda record: said.append(record.getMessage())
    handler = StatsHandler(
        name="terms",
        iteration_log=lambda engine, _: len(engine.state.output) > 1,
        epoch_log=False,
        output_transform=lambda output: output["loss"],
    )
    logger = logging.getLogger("terms")  # MONAI's loggers tell nothing to the root
    logger.addHandler(listening)
    logger.setLevel(logging.INFO)
    run = esad.train(store, tmp_path / "run", settings=SETTINGS, handlers=[handler])
    losses = [
        line.split(",")[3] for line in (run.root / "history.csv").read_text().splitlines() if ",loss," in line
    ]
    told = [float(line.split("Loss: ")[1]) for line in said if "Loss: " in line]
    assert told == pytest.approx([float(loss) for loss in losses], abs=1e-4)
    assert len(told) > 2


def test_a_handler_that_asks_each_step_for_its_loss_finds_it(store, tmp_path):
    said = []
    listening = logging.Handler()
    listening.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("each step")
    logger.addHandler(listening)
    logger.setLevel(logging.INFO)
    handler = StatsHandler(name="each step", output_transform=lambda output: output["loss"])
    run = esad.train(store, tmp_path / "run", settings=SETTINGS, handlers=[handler])
    lines = [line.partition("Iter: ")[2] for line in said if "Loss: " in line]
    told = {int(line.split("/")[0]): float(line.split("Loss: ")[1]) for line in lines}
    assert list(told) == list(range(1, 51))
    written = {
        int(line.split(",")[0]) + 1: float(line.split(",")[3])
        for line in (run.root / "history.csv").read_text().splitlines() if ",loss," in line
    }  # fmt: skip
    assert {step: told[step] for step in written} == pytest.approx(written, abs=1e-4)


def test_a_trainer_checks_its_settings_first_and_takes_handlers_until_it_runs(store, tmp_path):
    with pytest.raises(esad.EsadError, match=r"did you mean 'train\.steps'"):
        esad.Trainer(store, {"train.stepps": 3})
    trainer = esad.Trainer(store.root, SETTINGS)
    assert trainer.settings.train.steps == 30
    trainer.settings.train.steps = 31
    with pytest.raises(
        esad.EsadError, match=r"settings was changed .train\.steps: 30 -> 31.*give it to esad\.Trainer"
    ):
        trainer.run(tmp_path / "run")
    trainer.settings.train.steps = 30
    seen = Noting()
    trainer.handlers.append(seen)
    run = trainer.run(tmp_path / "run")
    assert seen.steps == list(range(1, 51))
    assert run.digest == esad.train(store, tmp_path / "plain", settings=SETTINGS).digest
    columns = ["item_id", "part", "semi_label"]
    found, written = trainer.assignments[columns], run.assignments[columns]
    assert found.reset_index(drop=True).equals(written.reset_index(drop=True))
