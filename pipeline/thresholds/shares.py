"""Intervals of figures that lie between 0 and 1. Pure."""

from __future__ import annotations

import math


def share_limits(share: float, error: float, freedom: float) -> tuple[float, float]:
    """95 % interval of a `share` strictly between 0 and 1 with standard `error`, of which `freedom` > 0 degrees say how sure it is.

    On the scale of log odds, where it is about normal also near 0 and 1 (Agresti, Categorical Data Analysis, 3.1.6), with Student's t:
    the error of a few groups is itself uncertain. Both ends lie strictly between 0 and 1, but for what float64 cannot tell from them.
    """
    from scipy.stats import t

    middle, reach = (
        math.log(share / (1 - share)),
        float(t.ppf(0.975, freedom)) * error / (share * (1 - share)),
    )
    return _share(middle - reach), _share(middle + reach)


def _share(odds: float) -> float:
    """The share of log `odds`, without overflow."""
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0


def freedom_of(variances: list[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of independent variances, each estimated from so many groups (Satterthwaite 1946); 1 at least."""
    total = sum(variance for variance, _ in variances)
    weighed = sum(variance**2 / (groups - 1) for variance, groups in variances if groups > 1)
    return max(total**2 / weighed, 1.0) if weighed > 0 else 1.0
