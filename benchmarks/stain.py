"""Vahadane: ours beside staintools and spams, in one run.

    python benchmarks/stain.py [--quick] [--data ../shared/data] [--json FILE]

tile_vs_staintools   staintools' transform of a 64x64 tile over ours, the slide's fit shared out over its tiles
apply_max_difference grey levels between ours and staintools given the same matrices, over all real pictures
objective_vs_spams   our fit's objective over that of spams run to convergence, the worst picture
stain_angle_degrees  between our stains and those of spams run to convergence, the worst stain of the worst picture
dpa_768_vs_staintools  staintools' transform of a 768x768 picture over our variant of the paper's tiles (vahadane-dpa)

Real pictures (`stain/*.png`, PatchCamelyon) where they are at hand, else made-up mixtures of two stains. What is
compared alternates; times are medians.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import spams
from PIL import Image
from staintools import StainNormalizer

from esad.preprocessing.slides.reading import Slide
from esad.preprocessing.slides.resampling import reduce_whole
from esad.preprocessing.stain.dpa import builtin_matrix, fit_matrix, repaint, standardise_brightness
from esad.preprocessing.stain.vahadane import (
    StainFit,
    StainMap,
    apply_stain,
    builtin_target,
    fit_objective,
    fit_stain,
    optical_density,
    tissue_mask,
)

SLIDE_TILES = 4500
"""10x tiles of 64 px on a small slide; the fit is shared out over as many."""
FIT_PIXELS = 1_000_000


def made_up(count: int, seed: int) -> np.ndarray:
    """uint8 (count, 64, 64, 3): smooth random amounts of haematoxylin and eosin."""
    numbers = np.random.default_rng(seed)
    coarse = numbers.exponential(0.5, (count, 16, 16, 2))
    amounts = coarse.repeat(4, 1).repeat(4, 2) + numbers.exponential(0.1, (count, 64, 64, 2))
    shades = 255 * np.exp(-amounts @ np.array([[0.65, 0.70, 0.29], [0.20, 0.93, 0.31]]))
    return shades.round().clip(0, 255).astype(np.uint8)


def pictures(data: Path) -> dict[str, np.ndarray]:
    """Real H&E pictures, or a made-up one: name -> uint8 (H, W, 3)."""
    found = {
        path.stem: np.array(Image.open(path).convert("RGB")) for path in sorted(data.glob("stain/*.png"))
    }
    return found or {"made-up": made_up(64, 0).reshape(-1, 64, 3)}


def tiles_of_a_slide(data: Path) -> np.ndarray:
    """SLIDE_TILES tiles uint8 (N, 64, 64, 3): PatchCamelyon's, or made-up ones."""
    path = data / "pcam" / "pcam_64.npz"
    return np.load(path)["x"][:SLIDE_TILES] if path.is_file() else made_up(SLIDE_TILES, 1)


def staintools_given(pixels: np.ndarray, fit: StainFit, target: StainFit) -> np.ndarray:
    """staintools' transform of uint8 (H, W, 3) with the source's matrix given."""
    normaliser = StainNormalizer(method="vahadane")
    normaliser.extractor = type("Given", (), {"get_stain_matrix": staticmethod(lambda _: fit.matrix)})
    normaliser.stain_matrix_target, normaliser.maxC_target = target.matrix, target.max_concentration[None]
    return normaliser.transform(pixels.copy())


def spams_fit(pixels: np.ndarray, rounds: int) -> tuple[float, np.ndarray]:
    """The better of two runs of spams.trainDL, from its own random starts: objective, stain matrix (2, 3)."""
    tissue = np.asfortranarray(optical_density(pixels[tissue_mask(pixels)]).T)
    found = []
    for _ in range(2):
        learned = spams.trainDL(
            tissue, K=2, lambda1=0.1, mode=2, modeD=0, posAlpha=True, posD=True, iter=rounds,
            batchsize=min(4096, tissue.shape[1]), numThreads=1, verbose=False,
        ).T  # fmt: skip
        matrix = learned[np.argsort(-learned[:, 0])] / np.linalg.norm(learned, axis=1, keepdims=True)
        found.append((fit_objective(pixels, matrix), matrix))
    return min(found, key=lambda one: one[0])


def seconds(function, *arguments) -> float:  # type: ignore[no-untyped-def]
    """Wall clock of one call."""
    start = perf_counter()
    function(*arguments)
    return perf_counter() - start


