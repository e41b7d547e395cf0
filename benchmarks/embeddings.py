"""How long `esad embeddings` and `esad score` take for 10^5 and for 10^6 vectors of 1,024 numbers, and how much memory.

    python benchmarks/embeddings.py [--quick] [--smoke] [--json FILE]

One HDF5 file of float16 vectors with places, labels and groups, as TRIDENT writes it, is read into a store; a tiny network is trained
for a few steps, and each stage runs in a process of its own. For each number of vectors and each stage:

seconds    by the clock, with the two or three that Python and its libraries take to start
peak_mib   resident memory at its highest, of the process or of one that it started; pages of a mapped file count
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
from command import of_size, parsed, parser, write_json
from stage_process import taken

WIDTH, AT_ONCE, GROUP, SIDE = 1024, 10_000, 1_000, 256
STEPS = [
    "--set",
    "train.steps=5",
    "--set",
    "train.warmup.steps=0",
    "--set",
    "network.hidden=[16]",
    "--set",
    "network.code=4",
]


def write_file(path: Path, count: int, width: int) -> None:
    """`count` vectors of noise on a square grid, one in twenty of them abnormal, in groups of GROUP, part by part."""
    numbers, across = np.random.default_rng(0), int(np.ceil(np.sqrt(count)))
    with h5py.File(path, "w") as file:
        features = file.create_dataset("features", (count, width), "f2")
        label = numbers.random(count) < 0.05
        for start in range(0, count, AT_ONCE):
            part = label[start : start + AT_ONCE]
            values = numbers.standard_normal((len(part), width), dtype=np.float32) + 2 * part[:, None]
            features[start : start + AT_ONCE] = values.astype(np.float16)
        file["coords"] = np.column_stack(np.divmod(np.arange(count), across)[::-1]) * SIDE
        file["coords"].attrs.update(
            patch_size_level0=SIDE, level0_width=across * SIDE, level0_height=across * SIDE
        )
        file["label"], file["group"] = label.astype(int), np.arange(count) // max(1, min(GROUP, count // 10))


def measured(words: list[str]) -> dict[str, float]:
    """Seconds and highest resident memory in MiB of one process that runs `esad WORDS`."""
    found = taken(words)
    print(f"  esad {words[0]:10} {found.seconds:7.1f} s {found.peak_mib:8.0f} MiB", flush=True)
    return {"seconds": found.seconds, "peak_mib": found.peak_mib}


def stages(folder: Path, count: int, width: int) -> dict[str, float]:
    """The figures of all stages for so many vectors."""
    write_file(folder / "slide.h5", count, width)
    print(f"{count} vectors of {width}: {(folder / 'slide.h5').stat().st_size / 2**20:.0f} MiB", flush=True)
    store, run = str(folder / "store"), str(folder / "run")
    calls = {
        "ingest": ["embeddings", str(folder / "slide.h5"), "--out", store],
        "train": ["train", store, "--out", run, *STEPS],
        "score": ["score", run],
    }
    found: dict[str, float] = {}
    for name, words in calls.items():
        found |= {f"{name}_{key}_{count}": value for key, value in measured(words).items()}
        if name == "ingest":
            (folder / "slide.h5").unlink()  # two copies at a time are enough
    return found


def main() -> None:
    """Parse the options, measure, print."""
    given = parsed(parser(__doc__, quick="10^4 and 10^5 vectors"))
    sizes = of_size(given, full=(100_000, 1_000_000), quick=(10_000, 100_000), smoke=(200, 400))
    width = of_size(given, full=WIDTH, quick=WIDTH, smoke=16)
    result: dict[str, float] = {}
    for count in sizes:
        with tempfile.TemporaryDirectory() as name:
            result |= stages(Path(name), count, width)
    write_json(given.json, result)


if __name__ == "__main__":
    main()
