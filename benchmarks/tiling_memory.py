"""How much memory `esad tile` takes for large slides: python benchmarks/tiling_memory.py [--quick] [--json FILE]

peak_gib_large   resident memory at its highest while a slide of 100,352 x 200,704 pixels (0.25 um) is tiled at 10x
peak_gib_small   the same for a slide of a sixteenth of its area
peak_gib_many    the same for four of the small slides one after the other: it does not grow from slide to slide

Each runs in a process of its own with two threads. Level 0 and 1 are one flat JPEG tile repeated, since 10x is level 2;
that and the smaller levels are drawn tissue. `--quick` takes a slide of a quarter of the area as the large one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
import tifffile

sys.path.insert(0, str(Path(__file__).parent))
from tiling import SIDE, tissue_tiles, write_level

LARGE = (100_352, 200_704)
RUN = """
import resource, sys
from esad.pipeline.cli.app import call
status = call(sys.argv[1:])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_slide(path: Path, width: int, height: int) -> None:
    """Levels 1, 2, 4, … 64 of tissue all over; sizes in level-0 pixels."""
    large = 8 * SIDE  # few tiles where all are one
    drawn = [simplejpeg.encode_jpeg(tile, 85, "RGB", "420") for tile in tissue_tiles()]
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a slide of a quarter of the area")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    width, height = (side // (2 if options.quick else 1) for side in LARGE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large, small = folder / "large.tif", [folder / f"small{number}.tif" for number in range(4)]
        write_slide(large, width, height)
        write_slide(small[0], LARGE[0] // 4, LARGE[1] // 4)
        for path in small[1:]:
            path.hardlink_to(small[0])
        result = {
            "width": width, "height": height, "peak_gib_large": peak_gib([large], folder / "a"),
            "peak_gib_small": peak_gib(small[:1], folder / "b"), "peak_gib_many": peak_gib(small, folder / "c"),
        }  # fmt: skip
    for key, value in result.items():
        print(f"{key:18} {value:.3f}" if isinstance(value, float) else f"{key:18} {value}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
