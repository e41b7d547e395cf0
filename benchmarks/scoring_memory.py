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

import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from command import of_size, parsed, parser, write_json
from noise_tiles import make_store
from stage_process import taken

from esad.pipeline.train import train

SIDE, A_SLIDE = 16, 10_000
MPP = 1.0
SETTINGS = {
    "train.steps": 5, "train.warmup.steps": 0, "train.batch_size": 32, "network.width": 0.02, "network.linear": None,
}  # fmt: skip
MIB = 2**20


def peak_mib(words: list[str]) -> float:
    """Highest resident memory in MiB of one process that runs `esad WORDS`."""
    found = taken(words)
    print(f"  esad {words[0]:9} {found.own_mib:8.0f} MiB   {found.seconds:6.1f} s", flush=True)
    return found.own_mib


def measured(folder: Path, tiles: int, a_slide: int) -> dict[str, float]:
    """Manifest and peaks for a store of so many tiles."""
    with redirect_stderr(StringIO()):
        store = make_store(folder, tiles, a_slide, SIDE)
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
