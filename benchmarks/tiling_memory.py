"""How much memory `esad tile` takes for large slides.

    python benchmarks/tiling_memory.py [--quick] [--smoke] [--json FILE]

peak_gib_large   resident memory at its highest while a slide of 100,352 x 200,704 pixels (0.25 um) is tiled at 10x
peak_gib_small   the same for a slide of a sixteenth of its area
peak_gib_many    the same for four of the small slides, one after the other: it must not grow from slide to slide

Each runs in a process of its own with two threads. Levels 0 and 1 repeat one flat JPEG tile, since 10x is level 2;
that and the smaller levels are drawn tissue.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
import tifffile
from command import of_size, parsed, parser, write_json
from jpeg_slides import SIDE, tissue_tiles, write_level

LARGE = (100_352, 200_704)
RUN = """
import resource, sys
from esad.pipeline.cli.app import call
status = call(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_slide(path: Path, width: int, height: int, tiles: np.ndarray) -> None:
    """A slide covered with tissue, its levels reduced by 1, 2, 4, … 64; width and height in level-0 pixels."""
    large = 8 * SIDE  # few tiles where all are one
    drawn = [simplejpeg.encode_jpeg(tile, 85, "RGB", "420") for tile in tiles]
    flat = simplejpeg.encode_jpeg(np.full((large, large, 3), (190, 110, 160), np.uint8), 85, "RGB", "420")
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(7):
            tile = large if level < 2 else SIDE
            across, down = -(-(width >> level) // tile), -(-(height >> level) // tile)

            def streams(count: int = across * down, level: int = level) -> Iterator[bytes]:
                for number in range(count):
                    yield flat if level < 2 else drawn[number * 7 % len(drawn)]

            write_level(
                file, streams(), width >> level, height >> level, tile, 0.25 * 2**level, first=level == 0
            )


def peak_gib(inputs: list[Path], out: Path) -> float:
    """Highest resident memory in GiB of one process that tiles `inputs`."""
    words = ["tile", *map(str, inputs), "--out", str(out), "--workers", "2" if len(inputs) == 1 else "1"]
    done = subprocess.run([sys.executable, "-c", RUN, *words], check=True, capture_output=True, text=True)
    status, kib = done.stdout.split()[-2:]
    if status != "0":
        raise RuntimeError(done.stderr)
    return int(kib) / 2**20


def main() -> None:
    """Parse the options, measure, print."""
    given = parsed(parser(__doc__, quick="a quarter of the area as the large slide"))
    whole = (8192, 8192) if given.smoke else LARGE
    distinct, drawn = (1, 2048) if given.smoke else (64, 6144)
    shrink = of_size(given, full=1, quick=2, smoke=1)
    tiles = tissue_tiles(distinct, drawn)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large, small = folder / "large.tif", [folder / f"small{number}.tif" for number in range(4)]
        write_slide(large, whole[0] // shrink, whole[1] // shrink, tiles)
        write_slide(small[0], whole[0] // 4, whole[1] // 4, tiles)
        for path in small[1:]:
            path.hardlink_to(small[0])
        result = {
            "width": whole[0] // shrink, "height": whole[1] // shrink, "peak_gib_large": peak_gib([large], folder / "a"),
            "peak_gib_small": peak_gib(small[:1], folder / "b"), "peak_gib_many": peak_gib(small, folder / "c"),
        }  # fmt: skip
    for key, value in result.items():
        print(f"{key:18} {value:.3f}" if isinstance(value, float) else f"{key:18} {value}")
    write_json(given.json, result)


if __name__ == "__main__":
    main()
