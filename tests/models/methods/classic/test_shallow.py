"""OC-SVM, isolation forest and SSAD: scores from plain tensors equal scikit-learn's and the dual's optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.ensemble import IsolationForest
from sklearn.svm import OneClassSVM

from esad.models.methods.classic.fitted import FittedTensors, stack_padded
from esad.models.methods.classic.isolation_forest import (
    IsolationForestMethod,
    average_path_length,
    forest_arrays,
)
from esad.models.methods.classic.kernels import GAMMAS, default_gamma, squared_distances
from esad.models.methods.classic.oc_svm import NUS, choose_gamma_and_nu, fit_oc_svm
from esad.models.methods.classic.shallow import CannotFit, Sample, draw_rows
from esad.models.methods.classic.ssad import Dual, dual_problem, fit_ssad, solve_ssad
from esad.models.methods.registry import build
from esad.models.settings import MethodSettings, OcSvmSettings, SsadSettings
from esad.models.training.fit import fit
from tests.models.small_data import scores, settings, table


def rows(count: int, columns: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, columns))


def scaled(data) -> np.ndarray:
    """What a method of one seed is fitted on, and all rows in the same scale."""
    used = data.items[torch.from_numpy(data.positions[0])]
    low, high = used.amin(0), used.amax(0)
    return ((data.items - low) / (high - low)).numpy()


@pytest.mark.parametrize("nu", [0.05, 0.5])
def test_oc_svm_scores_as_scikit_learn(nu):
    chosen = settings("oc_svm")
    chosen.oc_svm = OcSvmSettings(gamma=2.0, nu=nu)
    data = table()
    method = fit(build(chosen, (5,), (0,)), data)
    x = scaled(data).astype(np.float64)
    theirs = OneClassSVM(gamma=2.0, nu=nu).fit(x[:100])  # labelled anomalies are left out
    assert np.allclose(scores(method, data)[0], -theirs.decision_function(x), atol=1e-6)


@pytest.mark.parametrize(("count", "samples"), [(400, 256), (50, 256), (300, 7), (2, 256)])
def test_isolation_forest_scores_as_scikit_learn(count, samples):
    x, new = rows(count).astype(np.float32), torch.from_numpy(3 * rows(200, seed=1)).float()
    forest = IsolationForest(n_estimators=30, max_samples=min(samples, count), random_state=0).fit(x)
    chosen = MethodSettings(method="isolation_forest", isolation_forest={"trees": 30, "samples": samples})
    method = IsolationForestMethod(chosen, (4,))
    found = method.score_rows(forest_arrays(forest), new)
    assert np.abs(found.numpy() + forest.score_samples(new.numpy())).max() < 1e-6


def test_a_value_on_a_threshold_goes_left_as_in_scikit_learn():
    x = np.repeat(np.arange(6, dtype=np.float32), 20)[:, None]
    forest = IsolationForest(n_estimators=20, random_state=0).fit(x)
    arrays = forest_arrays(forest)
    on = arrays["threshold"][arrays["threshold"] != 0].float()[:, None]
    method = IsolationForestMethod(MethodSettings(method="isolation_forest"), (1,))
    assert np.abs(method.score_rows(arrays, on).numpy() + forest.score_samples(on.numpy())).max() < 1e-6


def test_average_path_lengths_of_liu_et_al():
    harmonic = sum(1 / n for n in range(1, 256))
    assert average_path_length(np.array([0, 1, 2])).tolist() == [0, 0, 1]
    assert average_path_length(np.array(256)) == pytest.approx(2 * harmonic - 2 * 255 / 256, abs=5e-3)


def dual_of(semi: np.ndarray, **changes) -> Dual:
    return dual_problem(semi, SsadSettings(**changes))


def test_ssad_of_two_normals_and_an_anomaly_by_hand():
    """Far apart, the kernel is the identity: minimise the sum of squares with a1 + a2 - a3 = 1, a3 >= 1."""
    found = solve_ssad(np.eye(3), dual_of(np.array([0, 0, -1])))
    assert found == pytest.approx([1, 1, 1], abs=1e-6)
    found = solve_ssad(np.eye(3), dual_of(np.array([0, 0, -1]), kappa=0.4))
    assert found == pytest.approx([0.7, 0.7, 0.4], abs=1e-6)


def test_ssad_without_labels_is_the_hard_one_class_svm():
    x = rows(60)
    kernel = np.exp(-0.3 * squared_distances(x, x))
    theirs = OneClassSVM(kernel="precomputed", nu=1 / 60, tol=1e-9).fit(kernel)  # its a_i <= 1, their sum 1
    found = solve_ssad(kernel, dual_of(np.zeros(60, int)))
    expected = np.zeros(60)
    expected[theirs.support_] = theirs.dual_coef_[0]
    assert found @ kernel @ found == pytest.approx(expected @ kernel @ expected, rel=1e-4)


@hypothesis_settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 1000),
    gamma=st.sampled_from([0.01, 0.3, 4.0]),
    kappa=st.sampled_from([0.0, 1.0, 3.5]),
    cost=st.sampled_from([0.08, 1.0, 100.0]),
)
def test_no_feasible_step_lowers_what_ssad_minimises(seed, gamma, kappa, cost):
    x = rows(170, seed=seed)
    semi = np.random.default_rng(seed).choice([0, 0, 0, 0, 1, -1], 170)
    kernel, dual = np.exp(-gamma * squared_distances(x, x)), dual_of(semi, kappa=kappa, unlabelled_cost=cost)

    found = solve_ssad(kernel, dual)
    slope = dual.sign * (kernel @ (dual.sign * found))
    lowest = linprog(
        slope,
        -dual.labelled[None].astype(float),
        [-kappa],
        dual.sign[None],
        [1],
        np.c_[np.zeros(170), dual.cost],
    )  # the objective is convex: it lies nowhere further below than its slope says
    assert slope @ found == pytest.approx(lowest.fun, abs=1e-6)
    assert dual.sign @ found == pytest.approx(1, abs=1e-6)
    assert found[dual.labelled].sum() >= kappa - 1e-6
    assert (found >= 0).all()
    assert (found <= dual.cost).all()


def test_labelled_anomalies_pull_ssads_score_up_beside_them():
    x = np.concatenate([rows(80, 2), rows(5, 2, seed=1) * 0.1 + 2])
    semi, squared = np.r_[np.zeros(80, int), -np.ones(5, int)], squared_distances(x, x)
    own = SsadSettings()
    knows, blind = (fit_ssad(x, squared, known, 0.5, own) for known in (semi, semi * 0))
    method = build(settings("ssad"), (2,), (0,))
    at = torch.tensor([[2.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    gaps = [float(np.subtract(*method.score_rows(each, at).tolist())) for each in (knows, blind)]
    assert gaps[0] > gaps[1] + 0.1


def test_a_kappa_that_cannot_be_met_names_the_settings():
    with pytest.raises(CannotFit, match=r"ssad\.kappa = 3 .* 1 labelled of 11 items"):
        dual_of(np.r_[np.zeros(10, int), -1], kappa=3)


def sample(held: int) -> Sample:
    """Normals around 0 and, held out, `held` normals and anomalies on a shell that only a wide kernel orders."""
    x = rows(80, 2)
    far = rows(held, 2, seed=1)
    far *= 6 / np.linalg.norm(far, axis=1, keepdims=True)
    out = np.concatenate([rows(held, 2, seed=2), far]) if held else np.empty((0, 2))
    return Sample(0, x, np.zeros(80, int), out, np.repeat([0, 1], held))


def test_gamma_and_nu_are_chosen_where_held_out_anomalies_are_there_and_else_the_defaults():
    with_anomalies, without = sample(20), sample(0)
    squared = squared_distances(with_anomalies.x, with_anomalies.x)
    gamma, nu = choose_gamma_and_nu(with_anomalies, squared, None, None)
    assert nu in NUS
    assert gamma in GAMMAS
    assert gamma < 1
    assert choose_gamma_and_nu(with_anomalies, squared, 4.0, 0.5) == (4.0, 0.5)
    assert choose_gamma_and_nu(with_anomalies, squared, 4.0, None)[0] == 4.0
    variance = float(without.x.var())
    assert choose_gamma_and_nu(without, squared, None, None) == (pytest.approx(1 / (2 * variance)), 0.1)
    assert default_gamma(np.ones((5, 2))) == 1


def test_what_was_chosen_stands_in_the_weights():
    method = fit(build(settings("oc_svm"), (5,), (0,)), table(held=5))
    assert float(method.state_dict()["fitted.gamma"][0]) in GAMMAS
    x = table().items[:10].double().numpy()
    assert fit_oc_svm(x, squared_distances(x, x), 0.5, 0.2)["nu"] == 0.2


@pytest.mark.parametrize(("most", "labelled"), [(50, 25), (400, 40), (1000, 40), (20, 10)])
def test_rows_are_capped_with_labelled_ones_first_up_to_a_half(most, labelled):
    labels = np.r_[np.zeros(500, int), -np.ones(40, int)]
    chosen = draw_rows(labels, most, seed=1)
    assert len(chosen) == min(most, 540)
    assert (labels[chosen] != 0).sum() == labelled
    assert len(set(chosen)) == len(chosen)
    assert np.array_equal(chosen, draw_rows(labels, most, seed=1))
    mostly_labelled = draw_rows(-labels[::-1] - 1, most, seed=1)
    assert len(mostly_labelled) == min(most, 540)


def test_fitted_tensors_take_the_shapes_of_what_is_loaded_and_seeds_are_padded():
    parts = [{"v": torch.ones(2, 3), "g": torch.tensor(1.5)}, {"v": torch.ones(4, 3), "g": torch.tensor(2.5)}]
    fitted, again = FittedTensors(["v", "g"]), FittedTensors(["v", "g"])
    fitted.replace(stack_padded(parts))
    again.load_state_dict(fitted.state_dict())
    assert again.of(0)["v"].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert [float(again.of(seed)["g"]) for seed in (0, 1)] == [1.5, 2.5]
