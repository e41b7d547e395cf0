"""What is said to have no effect is never looked at, and what is never looked at is said to have no effect."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import BaseModel

from esad.models.ignored_settings import RULES, ignored_settings, leaves
from esad.models.methods.registry import build
from esad.models.settings import MethodSettings
from esad.models.training.fit import fit
from tests.models.small_data import OF_TABLES, VARIANTS, pictures, scores, settings, shape_of, table

LOOKED_AT_IN_VAIN = {
    "train.precision",  # asked, and then not used for tables
    "train.labelled_per_batch",
    "train.milestone", "train.warmup.milestone",  # passed on with the schedule's name
    "train.batch_size", "train.batches", "train.compile",  # a fit in closed form still has an order of items
    "network.affine", "network.bias",  # of a copy that then sets them
}  # fmt: skip


class Watched:
    """Settings that note in `seen` the dotted name of each that is read."""

    def __init__(self, model: BaseModel, seen: set[str], prefix: str = "") -> None:
        self._model, self._seen, self._prefix = model, seen, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        if isinstance(value, BaseModel):
            return Watched(value, self._seen, f"{self._prefix}{name}.")
        self._seen.add(self._prefix + name)
        return value

    def model_copy(self, update: dict[str, Any]) -> Any:
        """A copy is watched, too."""
        return Watched(self._model.model_copy(update=update), self._seen, self._prefix)


def read_by(chosen: MethodSettings, shape: tuple[int, ...]) -> set[str]:
    """Settings that training and scoring look at."""
    seen: set[str] = set()
    data = pictures(shape) if len(shape) == 3 else table(held=10)
    method = fit(build(Watched(chosen, seen), shape, (0,)), data, "cpu")  # type: ignore[arg-type]
    with torch.no_grad():
        scores(method.eval(), data)
    return seen


@pytest.mark.parametrize(
    ("kind", "variant"),
    [*(("pictures", name) for name in VARIANTS), *(("table", name) for name in OF_TABLES)],
)
def test_what_is_ignored_is_what_is_never_read(kind, variant):
    chosen = settings(variant)
    shape = shape_of(variant) if kind == "pictures" else (5,)
    ignored, read = set(ignored_settings(chosen, kind == "pictures")), read_by(chosen, shape)
    assert ignored & read <= LOOKED_AT_IN_VAIN
    unread = set(leaves(MethodSettings)) - read - ignored
    assert unread <= {"train.restarts", "train.epochs", "train.warmup.epochs"}  # read where they are needed


def test_rules_name_settings_that_there_are():
    assert {name for rule in RULES for name in rule.names} <= set(leaves(MethodSettings))


def test_a_second_encoder_left_out_leaves_its_loss_out():
    chosen = MethodSettings.model_validate({"network": {"second_encoder": False}})
    assert (
        ignored_settings(chosen, True)["loss.lambda2"] == "without a second encoder there is no association"
    )
    assert "loss.lambda2" not in ignored_settings(MethodSettings(), True)