def dpa_times(data: Path, repeats: int) -> tuple[float, float]:
    """Median seconds for 768x768 pixels at level 0: staintools, and our variant with brightness, fit and reduction."""
    path = data / "slides" / "cmu-1-small-region.svs"
    if path.is_file():
        with Slide(path) as slide:
            area = slide.region(700, 900, 0, 768, 768)
    else:
        area = made_up(144, 2).reshape(12, 12, 64, 64, 3).swapaxes(1, 2).reshape(768, 768, 3)
    target = builtin_target()
    normaliser = StainNormalizer(method="vahadane")
    normaliser.stain_matrix_target, normaliser.maxC_target = target.matrix, target.max_concentration[None]

    def ours() -> None:
        standardised = standardise_brightness(area)
        reduce_whole(repaint(standardised, fit_matrix(standardised), builtin_matrix()), 4)

    ours()  # compiles
    pairs = [(seconds(normaliser.transform, area.copy()), seconds(ours)) for _ in range(repeats)]
    return median(theirs for theirs, _ in pairs), median(own for _, own in pairs)


def tile_times(tiles: np.ndarray, repeats: int) -> tuple[float, float, float, float]:
    """Median seconds: staintools a tile, our fit of the slide, our painting a tile, our fit and painting of one tile."""
    target = builtin_target()
    normaliser = StainNormalizer(method="vahadane")
    normaliser.stain_matrix_target, normaliser.maxC_target = target.matrix, target.max_concentration[None]
    flat = tiles.reshape(-1, 3)
    sample = flat[:: max(1, len(flat) // FIT_PIXELS)]
    rich = tiles[int(np.argmax([np.count_nonzero(tissue_mask(tile)) for tile in tiles[:100]]))]
    fit = fit_stain(sample)
    apply_stain(rich, fit_stain(rich), target)  # compiles
    theirs, fitting, painting, single = [], [], [], []
    for _ in range(repeats):
        theirs.append(seconds(normaliser.transform, rich.copy()))
        fitting.append(seconds(fit_stain, sample))
        painting.append(seconds(apply_stain, tiles, fit, target) / len(tiles))
        single.append(seconds(lambda: apply_stain(rich, fit_stain(rich), target)))
    return median(theirs), median(fitting), median(painting), median(single)


def main() -> None:
    """Parse the options, measure, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument(
        "--quick", action="store_true", help="fewer repeats: under three minutes on two cores"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    target, differences, objectives, angles = builtin_target(), [], [], []
    print(
        f"{'picture':<32}{'pixels':>9}{'objective':>11}{'spams':>11}{'ratio':>10}{'degrees':>9}{'apply differs':>15}"
    )
    for name, pixels in pictures(options.data).items():
        fit = fit_stain(pixels)
        theirs = staintools_given(pixels, fit, target).astype(int)
        difference = max(
            int(np.abs(StainMap(fit, target)(pixels, remember=remember) - theirs).max())
            for remember in (True, False)
        )
        ours = fit_objective(pixels, fit.matrix)
        peers, matrix = spams_fit(pixels, 300 if options.quick else 2000)
        angle = float(np.degrees(np.arccos(np.clip((fit.matrix * matrix).sum(1), -1, 1))).max())
        differences.append(difference)
        objectives.append(ours / peers)
        angles.append(angle)
        print(
            f"{name:<32}{pixels.size // 3:>9}{ours:>11.6f}{peers:>11.6f}{ours / peers:>10.6f}"
            f"{angle:>9.3f}{difference:>15}",
            flush=True,
        )
    tiles = tiles_of_a_slide(options.data)
    theirs_s, fit_s, paint_s, single_s = tile_times(tiles, 5 if options.quick else 15)
    ours_s = fit_s / len(tiles) + paint_s
    print(f"\n64x64 tile, microseconds ({len(tiles)} tiles of a slide, medians)")
    for label, value in (
        ("staintools transform", theirs_s),
        ("ours, fitted per tile", single_s),
        ("ours, fitted per slide", ours_s),
        ("  of which the fit's share", fit_s / len(tiles)),
        ("  of which painting", paint_s),
    ):
        print(f"{label:<32}{1e6 * value:>12.1f}")
    theirs_768, dpa_768 = dpa_times(options.data, 5 if options.quick else 15)
    print("\n768x768 pixels at level 0, milliseconds (medians)")
    print(
        f"{'staintools transform':<32}{1e3 * theirs_768:>12.1f}\n{'vahadane-dpa':<32}{1e3 * dpa_768:>12.1f}"
    )
    results = {
        "tile_vs_staintools": theirs_s / ours_s,
        "apply_max_difference": max(differences),
        "objective_vs_spams": max(objectives),
        "stain_angle_degrees": max(angles),
        "dpa_768_vs_staintools": theirs_768 / dpa_768,
    }
    print()
    targets = (">= 1000", "0", "<= 1.0001", "<= 0.5", ">= 5")
    for (name, value), wanted in zip(results.items(), targets, strict=True):
        print(f"{name:<32}{value:>12.6g}   target {wanted}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
