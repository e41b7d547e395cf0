"""Small sets of pictures as they are published, written by the tests."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
GREY = np.random.default_rng(0).integers(0, 256, (12, 8, 6), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
CLASSES = [number % 10 for number in range(12)]


def planes(pictures=COLOUR) -> np.ndarray:
    """(N, H, W, 3) as CIFAR has it: (N, 3 * H * W), red first."""
    return pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    """`values` as an idx file of the type `kind`."""
    return (
        bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    )


def write_idx(folder: Path, packed: bool = True, parts=("train", "t10k")) -> Path:
    """The four files of MNIST's form: 12 pictures to train with, and the first 5 of them to test."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        count = 12 if part == "train" else 5
        for name, values in (
            ("images-idx3", GREY[:count]),
            ("labels-idx1", np.array(CLASSES[:count], np.uint8)),
        ):
            content = idx(values)
            path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def python_2_batch(data: np.ndarray, labels: list[int]) -> bytes:
    """A batch byte for byte as Python 2 and numpy 1 wrote those of CIFAR-10 (protocol 2, str for bytes)."""

    def text(word: bytes) -> bytes:
        return b"U" + bytes([len(word)]) + word

    return b"".join([
        b"\x80\x02}q\x01(", text(b"batch_label"), text(b"training batch 1 of 5"), text(b"labels"), b"]q\x05(",
        *(b"K" + bytes([label]) for label in labels), b"e", text(b"data"), b"cnumpy.core.multiarray\n_reconstruct\nq\x07",
        b"cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01b\x87Rq\n(K\x01M", struct.pack("<H", len(data)), b"M", struct.pack("<H", data.shape[1]),
        b"\x86cnumpy\ndtype\nq\x0bU\x02u1K\x00K\x01\x87Rq\x0c(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
        struct.pack("<i", data.size), data.tobytes(), b"tb", text(b"filenames"), b"]q\x0d(",
        *(text(b"a_%d.png" % number) for number in range(len(data))), b"eu.",
    ])  # fmt: skip


def python_files() -> dict[str, bytes]:
    """Two batches and the names of their classes: the first eight pictures to train with, the others to test."""
    return {
        "batches.meta": pickle.dumps(
            {"num_cases_per_batch": 8, "label_names": NAMES, "num_vis": 3072}, protocol=0
        ),
        "data_batch_1": python_2_batch(planes()[:8], CLASSES[:8]),
        "test_batch": python_2_batch(planes()[8:], CLASSES[8:]),
    }


def binary_files(labels: int = 1) -> dict[str, bytes]:
    """The same in binary; with two labels as CIFAR-100 has them: coarse (class modulo 3) and fine."""
    numbers = np.array(CLASSES, np.uint8)[:, None]
    rows = np.hstack([numbers % 3, numbers, planes()] if labels == 2 else [numbers, planes()])
    names = "\n".join(NAMES).encode() + b"\n\n"
    if labels == 1:
        return {
            "batches.meta.txt": names,
            "data_batch_1.bin": rows[:8].tobytes(),
            "test_batch.bin": rows[8:].tobytes(),
        }
    return {
        "fine_label_names.txt": names,
        "coarse_label_names.txt": b"machine\nbeast\nother\n",
        "train.bin": rows[:8].tobytes(),
        "test.bin": rows[8:].tobytes(),
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def tar_of(files: dict[str, bytes], folder: str = "cifar-10-batches-py", mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def encoded(picture: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, kind)
    return out.getvalue()


def write_parquet(path: Path, cells: list[bytes | None] | None = None, names: bool = True, **columns) -> Path:
    """Pictures in Hugging Face's layout, with `label` and its names in the schema's metadata."""
    cells = [encoded(picture) for picture in COLOUR] if cells is None else cells
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pictures = [
        None if cell is None else {"bytes": cell, "path": f"{at}.png"} for at, cell in enumerate(cells)
    ]
    arrays = {"img": pa.array(pictures, kind), **{"label": pa.array(CLASSES[: len(cells)]), **columns}}
    features = {"label": {"names": NAMES, "_type": "ClassLabel"}, "img": {"_type": "Image"}}
    stated = {"huggingface": json.dumps({"info": {"features": features}})} if names else {}
    pq.write_table(pa.table(arrays).replace_schema_metadata(stated), path)
    return path
