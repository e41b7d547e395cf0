"""The methods by name: a new one is one file with one class, and one line here."""

from __future__ import annotations

from collections.abc import Sequence

from esad.models.detector import Method
from esad.models.methods.adversarial.adgan import AdganMethod
from esad.models.methods.adversarial.alocc import AloccMethod
from esad.models.methods.adversarial.anogan import AnoganMethod
from esad.models.methods.adversarial.daol import DaolMethod
from esad.models.methods.adversarial.ganomaly import GanomalyMethod
from esad.models.methods.adversarial.ocgan import OcganMethod
from esad.models.methods.adversarial.p_kdgan import PKdganMethod
from esad.models.methods.adversarial.piad import PiadMethod
from esad.models.methods.cae import CaeMethod
from esad.models.methods.classic.isolation_forest import IsolationForestMethod
from esad.models.methods.classic.oc_svm import OcSvmMethod
from esad.models.methods.classic.ssad import SsadMethod
from esad.models.methods.deep_sad import DeepSadMethod
from esad.models.methods.deep_svdd import DeepSvddMethod
from esad.models.methods.dgeo import DgeoMethod
from esad.models.methods.esad import EsadMethod
from esad.models.methods.pretrained.dif import DifMethod
from esad.models.methods.pretrained.dpa import DpaMethod
from esad.models.methods.pretrained.tlsad import TlsadMethod
from esad.models.methods.ss_dgm import SsDgmMethod
from esad.models.methods.supervised import SupervisedMethod
from esad.models.settings import MethodSettings

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
    "ganomaly": GanomalyMethod,
    "anogan": AnoganMethod,
    "alocc": AloccMethod,
    "adgan": AdganMethod,
    "ocgan": OcganMethod,
    "p_kdgan": PKdganMethod,
    "piad": PiadMethod,
    "daol": DaolMethod,
    "dgeo": DgeoMethod,
    "dif": DifMethod,
    "dpa": DpaMethod,
    "tlsad": TlsadMethod,
}


def build(settings: MethodSettings, shape: Sequence[int], seeds: Sequence[int] = (0,)) -> Method:
    """The method that `settings.method` names, for items of `shape` ((H, W, C) or (D,))."""
    return METHODS[settings.method](settings, shape, seeds)
