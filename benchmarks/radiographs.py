"""Radiographs to 64-pixel squares, beside decoding alone, in one run.

    python benchmarks/radiographs.py [--quick] [--smoke] [--json FILE] [--data DIR]

png_vs_decode          PNG decode alone (libpng) over PNG -> 64 px from memory, one core: the share that decoding takes
png_vs_pillow          the same PNGs decoded by Pillow alone over ours
two_workers_vs_one     images a second of `esad radiographs` with two workers over one, once running
images_112120_hours    NIH's number of images times the seconds that one more image costs with two workers
dicom_ms_SYNTAX        a DICOM radiograph of 1760 x 1760 to 64 px, for each transfer syntax

The stage decodes in a process of its own, which a damaged file may end; its figures have the way there and back, those of
single images have not.

PNGs are NIH's (1024 x 1024) where `--data` has them, else drawn; the DICOM radiograph, too. What is compared takes turns,
image by image or call by call; figures are medians. Single images are timed by the CPU time of one thread, the stage by
the clock, so that its figures mean something only on an idle machine (`load_average` is the load before the start). The
stage is timed at two sizes and the difference counts: starting the workers and writing the last table are paid once. The
hours assume that the disk gives files as fast as the page cache does here: NIH's 42 GiB at 100 MiB a second would alone
take 0.12 hours.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time

import imagecodecs
import numpy as np
import pydicom
from command import of_repeats, of_size, parsed, parser, print_repeats, write_json
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from esad.pipeline.conversion import radiographs as conversion
from esad.pipeline.ingest.job import IngestOptions
from esad.pipeline.radiographs import radiographs
from esad.pipeline.settings.config import RadiographSettings
from esad.pipeline.synthesis.radiographs import draw_anatomy, draw_radiograph, write_dicom
from esad.preprocessing.radiographs.reading import read_radiograph
from esad.preprocessing.radiographs.squares import Squaring, small_square

TARGETS = {"png_vs_decode": ">= 0.92", "png_vs_pillow": "> 1"}
NIH_IMAGES = 112_120
SHARD = 64
"""Images in a unit of work while the stage is timed, so that both workers have several units."""


def pictures(data: Path, count: int, side: int) -> list[bytes]:
    """PNG files: NIH's of 1024 x 1024 pixels, or `count` drawn ones of `side` x `side`."""
    found = sorted((data / "nih" / "images").glob("*.png"))
    if found:
        return [path.read_bytes() for path in found]
    files = []
    for number in range(count):
        numbers = np.random.default_rng(number)
        picture, _ = draw_radiograph(draw_anatomy(numbers), numbers, side, "PA", False)
        buffer = io.BytesIO()
        Image.fromarray((picture * 255).astype(np.uint8)).save(buffer, "png")
        files.append(buffer.getvalue())
    return files


def ours(content: bytes) -> np.ndarray:
    """A file's bytes to its square: what the stage does in a process of its own, without the way there and back."""
    return small_square(read_radiograph(content, "a").pixels(), Squaring(), "a")


def by_pillow(content: bytes) -> np.ndarray:
    """A PNG decoded by Pillow, and no more."""
    return np.asarray(Image.open(io.BytesIO(content)))


def seconds(task: Callable[[bytes], object], content: bytes) -> float:
    """CPU time of this thread for one task: other programs on the machine do not count."""
    began = thread_time()
    task(content)
    return thread_time() - began


def png_ratios(files: list[bytes], rounds: int) -> dict[str, list[float]]:
    """For each round the median over images of each decoder's time over ours, measured right after each other."""
    plain = [content for content in files if content[25] == 0]  # four of NIH's are RGBA, which Pillow reads
    tasks = (imagecodecs.png_decode, by_pillow, ours)
    times = np.array(
        [[[seconds(task, content) for task in tasks] for content in plain] for _ in range(rounds + 1)]
    )
    times = times[1:]  # (rounds, images, tasks); the first round warms up
    for name, values in zip(("libpng decode", "Pillow decode", "PNG -> 64 px"), times.T, strict=True):
        print(f"{name:28} {1000 * np.median(values):8.2f} ms")
    return {
        name: np.median(times[..., number] / times[..., 2], axis=1).tolist()
        for number, name in enumerate(("png_vs_decode", "png_vs_pillow"))
    }


