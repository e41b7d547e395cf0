"""The limit that a training step is held against: the fastest library's product."""

from __future__ import annotations

import sys
from importlib import util
from types import ModuleType

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from tests import ROOT


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """benchmarks/matrix_products.py."""
    spec = util.spec_from_file_location("matrix_products", ROOT / "benchmarks" / "matrix_products.py")
    found = util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_all_libraries_compute_the_same_two_products(module):
    pytest.importorskip("onnxruntime")
    with threadpool_limits(1):
        found = module.products(8, torch.device("cpu"))
        assert list(found) == ["torch", "oneDNN", "numpy", "ONNX Runtime"]
        for layout in (0, 1):
            expected = found["numpy"][layout]()
            for name in ("torch", "oneDNN"):
                np.testing.assert_allclose(found[name][layout]().numpy(), expected, rtol=1e-5)
            np.testing.assert_allclose(found["ONNX Runtime"][layout]()[0], expected, rtol=1e-5)


def test_a_library_that_is_missing_is_named_and_the_others_are_measured(module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with threadpool_limits(1):
        assert list(module.products(8, torch.device("cpu"))) == ["torch", "oneDNN", "numpy"]
    assert "ONNX Runtime's product is not measured" in capsys.readouterr().out


def test_the_better_layout_counts(module):
    rates = module.measure({"a": [3.0, 2.0], "b": [1.0, 4.0]}, 2, lambda seconds: seconds)
    assert rates == {"a": 8.0, "b": 16.0}


def test_the_limit_is_the_library_that_is_fastest_over_all_rounds(module):
    assert module.fastest([{"a": 9, "b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 2}]) == "b"
