"""The examples in CONTRIBUTING.md are tried: the method trains and scores, the data set is one."""

from __future__ import annotations

import re

import pytest
import torch

from esad.data_manifests.loader import FOLDER, parse_manifest
from esad.models.detector import Method
from esad.models.settings import MethodSettings
from esad.models.training.fit import fit
from tests import ROOT
from tests.models.small_data import scores, settings, table


def example(language: str, start: str) -> str:
    """The block of code that begins with `start`."""
    blocks = re.findall(
        rf"```{language}\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S
    )
    (block,) = (block for block in blocks if block.startswith(start))
    return block


@pytest.fixture
def method() -> type[Method]:
    names: dict[str, object] = {"__name__": "absolute_error"}
    exec(example("python", '"""An autoencoder'), names)
    found = names["AbsoluteErrorMethod"]
    assert isinstance(found, type)
    assert issubclass(found, Method)
    return found


def test_the_method_learns_a_table(method):
    data = table()
    stated: MethodSettings = settings("cae", steps=40)
    values = scores(fit(method(stated, (5,), (0,)), data), data)
    assert torch.isfinite(values).all()
    assert values[0, 100:].median() > values[0, :100].median()


def test_the_method_takes_pictures(method):
    values = method(settings("cae"), (32, 32, 1)).score_terms(torch.rand(2, 1, 32, 32))["eq9"]
    assert values.shape == (2,)


def test_the_data_set_is_one():
    found = parse_manifest(example("yaml", "name: wdbc"), FOLDER / "wdbc.yaml")
    assert found.kind == "table"
    assert found.counts["all"].items == 569