def stage_seconds(archive: Path, out: Path, workers: int, shard: int) -> float:
    """Seconds of `esad radiographs` on `archive` in shards of `shard` images; the store is removed afterwards."""
    began = perf_counter()
    options = IngestOptions(out / "store", workers=workers, group_key=out / "key")
    radiographs([archive], RadiographSettings(), options)
    took = perf_counter() - began
    images, shards = len(list(archive.iterdir())), len(list((out / "store" / "shards").iterdir()))
    if shards != -(-images // shard):
        raise RuntimeError(
            f"{images} images are in {shards} shards, not in shards of {shard}: workers shared them otherwise"
        )
    shutil.rmtree(out / "store")
    os.sync()
    return took


def stage_costs(files: list[bytes], rounds: int, shard: int, units: tuple[int, int]) -> dict[str, float]:
    """What one more image costs with one worker and with two, at two sizes: `units` of `shard` images."""
    conversion.RADIOGRAPHS_PER_SHARD = shard
    sizes = [shard * number for number in units]
    more = sizes[1] - sizes[0]
    costs: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folders = []
        for size in sizes:
            folder = Path(name) / f"archive{size}"
            folder.mkdir()
            for number in range(size):
                (folder / f"{number:05d}.png").write_bytes(files[number % len(files)])
            folders.append(folder)
        stage_seconds(folders[0], Path(name), 2, shard)
        for _ in range(rounds):
            for workers in (1, 2):
                small, large = (stage_seconds(folder, Path(name), workers, shard) for folder in folders)
                costs[workers].append((large - small) / more)
    one, two = median(costs[1]), median(costs[2])
    print(f"one more image               {1000 * one:8.2f} ms with one worker, {1000 * two:.2f} ms with two")
    return {
        "stage_ms_one_worker": 1000 * one,
        "stage_ms_two_workers": 1000 * two,
        "two_workers_vs_one": one / two,
        "images_112120_hours": NIH_IMAGES * two / 3600,
        "images_112120_hours_one_worker": NIH_IMAGES * one / 3600,
    }


def dicom_files(data: Path, folder: Path, side: int) -> dict[str, bytes]:
    """One radiograph in several transfer syntaxes: a real one of 1760 x 1760 pixels, or one drawn of `side` x `side`."""
    path = data / "dicom" / "RG3_UNCR.dcm"
    if not path.is_file():
        numbers = np.random.default_rng(0)
        path = folder / "drawn.dcm"
        picture, _ = draw_radiograph(draw_anatomy(numbers), numbers, side, "PA", False)
        write_dicom(path, picture, "PA", "1", inverted=False, name="drawn")
    image = pydicom.dcmread(path)
    streams = {
        uid.JPEGLosslessSV1: lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=image.BitsStored),
        uid.HTJ2KLossless: imagecodecs.htj2k_encode,
    }
    files = {}
    for syntax in (
        uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLosslessSV1,
        uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.HTJ2KLossless,
    ):  # fmt: skip
        coded = deepcopy(image)
        if syntax in streams:
            coded.PixelData = encapsulate([bytes(streams[syntax](image.pixel_array))])
            coded["PixelData"].VR = "OB"
            coded.file_meta.TransferSyntaxUID = syntax
        elif syntax.is_encapsulated:
            coded.compress(syntax)
        else:
            coded.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        coded.save_as(buffer)
        files[syntax.keyword] = buffer.getvalue()
    return files


def dicom_times(files: dict[str, bytes], rounds: int) -> dict[str, float]:
    """Median milliseconds to 64 px for each transfer syntax; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(rounds + 1):
        for name, content in files.items():
            times[name].append(seconds(ours, content))
    return {f"dicom_ms_{name}": 1000 * median(values[1:]) for name, values in times.items()}


def main() -> None:
    """Parse the options, measure, print a table."""
    given = parsed(parser(__doc__, quick="fewer rounds: under three minutes on two cores", data=True))
    png_rounds, dicom_rounds, stage_rounds = of_size(given, full=(10, 9, 5), quick=(5, 3, 2), smoke=(1, 1, 1))
    count, side, dicom_side, shard = (2, 96, 96, 1) if given.smoke else (20, 1024, 1760, SHARD)
    load = os.getloadavg()[0]
    files = pictures(given.data, count, side)
    ratios = png_ratios(files, png_rounds)
    result: dict[str, float] = {"load_average": load}
    with tempfile.TemporaryDirectory() as name:
        result |= dicom_times(dicom_files(given.data, Path(name), dicom_side), dicom_rounds)
    result |= stage_costs(files, stage_rounds, shard, (1, 2) if given.smoke else (4, 12))
    for key, value in result.items():
        print(f"{key:36} {value:.3f}")
    print_repeats(ratios, TARGETS)
    write_json(given.json, result | of_repeats(ratios))


if __name__ == "__main__":
    main()
