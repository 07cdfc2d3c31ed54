"""Simulated raters err exactly as often as their numbers say."""

import math
import random

import pytest

from rlhf_lessons.world.raters import Rater

PROMPT = "What is 4-2 and 3-1?"
GOOD, HALF, BAD = (
    "4-2 is 2 and 3-1 is 2.",
    "4-2 is 2 and 3-1 is 7.",
    "The cow looked out of the window.",
)
N = 2000


def share_of_left(rater, left, right, seed=0):
    rng = random.Random(seed)
    return sum(rater.choose(PROMPT, left, right, rng) == "left" for _ in range(N)) / N


def near(share):
    """Four standard errors of a share measured on N choices."""
    return pytest.approx(share, abs=4 * math.sqrt(0.25 / N))


def test_a_rater_without_noise_chooses_by_true_utility():
    assert share_of_left(Rater(), GOOD, HALF) == 1
    assert share_of_left(Rater(), BAD, HALF) == 0


def test_flip_rate_is_the_share_of_wrong_labels():
    assert share_of_left(Rater(flip_rate=0.1), BAD, GOOD) == near(0.1)
    assert share_of_left(Rater(flip_rate=0.1), GOOD, BAD) == near(0.9)


def test_noise_is_the_temperature_of_a_logistic_choice():
    rater = Rater(noise=0.5)
    difference = rater.utility_of(PROMPT, GOOD) - rater.utility_of(PROMPT, HALF)
    assert share_of_left(rater, GOOD, HALF) == near(1 / (1 + math.exp(-difference / 0.5)))


def test_side_bias_is_the_log_odds_of_left_between_equal_answers():
    assert share_of_left(Rater(noise=1.0, side_bias=1.0), GOOD, GOOD) == near(
        1 / (1 + math.exp(-1))
    )
    assert share_of_left(Rater(), GOOD, GOOD) == near(0.5)


def test_answers_closer_than_the_margin_are_a_tie():
    rng = random.Random(0)
    assert Rater(tie_margin=0.05).choose(PROMPT, GOOD, GOOD, rng) == "tie"
    assert Rater(tie_margin=0.05).choose(PROMPT, GOOD, HALF, rng) == "left"
    assert Rater(tie_margin=0.5).choose(PROMPT, GOOD, HALF, rng) == "tie"


def test_the_same_seed_gives_the_same_choices():
    rater = Rater(noise=0.3, flip_rate=0.1)
    first, second = (
        [rater.choose(PROMPT, GOOD, HALF, rng) for _ in range(50)]
        for rng in (random.Random(7), random.Random(7))
    )
    assert (
        first == second != [rater.choose(PROMPT, GOOD, HALF, random.Random(8)) for _ in range(50)]
    )


def test_a_ranking_puts_the_best_first_and_leaves_ties_equal():
    rater = Rater(tie_margin=0.01)
    assert rater.rank(PROMPT, [(HALF, True), (GOOD, True), (BAD, True)], random.Random(0)) == [
        1,
        0,
        2,
    ]
    assert rater.rank(PROMPT, [(GOOD, True), (BAD, True), (GOOD, True)], random.Random(0)) == [
        0,
        1,
        0,
    ]


def test_flips_mix_up_a_ranking_now_and_then():
    rng = random.Random(1)
    ranks = [Rater(flip_rate=0.1).rank(PROMPT, [(GOOD, True), (BAD, True)], rng) for _ in range(N)]
    assert sum(rank == [1, 0] for rank in ranks) / N == near(0.1)


def test_a_taste_can_outweigh_the_scores():
    merry = GOOD + " Hooray!"
    assert share_of_left(Rater(weights={"happy": 1.0}), merry, GOOD) == 1
    assert share_of_left(Rater(weights={"utility": 1.0, "happy": -1.0}), merry, GOOD) == 0


def test_a_prompt_outside_the_toy_world_has_no_utility():
    assert Rater(weights={"utility": 1.0, "happy": 1.0}).utility_of("What is love?", "Hooray!") == 0
