"""Counts of the published sets through the command line, and what is asked for where something is missing."""

from __future__ import annotations

import json

import pytest

from esad.data_manifests.loader import load_manifest
from esad.pipeline.cli.app import call


def planned(capsys, *words):
    assert call(["plan", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.data
def test_the_protocols_counts(data, capsys):
    camelyon = planned(
        capsys, "--protocol", "camelyon16", "--tile-list", data / "camelyon16/dpa_folds_camelyon16.tar.gz"
    )
    assert camelyon == {"train": {"normal": 7612, "anomaly": 200}, "test": {"normal": 4000, "anomaly": 817}}
    stated = load_manifest("camelyon16").counts
    assert all(camelyon[part]["anomaly"] == stated[part].anomaly for part in ("train", "test"))
    metadata, lists = data / "nih/metadata", data / "nih/dpa_folds_nih.tar.gz"
    nih = {
        name: planned(capsys, "--protocol", name, *given)
        for name, given in (
            ("nih-ap", ("--metadata", metadata)),
            ("nih-pa", ("--metadata", metadata)),
            ("nih-subset", ("--subset-list", lists)),
        )
    }
    assert nih == {
        "nih-ap": {"train": {"normal": 16003, "anomaly": 649}, "test": {"normal": 5056, "anomaly": 9444}},
        "nih-pa": {"train": {"normal": 34497, "anomaly": 1177}, "test": {"normal": 4805, "anomaly": 6291}},
        "nih-subset": {"train": {"normal": 5110, "anomaly": 857}, "test": {"normal": 677, "anomaly": 667}},
    }
    stated = load_manifest("nih").counts
    for name, parts in nih.items():
        for part, found in parts.items():
            of = stated[f"{name} {part}"]
            assert found == {"normal": of.normal, "anomaly": of.anomaly}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--protocol", "mnist"], "'mnist' is unknown; expected one of camelyon16"),
        (["--protocol", "nih-ap"], "needs --metadata"),
        (["--protocol", "camelyon16"], "needs --tile-list"),
        (["--protocol", "nih-subset"], "needs --subset-list"),
        (["--protocol", "camelyon16", "--tile-list", "absent.tar.gz"], "absent.tar.gz: not a readable list"),
    ],
)
def test_what_is_missing_is_asked_for(words, told, capsys):
    assert call(["plan", *words]) == 2
    assert told in capsys.readouterr().err
