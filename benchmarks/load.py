"""What each stage takes of large stores, tables and archives, and how that grows: seconds and memory.

    python benchmarks/load.py [--only tiles table cluster queue] [--quick] [--json FILE]
    python benchmarks/load.py --smoke

Each stage runs in a process of its own; `seconds` are by the clock, with two or three that Python and its libraries take to start, and
`peak_mib` is resident memory at its highest, mapped pages counted.

tiles    stores of 10^4, 10^5 and 10^6 tiles of 32 x 32 RGB pixels, 10,000 a slide: written by the store's own writer, audited, a tiny
         network trained for 1,000 steps, scored with 50 overlays, evaluated, reported, opened by `esad view` (seconds to its first page)
table    Parquet files of 10^5, 10^6 and 10^7 rows of 20 columns, read, trained on, scored, evaluated
cluster  `esad tile` on 100, 300 and 1,000 slides of 512 pixels on a local Dask cluster of two workers, one of which is killed at random,
         again and again; all slides have to be there, and their tiles to be those of one process
queue    radiographs that arrive in 60 s while `esad radiographs` and `esad score` are said in turn until all have scores; `scored` counts
         them each time one is scored
"""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import tifffile
from command import of_size, parsed, parser, write_json
from distributed import LocalCluster
from noise_tiles import make_store
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from stage_process import taken

from esad.preprocessing.store.store import Store

SIDE, A_SLIDE, COLUMNS, SLIDE_SIDE = 32, 10_000, 20, 512
Figures = dict[str, float]


