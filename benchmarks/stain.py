"""Vahadane: ours beside staintools and spams, in one run.

    python benchmarks/stain.py [--quick] [--smoke] [--data DIR] [--json FILE]

tile_vs_staintools     time of staintools' transform of a 64x64 tile over ours, the slide's fit shared out over its tiles
apply_max_difference   largest difference in grey levels between ours and staintools given the same matrices, all pictures
objective_vs_spams     objective of our fit over that of spams run to convergence, the worst picture
stain_angle_degrees    between our stains and those of spams run to convergence, the worst stain of the worst picture
dpa_768_vs_staintools  time of staintools' transform of a 768x768 picture over our variant of the paper's tiles (vahadane-dpa)

Real pictures (`stain/*.png`, PatchCamelyon) where they are at hand, else made-up mixtures of two stains. What is
compared takes turns; times are medians.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import spams
from command import of_size, parsed, parser, print_beside_targets, write_json
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
TARGETS = {
    "tile_vs_staintools": ">= 1000",
    "apply_max_difference": "0",
    "objective_vs_spams": "<= 1.0001",
    "stain_angle_degrees": "<= 0.5",
    "dpa_768_vs_staintools": ">= 5",
}


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


def tiles_of_a_slide(data: Path, count: int) -> np.ndarray:
    """`count` tiles uint8 (N, 64, 64, 3): PatchCamelyon's, or made-up ones."""
    path = data / "pcam" / "pcam_64.npz"
    return np.load(path)["x"][:count] if path.is_file() else made_up(count, 1)


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


def beside_peers(found: dict[str, np.ndarray], spams_rounds: int) -> dict[str, float]:
    """How far our painting is from staintools' and our fit from that of spams, over all pictures; a line for each."""
    target, differences, objectives, angles = builtin_target(), [], [], []
    print(
        f"{'picture':<32}{'pixels':>9}{'objective':>11}{'spams':>11}{'ratio':>10}{'degrees':>9}{'apply differs':>15}"
    )
    for name, pixels in found.items():
        fit = fit_stain(pixels)
        theirs = staintools_given(pixels, fit, target).astype(int)
        difference = max(
            int(np.abs(StainMap(fit, target)(pixels, remember=remember) - theirs).max())
            for remember in (True, False)
        )
        ours = fit_objective(pixels, fit.matrix)
        peers, matrix = spams_fit(pixels, spams_rounds)
        angle = float(np.degrees(np.arccos(np.clip((fit.matrix * matrix).sum(1), -1, 1))).max())
        differences.append(difference)
        objectives.append(ours / peers)
        angles.append(angle)
        print(
            f"{name:<32}{pixels.size // 3:>9}{ours:>11.6f}{peers:>11.6f}{ours / peers:>10.6f}"
            f"{angle:>9.3f}{difference:>15}",
            flush=True,
        )
    return {
        "apply_max_difference": max(differences),
        "objective_vs_spams": max(objectives),
        "stain_angle_degrees": max(angles),
    }


def main() -> None:
    """Parse the options, measure, print a table."""
    given = parsed(parser(__doc__, quick="fewer repeats: under three minutes on two cores", data=True))
    spams_rounds, repeats = of_size(given, full=(2000, 15), quick=(300, 5), smoke=(5, 1))
    found = pictures(given.data)
    if given.smoke:
        found = {name: pixels[:256] for name, pixels in found.items()}
    results = beside_peers(found, spams_rounds)
    tiles = tiles_of_a_slide(given.data, 8 if given.smoke else SLIDE_TILES)
    theirs_s, fit_s, paint_s, single_s = tile_times(tiles, repeats)
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
    theirs_768, dpa_768 = dpa_times(given.data, repeats)
    print("\n768x768 pixels at level 0, milliseconds (medians)")
    print(
        f"{'staintools transform':<32}{1e3 * theirs_768:>12.1f}\n{'vahadane-dpa':<32}{1e3 * dpa_768:>12.1f}"
    )
    results |= {"tile_vs_staintools": theirs_s / ours_s, "dpa_768_vs_staintools": theirs_768 / dpa_768}
    print_beside_targets(results, TARGETS)
    write_json(given.json, results)


if __name__ == "__main__":
    main()
