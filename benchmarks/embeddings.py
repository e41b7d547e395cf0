"""How long `esad embeddings` and `esad score` take for 10^5 and for 10^6 vectors of 1,024 numbers, and how much memory.

    python benchmarks/embeddings.py [--quick] [--smoke] [--json FILE]

HDF5 files of 10,000 float16 vectors with places and labels, one a slide as TRIDENT writes them, are read into a store; a tiny network is
trained for a few steps, and each stage runs in a process of its own. For each number of vectors and each stage:

seconds    by the clock, with the two or three that Python and its libraries take to start
peak_mib   resident memory at its highest, of the process or of one that it started; pages of a mapped file count
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
from command import of_size, parsed, parser, write_json
from stage_process import taken

WIDTH, OF_A_SLIDE, SIDE = 1024, 10_000, 256
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


def write_files(folder: Path, count: int, width: int) -> int:
    """`count` vectors of noise, one in twenty of them abnormal, in files of a slide each, on square grids; the bytes of all."""
    numbers, each = np.random.default_rng(0), min(OF_A_SLIDE, count // 10)
    across = int(np.ceil(np.sqrt(each)))
    folder.mkdir()
    for number in range(count // each):
        label = numbers.random(each) < 0.05
        values = numbers.standard_normal((each, width), dtype=np.float32) + 2 * label[:, None]
        with h5py.File(folder / f"slide_{number:03}.h5", "w") as file:
            file["features"], file["label"] = values.astype(np.float16), label.astype(int)
            file["coords"] = np.column_stack(np.divmod(np.arange(each), across)[::-1]) * SIDE
            file["coords"].attrs.update(
                patch_size_level0=SIDE, level0_width=across * SIDE, level0_height=across * SIDE
            )
    return sum(path.stat().st_size for path in folder.iterdir())


def measured(words: list[str]) -> dict[str, float]:
    """Seconds and highest resident memory in MiB of one process that runs `esad WORDS`."""
    found = taken(words)
    print(f"  esad {words[0]:10} {found.seconds:7.1f} s {found.peak_mib:8.0f} MiB", flush=True)
    return {"seconds": found.seconds, "peak_mib": found.peak_mib}


def stages(folder: Path, count: int, width: int) -> dict[str, float]:
    """The figures of all stages for so many vectors."""
    files = folder / "files"
    print(f"{count} vectors of {width}: {write_files(files, count, width) / 2**20:.0f} MiB", flush=True)
    store, run = str(folder / "store"), str(folder / "run")
    calls = {
        "ingest": ["embeddings", str(files), "--out", store],
        "train": ["train", store, "--out", run, *STEPS],
        "score": ["score", run],
    }
    found: dict[str, float] = {}
    for name, words in calls.items():
        found |= {f"{name}_{key}_{count}": value for key, value in measured(words).items()}
        if name == "ingest":
            shutil.rmtree(files)  # two copies at a time are enough
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
