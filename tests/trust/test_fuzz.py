"""Mutants of files of others and of our own folders end in a result or in words; 1,000 of them here, 10,000 by `make fuzz`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from esad.preprocessing.errors import InputError
from tests import ROOT
from tests.trust import outlines
from tests.trust.trial import Subject, attempt


@pytest.mark.slow
def test_a_thousand_mutants_of_every_kind_end_in_a_result_or_in_words():
    words = [sys.executable, "-m", "tests.trust.fuzz", "--inputs", "1000", "--start", "20000"]
    end = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stdout[-8000:] + end.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["scores/metrics.json-slides", "scores/scores.json-slides", "scores/overlays/explanation.json-rows"],
)
def test_every_eighth_damaged_entry_ends_in_a_result_or_in_words(name):
    words = [sys.executable, "-m", "tests.trust.entries", "--only", name, "--part", "3/8"]
    end = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stdout[-8000:] + end.stderr[-2000:]


@pytest.mark.parametrize("name", outlines.TEXTS)
def test_some_mutants_of_outlines(tmp_path, name):
    outlines.prepare(tmp_path / "good")
    subject = next(each for each in outlines.subjects(tmp_path / "good") if each.name == f"outlines/{name}")
    ends = [attempt(subject, seed, tmp_path / "work") for seed in range(-1, 12)]
    assert [end.told for end in ends if end.kind == "fault"] == []
    assert ends[0].kind == "taken"
    assert any(end.kind == "refused" for end in ends)


def made(tmp_path, drive) -> Subject:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.txt").write_text("a")
    return Subject("made", "txt", tmp_path / "good", "a.txt", drive)


def refuse(copy, seed):
    raise InputError("a.txt: refused")


def fail(copy, seed):
    raise KeyError("a")


def write_outside(copy, seed):
    (copy.parent / "elsewhere" / "b").write_text("b")
    return 0


def write_into_the_input(copy, seed):
    (copy / "c").write_text("c")
    return 0


def loop(copy, seed):
    while True:
        pass


@pytest.mark.parametrize(
    ("drive", "kind", "told"),
    [
        (lambda copy, seed: 0, "taken", ""),
        (refuse, "refused", "a.txt: refused"),
        (fail, "fault", "KeyError"),
        (lambda copy, seed: 1, "fault", "without a word"),
        (lambda copy, seed: 139, "fault", "status 139"),
        (write_outside, "fault", "wrote outside"),
        (write_into_the_input, "fault", "wrote to ['c']"),
    ],
)
def test_the_trial_tells_endings_apart(tmp_path, drive, kind, told):
    end = attempt(made(tmp_path, drive), 3, tmp_path / "work", b"b")
    assert (end.kind, told in end.told) == (kind, True), end.told


def test_a_hang_and_what_is_taken_wrongly_are_faults(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.trust.trial.SECONDS", 0.2)
    subject = made(tmp_path, loop)
    assert "took more than" in attempt(subject, 3, tmp_path / "work", b"b").told
    wrong = replace(subject, drive=lambda copy, seed: 0, wrong=lambda good, copy, told: "not the same")
    assert "WRONG: not the same" in attempt(wrong, 3, tmp_path / "work", b"b").told
