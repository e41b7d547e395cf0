"""How much memory `esad score`, `evaluate` and `report` take for 10^5 and for 10^6 tiles.

    python benchmarks/scoring_memory.py [--quick] [--smoke] [--json FILE]

Tiles of 16 x 16 grey pixels, 10,000 a slide, are written by the store's own writer, a tiny network is trained for a few
steps, and each stage runs in a process of its own. For each number of tiles and each stage:

peak_mib       resident memory at its highest; pages of a file that is mapped count
manifest_mib   the store's manifest in memory, as pandas holds it
growth         (peak of the larger store - peak of the smaller one) / (the same difference of the manifests): 1 is one more
               copy of the manifest. The pixels are not in it: at 16 x 16 they are as large as the manifest, of real tiles a
               hundred times larger
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from command import of_size, parsed, parser, write_json

from esad.pipeline.ingest.job import IngestOptions, Job
from esad.pipeline.ingest.units import run_job, source_row
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.train import train
from esad.preprocessing.store.store import Store, Unit, write_unit

SIDE, A_SLIDE = 16, 10_000
MPP = 1.0
RUN = """
import re, sys
from pathlib import Path
from esad.pipeline.cli.app import call
status = call(sys.argv[1:])
print(status, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
"""Not `getrusage`, whose highest memory is that of the process that started it, too."""
SETTINGS = {
    "train.steps": 5, "train.warmup.steps": 0, "train.batch_size": 32, "network.width": 0.02, "network.linear": None,
}  # fmt: skip
MIB = 2**20


def write_slide(archive: Path, count: int, root: Path, unit: Unit) -> None:
    """A unit of `count` tiles of noise on a square grid; every fifth slide has bright tumour tiles."""
    (source,) = unit.sources
    numbers = np.random.default_rng(unit.number)
    across = int(np.ceil(np.sqrt(count)))
    row, column = np.divmod(np.arange(count), across)
    tumour = (numbers.random(count) < 0.05) & (unit.number % 5 == 0)
    pixels = numbers.integers(60, 120, (count, SIDE, SIDE, 1), dtype=np.uint8)
    pixels[tumour] += 60
    items = pd.DataFrame(
        {
            "source": source, "place": np.char.add("t", np.arange(count).astype(str)), "label": tumour.astype(int),
            "group": Path(source).stem, "x": column * SIDE, "y": row * SIDE, "width": SIDE, "height": SIDE,
            "tumour_fraction": tumour.astype(np.float32),
        }
    )  # fmt: skip
    more = {"width": across * SIDE, "height": across * SIDE, "slide_mpp": MPP, "mpp": MPP, "thumbnail": ""}
    write_unit(root, unit, pixels, items, pd.DataFrame([source_row(archive, source, count, **more)]))


def make_store(folder: Path, tiles: int, a_slide: int) -> Store:
    """A store of so many tiles, made as an ingest stage makes it."""
    archive = folder / "archive"
    archive.mkdir(parents=True)
    sources = [f"slide_{number:04d}.svs" for number in range(tiles // a_slide)]
    for name in sources:
        (archive / name).write_text(name)
    settings = TileSettings(tile_size=SIDE, step=SIDE, mpp=MPP, magnification=None).model_dump(mode="json")
    job = Job("tile", "tiles", archive, sources, settings, partial(write_slide, archive, a_slide))
    run_job(job, IngestOptions(folder / "store"))
    return Store(folder / "store")


def peak_mib(words: list[str]) -> float:
    """Highest resident memory in MiB of one process that runs `esad WORDS`."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RUN, *words], check=False, capture_output=True, text=True)
    if done.returncode or done.stdout.split()[-2] != "0":
        raise RuntimeError(done.stderr)
    peak = int(done.stdout.split()[-1]) * 1024 / MIB
    print(f"  esad {words[0]:9} {peak:8.0f} MiB   {time.perf_counter() - began:6.1f} s", flush=True)
    return peak


def measured(folder: Path, tiles: int, a_slide: int) -> dict[str, float]:
    """Manifest and peaks for a store of so many tiles."""
    with redirect_stderr(StringIO()):
        store = make_store(folder, tiles, a_slide)
        train(store.root, folder / "run", None, [SETTINGS])
    manifest = float(store.manifest.memory_usage(deep=True).sum()) / MIB
    pixels = sum(path.stat().st_size for path in (store.root / "shards").iterdir()) / MIB
    print(f"{tiles} tiles: manifest {manifest:.0f} MiB in memory, pixels {pixels:.0f} MiB", flush=True)
    run = str(folder / "run")
    return {
        "manifest_mib": manifest,
        **{f"{name}_peak_mib": peak_mib([name, run]) for name in ("score", "evaluate", "report")},
    }


def main() -> None:
    """Parse the options, measure, print."""
    given = parsed(parser(__doc__, quick="10^5 and 3 * 10^5 tiles"))
    sizes = of_size(given, full=(100_000, 1_000_000), quick=(100_000, 300_000), smoke=(400, 800))
    a_slide = of_size(given, full=A_SLIDE, quick=A_SLIDE, smoke=40)
    result: dict[str, float] = {}
    found = []
    for tiles in sizes:
        with tempfile.TemporaryDirectory() as name:
            found.append(measured(Path(name), tiles, a_slide))
        result |= {f"{key}_{tiles}": value for key, value in found[-1].items()}
    manifests = found[1]["manifest_mib"] - found[0]["manifest_mib"]
    for stage in ("score", "evaluate", "report"):
        result[f"{stage}_growth"] = (
            found[1][f"{stage}_peak_mib"] - found[0][f"{stage}_peak_mib"]
        ) / manifests
        print(f"{stage:10} growth {result[f'{stage}_growth']:.2f} manifests")
    write_json(given.json, result)


if __name__ == "__main__":
    main()
