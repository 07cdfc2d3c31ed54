"""Best-of-n against every draw there is."""

import itertools
import math

import numpy as np
import pytest

from rlhf_lessons.evaluation.best_of_n import (
    best_places,
    chances,
    kl_bound,
    kl_of_best_of_n,
    ladder,
)

POOLS = {
    "no ties": [0.1, 0.7, 0.3, 0.9],
    "ties": [1.0, 1.0, 0.0, 2.0],
    "the same answer twice": [0.5, 0.5, 0.5, 0.2],
    "all tie": [3.0, 3.0, 3.0, 3.0],
}


def enumerated(rewards: list[float], n: int) -> np.ndarray:
    """The chance of each answer to be the best of n, from every draw there is; ties share it."""
    found = np.zeros(len(rewards))
    for draw in itertools.product(range(len(rewards)), repeat=n):
        best = max(rewards[i] for i in draw)
        winners = [i for i in draw if rewards[i] == best]
        for i in winners:
            found[i] += 1 / len(winners)
    return found / len(rewards) ** n


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("name", POOLS)
def test_chances_and_kl_equal_enumeration(name, n):
    rewards = POOLS[name]
    right = enumerated(rewards, n)
    np.testing.assert_allclose(chances(np.array(rewards), n), right, atol=1e-12)
    kl = sum(p * math.log(p * len(rewards)) for p in right if p)
    assert kl_of_best_of_n(np.array(rewards), n) == pytest.approx(kl, abs=1e-6)


@pytest.mark.parametrize("n", [2, 4, 64])
def test_kl_reaches_its_bound_without_ties_and_stays_below_with_them(n):
    rng = np.random.default_rng(0)
    many = rng.normal(size=4000)
    assert kl_of_best_of_n(many, n) == pytest.approx(kl_bound(n), abs=0.01)
    assert kl_of_best_of_n(many, n) < kl_bound(n)
    assert kl_of_best_of_n(many.round(), n) < kl_bound(n) - 0.005
    assert kl_of_best_of_n(np.zeros(50), n) == 0


def test_the_bounds_values():
    assert [round(kl_bound(n), 2) for n in (1, 2, 4, 16, 64, 256)] == [
        0,
        0.19,
        0.64,
        1.84,
        3.17,
        4.55,
    ]


def test_a_prompt_is_a_row():
    rewards = np.array(list(POOLS.values()))
    for row, rewards_of_it in zip(chances(rewards, 3), rewards, strict=True):
        np.testing.assert_allclose(row, chances(rewards_of_it, 3))


def test_the_ladder_is_what_drawing_gives_on_average():
    rng = np.random.default_rng(1)
    rewards = rng.normal(size=(3, 40)).round(1)
    truth = rng.normal(size=(3, 40))
    rows = ladder(rewards, {"utility": truth, "reward": rewards}, (1, 8))
    assert rows[0]["kl"] == pytest.approx(0) and rows[0]["utility"][0] == pytest.approx(
        truth.mean(), abs=1e-4
    )
    draws = rng.integers(40, size=(3, 40_000, 8))
    at = rewards[np.arange(3)[:, None, None], draws] + rng.uniform(0, 1e-6, draws.shape)
    chosen = np.take_along_axis(draws, at.argmax(2)[..., None], 2)[..., 0]
    drawn = truth[np.arange(3)[:, None], chosen].mean()
    assert rows[1]["utility"][0] == pytest.approx(drawn, abs=0.01)
    assert rows[1]["reward"][0] > rows[0]["reward"][0]


def test_the_largest_n_gives_a_number():
    rng = np.random.default_rng(2)
    assert np.isfinite(kl_of_best_of_n(rng.normal(size=256), 10_000))


def test_the_best_is_chosen_among_those_that_ended_if_any_did():
    rewards = np.array([[0.11, 0.12, 0.10], [5.0, 0.3, 0.2]])
    ended = [[False] * 3, [False, True, True]]
    assert best_places(rewards, ended).tolist() == [1, 1]
