"""The methods by name: a new one is one file with one class, and one line here."""

from __future__ import annotations

from collections.abc import Sequence

from models.cae import CaeMethod
from models.deep_sad import DeepSadMethod
from models.deep_svdd import DeepSvddMethod
from models.detector import Method
from models.esad import EsadMethod
from models.isolation_forest import IsolationForestMethod
from models.oc_svm import OcSvmMethod
from models.settings import MethodSettings
from models.ss_dgm import SsDgmMethod
from models.ssad import SsadMethod
from models.supervised import SupervisedMethod

METHODS: dict[str, type[Method]] = {
    "esad": EsadMethod,
    "cae": CaeMethod,
    "deep_sad": DeepSadMethod,
    "deep_svdd": DeepSvddMethod,
    "supervised": SupervisedMethod,
    "ss_dgm": SsDgmMethod,
    "oc_svm": OcSvmMethod,
    "isolation_forest": IsolationForestMethod,
    "ssad": SsadMethod,
}


def build(settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> Method:
    """The method that `settings.method` names, for items of `shape` ((H, W, C) or (D,))."""
    return METHODS[settings.method](settings, shape, seeds)
