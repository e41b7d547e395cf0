"""Pen marks on a thumbnail: colours that H&E does not have, followed from the glass over the tissue. Pure.

The colours were chosen on 4500 patches of Camelyon16 and two other slides: of their 290,000 coloured places of 8 x 8 um none
is called red ink, and what is called blue or green is ink.
"""

from __future__ import annotations

import numpy as np

from esad.preprocessing.stain.kernels import compiled
from esad.preprocessing.tissue.morphology import grown, parts_with, shrunk

LEAST_MARK = 25
"""Thumbnail pixels of a certain colour that a mark has at least."""
LEAST_SHARE = 0.2
"""Share of a mark's pixels that have a certain colour; the others may have it, such as its pale edges."""
BEYOND = 1.5
"""Interquartile ranges beyond the slide's own tissue from which a pixel beside a mark is covered by it."""
SAMPLE = 20_000
"""Pixels that are enough to know a slide's tissue by."""
AMOUNT = (0.75, 0.9)
"""Share of a mark's own density that what it covers has in every channel: at least, and enough on any slide."""
COLD, WARM, BLACK = 1, 2, 3
CERTAIN = 4
MOST_TINGE = {COLD: 1.1, WARM: 0.6, BLACK: 0.85}
"""What `_tinge` gives for no tissue of any slide."""


@compiled
def _colours(density, absorbing, out):  # type: ignore[no-untyped-def]
    """COLD, WARM or BLACK into `out` (h, w) where a pixel may be ink, and CERTAIN more where it can be nothing else."""
    for row in range(density.shape[0]):
        for column in range(density.shape[1]):
            code = 0
            if absorbing[row, column]:
                r, g, b = density[row, column]
                if r > 0.12 and r > 1.1 * g:  # blue and green
                    certain = r > 0.35 and (r > 1.5 * g or (r > 1.12 * g and b < 0.5 * r))
                    code = COLD + CERTAIN * certain
                elif g > 0.25 and b > 0.75 * g and r < 0.3 * max(g, b):  # red and orange
                    code = WARM + CERTAIN * (g > 0.5 and b > 0.88 * g)
                elif g > 0.4 and min(r, g, b) > 0.85 * max(r, g, b):
                    code = BLACK + CERTAIN * (g > 1.0)
            out[row, column] = code


def _tinge(hue: int, density: np.ndarray) -> np.ndarray:
    """What grows with the ink in the colour of densities (3, N), whatever tissue is under it: float32 (N,)."""
    r, g, b = density
    if hue == COLD:
        return r / g.clip(1e-3)
    if hue == WARM:
        return (b - r) / g.clip(1e-3)
    return density.min(0) / density.max(0).clip(1e-3)


def find_ink(density: np.ndarray, absorbing: np.ndarray) -> np.ndarray:
    """Bool (h, w): the pen marks among the `absorbing` pixels, bool (h, w), of an optical density float32 (h, w, 3)."""
    codes = np.empty(absorbing.shape, dtype=np.uint8)
    _colours(density, absorbing, codes)
    counts = np.bincount(codes.ravel(), minlength=2 * CERTAIN)
    found = np.zeros(absorbing.shape, dtype=bool)
    for hue in (COLD, WARM, BLACK):
        if counts[hue + CERTAIN] >= LEAST_MARK:
            certain = codes == hue + CERTAIN
            marks = parts_with(certain | (codes == hue), certain, LEAST_MARK, LEAST_SHARE)
            if marks.any():
                found |= _followed(hue, marks, density, absorbing)
    return found


def _followed(hue: int, marks: np.ndarray, density: np.ndarray, absorbing: np.ndarray) -> np.ndarray:
    """`marks` with the tissue under them: what is joined to them and differs from the slide's other tissue as they do.

    Either its tinge does, or it absorbs so much in every channel that the ink may be there besides tissue.
    """
    own, colours = marks[absorbing], np.ascontiguousarray(density[absorbing].T)
    if own.all():
        return marks
    tinge = _tinge(hue, colours)
    amount = (colours / np.median(colours[:, own], axis=1, keepdims=True).clip(1e-3)).min(0)
    usual = np.flatnonzero(~own)
    usual = usual[:: max(1, len(usual) // SAMPLE)]
    certain = tinge > min(_fence(tinge[usual]), MOST_TINGE[hue])
    likely = (tinge > np.quantile(tinge[usual], 0.6)) & (amount > np.clip(_fence(amount[usual]), *AMOUNT))
    covered = marks.copy()
    covered[absorbing] |= certain | likely
    return parts_with(marks | grown(shrunk(covered)), marks)


def _fence(values: np.ndarray) -> float:
    """Beyond what tissue shows: up to a quarter of `values` (N,) may lie under ink without moving it."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high + BEYOND * (high - low))
