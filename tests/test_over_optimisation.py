"""Fits against curves that are known, and ensembles."""

import math

import numpy as np
import pytest

from rlhf_lessons.evaluation.over_optimisation import combined, fit


@pytest.mark.parametrize("method", ["best of n", "rl"])
def test_gaos_forms_are_found_again(method):
    kl = np.linspace(0, 25, 30)
    d = np.sqrt(kl)
    bend = d if method == "best of n" else np.log(np.maximum(d, 1e-12))
    found = fit(method, kl, d * (0.5 - 0.1 * bend))
    assert (found.alpha, found.beta) == pytest.approx((0.5, 0.1))
    assert found.r_squared == pytest.approx(1) and found.error == pytest.approx(0, abs=1e-9)
    around = np.linspace(0.01, 60, 100_000)
    assert found.peak() == pytest.approx(around[found.gain(around).argmax()], rel=1e-3)
    assert found.gain(0) == 0


def test_a_curve_that_never_falls_has_no_peak_and_the_wrong_form_fits_worse():
    kl = np.linspace(0.1, 25, 30)
    d = np.sqrt(kl)
    assert fit("best of n", kl, d * (0.5 + 0.1 * d)).peak() == math.inf
    gain = d * (0.5 - 0.3 * np.log(d))
    assert fit("rl", kl, gain).r_squared > fit("best of n", kl, gain).r_squared + 0.01


def test_ensembles():
    rewards = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert combined(rewards, "mean").tolist() == [2, 5]
    assert combined(rewards, "worst").tolist() == [1, 5]
    assert combined(rewards, "uncertainty", 0.5).tolist() == [1.5, 5]
    with pytest.raises(ValueError, match="median"):
        combined(rewards, "median")
