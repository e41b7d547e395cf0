"""Pickles as data: what CIFAR's files hold comes out as it went in, and whatever could run is refused."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from esad.preprocessing.errors import InputError
from esad.preprocessing.natural.plain_pickle import MOST_STEPS, read_plain
from tests.preprocessing.natural.set_files import CLASSES, planes, python_2_batch

VALUES = {
    "names": ["a", "é", "", "x" * 300], "bytes": [b"\xff", b"y" * 300], "numbers": [0, -1, 255, 256, 1 << 20, -(1 << 40)],
    "more": [1.5, None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {"k": [1]}], 7: "a number for a key",
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_out_as_they_went_in(protocol):
    again = [VALUES["names"]] * 3  # a note that is taken up again
    assert read_plain(pickle.dumps({**VALUES, "again": again}, protocol=protocol), "a") == {
        **VALUES,
        "again": again,
    }


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_bytes_come_out_as_they_went_in(protocol, order):
    data = np.array(planes(), order=order)
    found = read_plain(pickle.dumps({b"data": data}, protocol=protocol), "a")
    assert np.array_equal(found[b"data"], data)


def test_a_batch_as_python_2_wrote_it_is_read_as_pickle_would():
    content = python_2_batch(planes(), CLASSES)
    assert np.array_equal(pickle.loads(content, encoding="bytes")[b"data"], planes())  # noqa: S301  our own bytes
    found = read_plain(content, "data_batch_1")
    assert np.array_equal(found["data"], planes())
    assert found["labels"] == CLASSES
    assert found["filenames"][0] == "a_0.png"


class Runs:
    def __reduce__(self):
        return os.system, ("echo run > /tmp/esad-should-not-exist",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Runs(), "posix.system|nt.system"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (np.zeros(3), "array of '<?f8'"),
        (np.zeros(3, np.int32), "array of '<?i4'"),
        (np.array([None]), "array of '.?O8?'"),
        ({3, 4}, "set|EMPTY_SET"),
        (Path("a"), "pathlib"),
        (1j, "complex"),
    ],
)
def test_whatever_else_is_refused_and_nothing_runs(protocol, value, told):
    with pytest.raises(InputError, match=f"b: refused, its pickle holds .*({told})"):
        read_plain(pickle.dumps({"data": value}, protocol=protocol), "b")
    assert not Path("/tmp/esad-should-not-exist").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "damaged or cut short"),
        (b"no pickle at all", "damaged or cut short"),
        (b"\x80\x02}", "damaged or cut short"),
        (b"\x80\x02.", "damaged or cut short"),
        (b"\x80\x02]]}s.", "damaged or cut short"),
        (b"cnumpy\nndarray\n.", "damaged or cut short"),
        (b"(cbuiltins\neval\nS'1'\ntR.", "builtins.eval"),
        (b"(ibuiltins\neval\n.", "the step INST"),
        (b"cnumpy\ndtype\n)\x81.", "the step NEWOBJ"),
        (b"P1\n.", "the step PERSID"),
        (b"\x80\x02\x82\x01.", "the step EXT1"),
        (b"}}s.", "damaged"),
        (b"}]K\x01s.", "a key of type list"),
        (b"cnumpy\ndtype\n(S'u1'\ntR(K\x03tbcnumpy\ndtype\n(S'O8'\ntR.", "an array of 'O8'"),
        (b"cnumpy\nndarray\n(tR.", "a call that is none"),
        (b"}(K\x03tb.", "a state of something that is no array"),
    ],
)
def test_steps_that_lead_elsewhere_are_refused(content, told):
    with pytest.raises(InputError, match=f"b: .*({told})"):
        read_plain(content, "b")


def test_neither_many_steps_nor_many_copies_fill_the_memory():
    with pytest.raises(InputError, match=f"more than {MOST_STEPS} steps"):
        read_plain(b"]" * (MOST_STEPS + 1) + b".", "b")
    text = b"X" + (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20) + b"q\0"
    copy = b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86R"
    with pytest.raises(InputError, match="the same text again and again"):
        read_plain(text + copy * 1000 + b".", "b")


def test_an_array_is_as_long_as_its_shape_says():
    content = pickle.dumps({"data": planes()}, protocol=4)
    assert content.count(b"M\x00\x0c") == 1
    with pytest.raises(InputError, match="damaged or cut short"):
        read_plain(content.replace(b"M\x00\x0c", b"M\x01\x0c"), "b")
