"""Reading 10x tiles and the whole tile stage, beside the decode limit and the peers, in one run.

    python benchmarks/tiling.py [--quick] [--smoke] [--json FILE]

read_vs_decode_limit        our read of all tiles over raw JPEG decoding of the same data, both with two threads
read_vs_openslide_per_tile  our read, two threads, over OpenSlide asked for tile after tile by two threads
stage_vs_decode_limit       `esad tile` with mask, stain normalisation and store, over the decode limit

The slide is made here: 64 drawn tissue tiles of 512 pixels, encoded once (JPEG 4:2:0) and repeated, 1 um a pixel, with
two smaller levels. All of it is in the page cache, and flushing to disk is outside the timing. What is compared
takes turns, and each turn gives a ratio: lowest, median and highest of them are told. A turn whose decode limit is much
under the others' was not alone on the machine. Slow peers read only a share of the tiles.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import openslide
import simplejpeg
import tifffile
from command import of_repeats, of_size, parsed, parser, print_repeats, write_json
from jpeg_slides import SIDE, tissue_tiles, write_level

from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.settings.config import TileSettings
from esad.pipeline.tile import tile
from esad.preprocessing.slides.reading import Slide
from esad.preprocessing.slides.tile_reader import TileReader
from esad.preprocessing.slides.tiling import tile_grid

TILE, THREADS = 64, 2
MPP = 1.0
TARGETS = {
    "read_vs_decode_limit": ">= 0.85",
    "read_vs_openslide_per_tile": ">= 10",
    "stage_vs_decode_limit": ">= 0.3, then 0.4",
}


def write_pyramid(path: Path, across: int, tiles: np.ndarray) -> None:
    """`across` x `across` of the `tiles` at level 0, then levels of a quarter and a sixteenth of its side."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(3):
            shrink = 4**level
            side = across * SIDE // shrink
            part = SIDE // shrink
            small = (
                tiles.reshape(len(tiles), part, shrink, part, shrink, 3).mean((2, 4)).round().astype(np.uint8)
            )
            per_tile = min(shrink, side // part)
            count = -(-side // SIDE)

            def streams(
                small: np.ndarray = small, per_tile: int = per_tile, count: int = count
            ) -> Iterator[bytes]:
                known: dict[int, bytes] = {}
                for row in range(count):
                    for column in range(count):
                        key = (row * 7 + column) % len(tiles)
                        if key not in known:
                            numbers = (key + np.arange(per_tile**2)) % len(tiles)
                            mosaic = small[numbers].reshape(per_tile, per_tile, *small.shape[1:])
                            whole = mosaic.transpose(0, 2, 1, 3, 4).reshape(per_tile * small.shape[1], -1, 3)
                            canvas = np.full((SIDE, SIDE, 3), 243, np.uint8)
                            canvas[: whole.shape[0], : whole.shape[1]] = whole[:SIDE, :SIDE]
                            known[key] = simplejpeg.encode_jpeg(canvas, 85, "RGB", "420")
                        yield known[key]

            write_level(file, streams(), side, side, SIDE, MPP * shrink, first=level == 0)


def decode_limit(path: Path) -> Callable[[], int]:
    """Decode every JPEG tile of level 0 from memory by THREADS threads; number of small tiles that it holds."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        data = [
            os.pread(file.filehandle.fileno(), count, offset)
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]

    def run() -> int:
        def work(part: list[bytes]) -> None:
            buffer = np.empty((SIDE, SIDE, 3), np.uint8)
            for stream in part:
                simplejpeg.decode_jpeg(stream, "RGB", buffer=buffer)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, [data[n::THREADS] for n in range(THREADS)]))
        return len(data) * (SIDE // TILE) ** 2

    return run


def ours(path: Path, direct: bool, share: float = 1.0) -> Callable[[], int]:
    """Our read of the grid, directly or block by block through OpenSlide, as the stage reads: each thread's blocks in one room."""

    def run() -> int:
        with Slide(path) as slide:
            plan = slide.plan(MPP, exact=False)
            corners = tile_grid(slide.width, slide.height, plan.downsample, TILE, TILE)
            corners = corners[: int(len(corners) * share)]
            own = threading.local()
            with TileReader(slide, plan, TILE, direct) as reader, ThreadPoolExecutor(THREADS) as pool:
                blocks = reader.blocks(corners)

                def read(block: np.ndarray) -> int:
                    if not hasattr(own, "room"):
                        own.room = reader.room_for(blocks)
                    return int(reader.read(corners[block], own.room)[1].sum())

                count = sum(pool.map(read, blocks))
                assert reader.reader == ("jpeg" if direct else "openslide")
            assert count == len(corners)
            return count

    return run


def openslide_per_tile(path: Path, share: float) -> Callable[[], int]:
    """OpenSlide, tile after tile, by THREADS threads with a handle each."""

    def run() -> int:
        def work(thread: int) -> int:
            with openslide.OpenSlide(path) as slide:
                width, height = slide.dimensions
                corners = tile_grid(width, height, 1.0, TILE, TILE)
                corners = corners[: int(len(corners) * share)][thread::THREADS]
                for x, y in corners.tolist():
                    np.asarray(slide.read_region((x, y), 0, (TILE, TILE)))[..., :3]
                return len(corners)

        with ThreadPoolExecutor(THREADS) as pool:
            return sum(pool.map(work, range(THREADS)))

    return run


def tifffile_segments(path: Path) -> Callable[[], int]:
    """tifffile's decoded segments, THREADS workers, cut into tiles."""

    def run() -> int:
        with tifffile.TiffFile(path) as file:
            count = 0
            for picture, _, _ in file.pages.first.segments(maxworkers=THREADS):
                assert picture is not None
                cut = picture[0].reshape(SIDE // TILE, TILE, SIDE // TILE, TILE, 3).transpose(0, 2, 1, 3, 4)
                count += len(np.ascontiguousarray(cut).reshape(-1, TILE, TILE, 3))
            return count

    return run


def monai_reader(path: Path, share: float) -> Callable[[], int]:
    """MONAI's WSIReader over OpenSlide, tile after tile."""
    from monai.data import WSIReader  # noqa: PLC0415 - takes seconds

    def run() -> int:
        reader = WSIReader("openslide", level=0)
        slide = reader.read(str(path))
        width, height = slide.dimensions
        corners = tile_grid(width, height, 1.0, TILE, TILE)
        corners = corners[: int(len(corners) * share)]
        for x, y in corners.tolist():
            reader.get_data(slide, location=(y, x), size=(TILE, TILE), level=0)
        return len(corners)

    return run


def stage(path: Path, folder: Path) -> Callable[[], int]:
    """`esad tile` with its defaults on the one slide, two workers; the store is removed outside the timing."""
    out = folder / "store"

    def run() -> int:
        found = tile([path], TileSettings(), IngestOptions(out, workers=THREADS))
        return int(found.summary["items"])

    return run


def main() -> None:
    """Parse the options, measure, print a table."""
    given = parsed(parser(__doc__, quick="fewer rounds: under three minutes on two cores"))
    rounds = of_size(given, full=10, quick=5, smoke=1)
    across, distinct, drawn = (4, 1, 2048) if given.smoke else (40, 64, 6144)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "slide.tif"
        write_pyramid(path, across, tissue_tiles(distinct, drawn))
        tasks = {
            "decode limit": decode_limit(path),
            "our read": ours(path, direct=True),
            "our stage": stage(path, folder),
            "tifffile segments": tifffile_segments(path),
            "our read through OpenSlide": ours(path, direct=False, share=0.05),
            "OpenSlide per tile": openslide_per_tile(path, 0.02),
            "MONAI WSIReader": monai_reader(path, 0.01),
        }
        rates: dict[str, list[float]] = {key: [] for key in tasks}
        for turn in range(rounds + 1):  # the first turn warms up: compiled loops, page cache
            for key, task in tasks.items():
                began = perf_counter()
                count = task()
                rate = count / (perf_counter() - began)
                shutil.rmtree(folder / "store", ignore_errors=True)
                os.sync()
                if turn:
                    rates[key].append(rate)
    limit = rates["decode limit"]
    shares = {key: [rate / most for rate, most in zip(rates[key], limit, strict=True)] for key in tasks}
    for key, values in rates.items():
        print(
            f"{key:28} {min(values):9,.0f} to {max(values):9,.0f} tiles/s   {median(shares[key]):6.3f} of the decode limit"
        )
    peer = rates["OpenSlide per tile"]
    found = {
        "read_vs_decode_limit": shares["our read"],
        "read_vs_openslide_per_tile": [one / two for one, two in zip(rates["our read"], peer, strict=True)],
        "stage_vs_decode_limit": shares["our stage"],
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process: {peak:.2f} GiB")
    print_repeats(found, TARGETS)
    write_json(given.json, of_repeats(found) | {"peak_memory_gib": peak})


if __name__ == "__main__":
    main()
