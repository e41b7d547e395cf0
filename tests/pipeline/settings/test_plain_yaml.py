"""YAML whose aliases stand for more than they show."""

from __future__ import annotations

import pytest
import yaml

from esad.pipeline.settings.plain_yaml import MOST, load_yaml


def laughs(levels, width=9):
    lines = ["x0: &x0 [a, a]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_aliases_are_taken_as_they_are_meant():
    assert load_yaml("a: &a {train: {steps: 3}}\nb: *a\nc: [*a, *a]") == {
        "a": {"train": {"steps": 3}},
        "b": {"train": {"steps": 3}},
        "c": [{"train": {"steps": 3}}] * 2,
    }
    assert load_yaml("a: '2 * 3'") == {"a": "2 * 3"}
    assert load_yaml("") is None


def test_aliases_that_add_up_to_too_much_are_refused():
    assert load_yaml(laughs(5))
    with pytest.raises(yaml.YAMLError, match=f"more than {MOST} entries"):
        load_yaml(laughs(9))


@pytest.mark.parametrize("text", ["&a [1, *a]", "a: &a {b: {c: *a}}"])
def test_an_alias_that_leads_back_to_itself_is_refused(text):
    with pytest.raises(yaml.YAMLError, match="back to itself"):
        load_yaml(text)


def test_a_long_document_without_aliases_is_taken():
    assert len(load_yaml("[" + "1, " * (MOST // 10) + "2]")) == MOST // 10 + 1
