"""Pickles read as data: dicts, lists, tuples, texts, numbers and uint8 arrays. Nothing is unpickled, imported or called.

A pickle is a program of small steps. Those that build such values are taken here one by one from `pickletools.genops`, which
only lists them; the five names that numpy and Python 3 write for arrays and bytes stand for our own readings of them. Any
other step or name refuses the file.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NoReturn

import numpy as np

from esad.preprocessing.errors import InputError

MOST_STEPS = 4_000_000
"""Batches of 10,000 pictures take 40,000, CIFAR-100's 50,000 pictures 250,000."""
MOST_DIMENSIONS = 8


class Known(Enum):
    """The only names that a pickle may have; none is looked up."""

    ARRAY = auto()
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()
    FROM_BUFFER = auto()


NAMES = {
    "numpy.core.multiarray _reconstruct": Known.ARRAY,
    "numpy._core.multiarray _reconstruct": Known.ARRAY,
    "numpy ndarray": Known.NDARRAY,
    "numpy dtype": Known.DTYPE,
    "_codecs encode": Known.ENCODE,
    "numpy.core.numeric _frombuffer": Known.FROM_BUFFER,
    "numpy._core.numeric _frombuffer": Known.FROM_BUFFER,
}


class _Mark:
    """Where a list of arguments begins on the stack."""


class _Bytes8:
    """numpy's type of unsigned bytes."""


@dataclass
class _Array:
    """An array whose content a later step gives."""

    value: np.ndarray | None = None


MARK, BYTES8 = _Mark(), _Bytes8()
IGNORED = {"PROTO", "FRAME"}
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
"""Steps whose argument is the value that they add."""
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_plain(content: bytes, name: str) -> Any:
    """The value that the pickle `content` describes, of plain dicts, lists, tuples, texts, numbers and uint8 arrays.

    Texts of Python 2 come as str, one character a byte (Latin-1). InputError, naming the file `name`, for any other step, for
    names other than numpy's of uint8 arrays, for more than MOST_STEPS steps, and where copies grow beyond the file.
    """
    machine = _Machine(name, 2 * len(content) + (1 << 16))
    try:
        for count, (step, argument, _) in enumerate(pickletools.genops(content)):
            if count >= MOST_STEPS:
                machine.refuse(f"more than {MOST_STEPS} steps")
            if step.name == "STOP":
                break
            machine.take(step.name, argument)
        return _opened(machine.stack.pop())
    except InputError:
        raise
    except Exception as error:  # whatever a damaged sequence of steps ends in
        raise InputError(
            f"{name}: not a readable batch of pictures (its pickle is damaged or cut short)."
        ) from error


