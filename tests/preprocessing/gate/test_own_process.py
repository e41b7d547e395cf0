"""A reader in a process of its own: results come over whole, faults and deaths become refusals, and work goes on."""

from __future__ import annotations

import io
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esad.preprocessing.errors import InputError, UsageError
from esad.preprocessing.gate import limits, refusals, wire
from esad.preprocessing.gate.own_process import ReadingProcess
from esad.preprocessing.gate.serve import answer
from esad.preprocessing.tables.mat import load_mat

PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
)


@settings(max_examples=50, deadline=None)
@given(PARTS)
def test_messages_come_over_whole(value):
    stream = io.BytesIO()
    body = {
        "value": [value],
        "x": np.arange(6, dtype=np.int16).reshape(2, 3),
        "t": pd.DataFrame({"a": ["ä", None]}),
    }
    wire.send(stream, body)
    stream.seek(0)
    back = wire.receive(stream)
    assert back["value"] == [value]
    assert back["x"].dtype == np.int16
    assert np.array_equal(back["x"], body["x"])
    assert back["t"]["a"][0] == "ä"
    with pytest.raises(EOFError):
        wire.receive(stream)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3)), np.array(5.5), np.array(["ä", "bc"]), np.array([b"a"]), np.arange(6, dtype=">i2"),
        np.array([1, 2], "datetime64[D]"), np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(9)[::-2],
        np.array([True]), np.array([1 + 2j]), np.float16([1.5]),
    ],
    ids=lambda array: str(array.dtype),
)  # fmt: skip
def test_arrays_of_any_kind_come_over_whole_and_may_be_written(array):
    stream = io.BytesIO()
    wire.send(stream, array)
    stream.seek(0)
    back = wire.receive(stream)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)
    assert back.flags.writeable


def test_arrays_of_objects_are_not_sent():
    with pytest.raises(TypeError, match="array of object is not sent"):
        wire.send(io.BytesIO(), np.array([None, {}]))


def test_a_cut_message_is_an_end():
    stream = io.BytesIO()
    wire.send(stream, {"b": b"123456"})
    with pytest.raises(EOFError):
        wire.receive(io.BytesIO(stream.getvalue()[:-1]))


@pytest.fixture
def process():
    process = ReadingProcess()
    yield process
    process._end()


def test_errors_for_people_keep_their_kind_and_others_become_refusals(process, tmp_path):
    with pytest.raises(InputError, match=r"a\.mat: not a readable file \(no such file or directory\)"):
        process.call(load_mat, "a.mat", str(tmp_path / "a.mat"))
    with pytest.raises(InputError, match="claims 1 TB in 3 bytes of file"):
        process.call(limits.check_size, "a.bin", "a.bin", 10**12, 3)


def test_only_our_readers_are_called():
    told = answer({"module": "os", "function": "getcwd", "values": [], "name": "a", "packed": 0})
    assert told["kind"] == "InputError"


def test_after_a_death_the_next_call_has_a_new_process(process):
    assert process.call(limits.in_bytes, "a", 1500) == "1.5 kB"
    process._child.kill()
    process._child.wait()
    assert process.call(limits.in_bytes, "a", 1500) == "1.5 kB"


def test_a_reader_that_takes_too_long_is_stopped(process, tmp_path):
    os.mkfifo(tmp_path / "a.mat")  # its reading never ends
    with pytest.raises(InputError, match=r"a\.mat: reading it took more than 0\.5 seconds"):
        process.call(load_mat, "a.mat", str(tmp_path / "a.mat"), seconds=0.5)
    assert process.call(limits.in_bytes, "a", 1) == "1 bytes"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "it asks for more memory than there is"),
        (KeyError("x"), "it is damaged or cut short"),
        (ValueError(""), "it is damaged or cut short"),
        (ValueError("bad magic number."), "bad magic number"),
        (ValueError("Boom"), "it is damaged or cut short"),
    ],
)
def test_reasons_are_in_words(error, told):
    assert refusals.in_words(error) == told
    with (
        pytest.raises(InputError, match=rf"a\.csv: not a readable csv \({told}\)"),
        refusals.refusing("a.csv", "csv"),
    ):
        raise error


def test_what_is_meant_for_people_passes_the_gate():
    with pytest.raises(UsageError, match="wrong"), refusals.refusing("a"):
        raise UsageError("wrong")


@pytest.mark.parametrize(
    ("stated", "packed", "fits"),
    [(10**8, 10, True), (3 * 10**8, 10**7, True), (3 * 10**8, 10**6, False), (10**15, 10**14, False)],
)
def test_sizes_that_no_file_can_hold_or_no_memory_takes(stated, packed, fits):
    if fits:
        limits.check_size("a", stated, packed)
        return
    with pytest.raises(InputError, match=r"claims|holds"):
        limits.check_size("a", stated, packed)
