"""The t-SNE of codes: the same on any number of threads, and codes that it cannot map."""

from __future__ import annotations

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from esad.pipeline.drawing.codes import embedded


def clouds(columns: int = 8) -> np.ndarray:
    numbers = np.random.default_rng(0)
    return (numbers.normal(size=(80, columns)) + np.repeat([0, 9], 40)[:, None]).astype(np.float32)


def test_the_map_is_that_of_scikit_learn_on_any_number_of_threads():
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(embedded(clouds(), 3))
    with threadpool_limits(1):
        theirs = TSNE(perplexity=80 / 3, init="pca", random_state=3).fit_transform(clouds())
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], theirs)
    one, other = found[0][:40], found[0][40:]
    assert np.linalg.norm(one.mean(0) - other.mean(0)) > 2 * max(one.std(), other.std())


def test_codes_that_are_all_the_same_have_no_map_and_codes_of_one_number_do():
    assert np.isnan(embedded(np.full((20, 4), 0.25, np.float32), 0)).all()
    assert np.isnan(embedded(np.zeros((20, 4), np.float32), 0)).all()
    assert np.isfinite(embedded(clouds(1), 0)).all()