@dataclass
class _Machine:
    """The stack and the numbered notes of a pickle that is read."""

    name: str
    room: int
    """Bytes that conversions may still make; a note that is converted a thousand times would fill the memory."""
    stack: list[Any] = field(default_factory=list)
    notes: dict[int, Any] = field(default_factory=dict)

    def refuse(self, why: str) -> NoReturn:
        raise InputError(
            f"{self.name}: refused, its pickle holds {why}; read are dicts, lists, texts, numbers and arrays of bytes, and "
            "nothing that a pickle could run."
        )

    def take(self, step: str, argument: Any) -> None:
        """One step."""
        if step in IGNORED:
            return
        if step in VALUES:
            self.stack.append(argument)
        elif step in CONSTANTS:
            self.stack.append(CONSTANTS[step])
        elif step in ("GLOBAL", "STACK_GLOBAL"):
            self.stack.append(self._known(step, argument))
        elif step in ("REDUCE", "BUILD"):
            argument, target = self.stack.pop(), self.stack.pop()
            self.stack.append(self._called(target, argument) if step == "REDUCE" else target)
            if step == "BUILD":
                self._filled(target, argument)
        elif not (self._noted(step, argument) or self._built(step)):
            self.refuse(f"the step {step}")

    def _noted(self, step: str, argument: Any) -> bool:
        """Steps that keep a value under a number, or bring it back."""
        if step in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.notes[argument] = self.stack[-1]
        elif step == "MEMOIZE":
            self.notes[len(self.notes)] = self.stack[-1]
        elif step in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.notes[argument])
        else:
            return False
        return True

    def _built(self, step: str) -> bool:
        """Steps that make or fill dicts, lists and tuples."""
        if step == "MARK":
            self.stack.append(MARK)
        elif step in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            self.stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[step]())
        elif step in TUPLES:
            self._replace(TUPLES[step])
        elif step in ("TUPLE", "LIST"):
            values = self._since_mark()
            self.stack.append(tuple(values) if step == "TUPLE" else values)
        elif step == "DICT":
            self.stack.append(self._paired({}, self._since_mark()))
        elif step in ("SETITEM", "SETITEMS"):
            values = self._last(2) if step == "SETITEM" else self._since_mark()
            self._paired(self._top(dict), values)
        elif step in ("APPEND", "APPENDS"):
            values = self._last(1) if step == "APPEND" else self._since_mark()
            self._top(list).extend(values)
        else:
            return False
        return True

    def _last(self, count: int) -> list[Any]:
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def _replace(self, count: int) -> None:
        self.stack.append(tuple(self._last(count)))

    def _since_mark(self) -> list[Any]:
        place = next(at for at in range(len(self.stack) - 1, -1, -1) if self.stack[at] is MARK)
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"no {kind.__name__} to fill")
        return self.stack[-1]

    def _paired(self, into: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (str, bytes, int):
                self.refuse(f"a key of type {type(key).__name__.strip('_')}")
            into[key] = value
        return into

    def _known(self, step: str, argument: Any) -> Known:
        named = argument if step == "GLOBAL" else " ".join(self._last(2))
        if named not in NAMES:
            self.refuse(f"the name {str(named).replace(' ', '.')[:80]!r}")
        return NAMES[named]

    def _called(self, target: Any, values: Any) -> Any:
        """What numpy's and Python's own names would make of `values`."""
        if target is Known.ARRAY and values[0] is Known.NDARRAY:
            return _Array()
        if target is Known.DTYPE:
            if _text(values[0]) not in ("u1", "|u1"):
                self.refuse(f"an array of {_text(values[0])[:20]!r}")
            return BYTES8
        if target is Known.ENCODE and values[1] == "latin1":
            return self._as_bytes(values[0])
        if target is Known.FROM_BUFFER and values[1] is BYTES8:
            return _Array(_shaped(values[0], values[2], values[3] == "F"))
        self.refuse("a call that is none of an array of bytes")

    def _filled(self, target: Any, state: Any) -> None:
        """The content of an array that was begun; of a type there is nothing that matters for bytes."""
        if target is BYTES8:
            return
        if not isinstance(target, _Array) or target.value is not None:
            self.refuse("a state of something that is no array")
        _, shape, kind, turned, raw = state
        if kind is not BYTES8:
            self.refuse("an array of something else than bytes")
        target.value = _shaped(self._as_bytes(raw), shape, turned is True or turned == 1)

    def _as_bytes(self, text: str | bytes) -> bytes:
        if isinstance(text, bytes):
            return text
        self.room -= len(text)
        if self.room < 0:
            self.refuse("the same text again and again")
        return text.encode("latin-1")


def _shaped(raw: bytes | bytearray, shape: tuple[int, ...], turned: bool) -> np.ndarray:
    """`raw` as uint8 of `shape`; ValueError where it is of another size."""
    if not 0 < len(shape) <= MOST_DIMENSIONS or math.prod(shape) != len(raw) or min(shape) < 0:
        raise ValueError("the array's shape is not that of its bytes")
    return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if turned else "C")


def _text(word: Any) -> str:
    return word.decode("latin-1") if isinstance(word, bytes) else str(word)


def _opened(value: Any) -> Any:
    """`value`, or the values of a dict, with arrays for what stands for them."""
    if isinstance(value, dict):
        return {
            key: inner.value if isinstance(inner, _Array) else _plain(inner) for key, inner in value.items()
        }
    return value.value if isinstance(value, _Array) else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (Known, _Mark, _Bytes8)):
        raise ValueError("a name in place of a value")
    return value