def training(steps: int, **more: Any) -> list[str]:
    """Words of `esad train` for a tiny network."""
    settings = {"train.steps": steps, "train.warmup.steps": steps // 5, "train.batch_size": 32, **more}
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def measured(name: str, words: list[str], good: tuple[int, ...] = (0,)) -> Figures:
    """Seconds and memory of `esad WORDS`, which has to end with one of the statuses `good` (an audit of a store without a split
    ends with 3: not everything could be checked)."""
    found = taken(words, good)
    return said(name, {"seconds": found.seconds, "peak_mib": found.peak_mib})


def said(name: str, found: Figures) -> Figures:
    """Print figures, and give them names that begin with `name`."""
    print(f"  {name:18}" + "".join(f"{key} {value:10.1f}  " for key, value in found.items()), flush=True)
    return {f"{name}_{key}": value for key, value in found.items()}


def write_store(folder: Path, tiles: int, a_slide: int) -> Figures:
    """A store of so many tiles."""
    began = time.perf_counter()
    with redirect_stderr(StringIO()):
        make_store(folder, tiles, a_slide, SIDE, 3)
    return said("write", {"seconds": time.perf_counter() - began})


def first_page(run: str) -> Figures:
    """Seconds until `esad view` answers with its page."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "esad.pipeline", "view", run, "--no-browser", "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as viewer:
        try:
            assert viewer.stderr is not None
            address = next(found[0] for line in viewer.stderr if (found := re.search(r"http://\S+", line)))
            opener = urllib.request.build_opener(
                urllib.request.HTTPCookieProcessor()
            )  # the token becomes a cookie
            with opener.open(address.rstrip(".")) as answer:
                assert answer.status == 200
        finally:
            viewer.kill()
    return said("view", {"seconds": time.perf_counter() - began})


def of_tiles(folder: Path, tiles: int, a_slide: int, steps: int) -> Figures:
    """All stages on a store of tiles."""
    store, run = str(folder / "store"), str(folder / "run")
    tiny = training(steps, **{"network.width": 0.02, "network.linear": "null"})
    found = write_store(folder, tiles, a_slide)
    found |= measured("audit store", ["audit", store], (0, 3))
    found |= measured("train", ["train", store, "--out", run, *tiny])
    for stage in ("score", "evaluate", "report", "audit"):
        found |= measured(stage, [stage, run])
    return found | first_page(run)


def of_table(folder: Path, rows: int, steps: int) -> Figures:
    """A table of so many rows, one in twenty of them abnormal, written and read part by part."""
    numbers, at_once = np.random.default_rng(0), 500_000
    names = [f"c{number}" for number in range(COLUMNS)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("y", pa.int8())])
    with pq.ParquetWriter(folder / "rows.parquet", schema) as writer:
        for start in range(0, rows, at_once):
            y = (numbers.random(min(at_once, rows - start)) < 0.05).astype(np.int8)
            values = numbers.standard_normal((len(y), COLUMNS), dtype=np.float32) + y[:, None]
            writer.write_table(pa.table([*values.T, y], schema=schema))
    store, run = str(folder / "store"), str(folder / "run")
    found = measured("tables", ["tables", str(folder / "rows.parquet"), "--out", store])
    found |= measured("audit store", ["audit", store], (0, 3))
    found |= measured("train", ["train", store, "--out", run, *training(steps)])
    for stage in ("score", "evaluate", "report"):
        found |= measured(stage, [stage, run])
    return found


def write_tiff(path: Path, seed: int, side: int) -> None:
    """A slide of stained noise with a second level."""
    numbers = np.random.default_rng(seed)
    coarse = (
        numbers.integers(90, 210, (side // 16, side // 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    )
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate((coarse, coarse[::4, ::4])):
            file.write(
                level, tile=(128, 128), photometric="rgb", compression="jpeg", subfiletype=int(number > 0), metadata=None,
                resolution=(1e4 / 1.0 / 4**number,) * 2, resolutionunit="CENTIMETER",
            )  # fmt: skip


@contextmanager
def killer(processes: Mapping[str, Any], every: float, kills: list[int]) -> Iterator[None]:
    """Within the block one of the workers is killed about `every` seconds; `kills` gets their numbers."""
    done, chance = threading.Event(), random.Random(0)

    def kill() -> None:
        while not done.wait(every * chance.uniform(0.5, 1.5)):
            running = [worker.process.pid for worker in processes.values() if worker.process is not None]
            known = [number for number in running if number]
            if known:
                kills.append(chance.choice(known))
                os.kill(kills[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def of_cluster(folder: Path, slides: int, every: float) -> Figures:
    """Slides tiled by workers that die, and by this machine alone."""
    archive = folder / "archive"
    archive.mkdir()
    for number in range(slides):
        write_tiff(archive / f"slide_{number:04d}.tif", number, SLIDE_SIDE)
    words = ["tile", str(archive), "--mpp", "1", "--tile-size", "64", "--stain", "none", "--min-tissue", "0"]
    kills: list[int] = []
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it remarks on each death
    found, calls, done = dict[str, float](), 0, 0
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        killer(cluster.workers, every, kills),
    ):
        there = ["--out", str(folder / "there"), "--scheduler", cluster.scheduler_address]
        while (
            done < slides and calls < 10
        ):  # what waits at a worker that dies is given up with it: the same command does it
            calls += 1
            found |= measured(f"tile {calls}", [*words, *there], (0, 1, 3))
            done = len(pq.read_table(folder / "there" / "sources.parquet", filters=[("items", ">", 0)]))
    found |= measured("tile, alone", [*words, "--out", str(folder / "here")])
    tables = [Store(folder / name).manifest.drop(columns=["shard", "index"]) for name in ("there", "here")]
    same = tables[0].equals(tables[1]) and bool(
        (Store(folder / "there").read() == Store(folder / "here").read()).all()
    )
    return found | said(
        "cluster", {"kills": len(kills), "calls": calls, "same": float(same), "tiles": len(tables[0])}
    )


def write_radiograph(path: Path, seed: int) -> None:
    """A grey DICOM of 128 x 128 pixels, under its name the moment it is whole."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        DigitalXRayImageStorageForPresentation,
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.PatientID, image.ViewPosition, image.Modality = f"P{seed}", "PA", "DX"
    image.Rows = image.Columns = 128
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = np.random.default_rng(seed).integers(0, 4096, (128, 128), dtype=np.uint16).tobytes()
    pydicom.dcmwrite(path.with_suffix(".part"), image, enforce_file_format=True)
    path.with_suffix(".part").rename(path)


def of_queue(folder: Path, images: int, seconds: float) -> Figures:
    """Radiographs that arrive while those before them are being scored."""
    known, queue, key = folder / "known", folder / "queue", ["--group-key", str(folder / "key")]
    for place in (known, queue):
        place.mkdir()
    for number in range(40):
        write_radiograph(known / f"{number:05d}.dcm", number)
    measured("training store", ["radiographs", str(known), "--out", str(folder / "training"), *key])
    tiny = training(20, **{"network.width": 0.02, "network.linear": "null"})
    measured("training", ["train", str(folder / "training"), "--out", str(folder / "run"), *tiny])

    def arrive() -> None:
        for number in range(images):
            write_radiograph(queue / f"{number:05d}.dcm", 1000 + number)
            time.sleep(seconds / images)

    arriving = threading.Thread(target=arrive)
    arriving.start()
    rounds, scored, began, last = 0, 0, time.perf_counter(), {}
    while scored < images:
        if not list(queue.glob("*.dcm")):
            time.sleep(0.1)
            continue
        last = measured("radiographs", ["radiographs", str(queue), "--out", str(folder / "day"), *key])
        last |= measured(
            "score", ["score", str(folder / "run"), str(folder / "day"), "--overlays", "worst:10"]
        )
        scored, rounds = (
            pq.read_metadata(folder / "run" / "scores" / "day" / "scores.parquet").num_rows,
            rounds + 1,
        )
    arriving.join()
    return last | said("queue", {"rounds": rounds, "scored": scored, "seconds": time.perf_counter() - began})


def main() -> None:
    """Parse the options, measure, print."""
    options = parser(__doc__, quick="the two smaller sizes")
    parts = ("tiles", "table", "cluster", "queue")
    options.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to measure")
    given = parsed(options)
    sizes = of_size(given, (10_000, 100_000, 1_000_000), (10_000, 100_000), (400,))
    a_slide, steps = of_size(given, (A_SLIDE, 1000), (A_SLIDE, 1000), (40, 5))
    slides, every = of_size(given, ((100, 300, 1000), 20.0), ((100, 300), 20.0), ((4,), 60.0))
    arriving = of_size(given, (200, 60.0), (100, 30.0), (4, 0.5))
    works = {
        "tiles": [(size, lambda place, size: of_tiles(place, size, min(a_slide, size // 5), steps)) for size in sizes],
        "table": [(10 * size, lambda place, size: of_table(place, size, steps)) for size in sizes],
        "cluster": [(size, lambda place, size: of_cluster(place, size, every)) for size in slides],
        "queue": [(arriving[0], lambda place, size: of_queue(place, size, arriving[1]))],
    }  # fmt: skip
    found: dict[str, Figures] = {}
    for part in given.only:
        for size, work in works[part]:
            print(f"{part} {size}", flush=True)
            with tempfile.TemporaryDirectory() as name:
                found[f"{part}_{size}"] = work(Path(name), size)
            write_json(given.json, found)


if __name__ == "__main__":
    main()
