"""The intervals of all figures, and best-of-n, against numbers that can be had in another way."""

import numpy as np
import pytest

from rlhf_lessons.evaluation.best_of_n import best_of_n_gain, rewards_of
from rlhf_lessons.evaluation.intervals import bootstrap, interval, wilson
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.reward import score


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.0, 10, 0.0, 0.2775), (0.5, 10, 0.2366, 0.7634), (1.0, 5, 0.5655, 1.0)],
)
def test_wilsons_interval_is_that_of_the_tables(share, n, low, high):
    """Newcombe (1998) gives 0 to 0.2775 for none of ten."""
    assert wilson(share, n) == pytest.approx((low, high), abs=1e-4)


def test_wilsons_interval_of_many_shares_is_that_of_each():
    shares, n = np.array([0.1, 0.9]), np.array([20, 300])
    low, high = wilson(shares, n)
    assert [(low[i], high[i]) for i in (0, 1)] == [wilson(shares[i], n[i]) for i in (0, 1)]


def test_the_bootstrap_draws_groups_and_not_what_is_in_them():
    values = np.repeat(np.random.default_rng(0).random((30, 1)), 50, axis=1)  # alike in each group
    mean, low, high = interval(values)
    alone = interval(values[:, :1])
    assert [mean, low, high] == alone and low < mean < high
    by_answer = interval(values.reshape(-1, 1))
    assert by_answer[2] - by_answer[1] < (high - low) / 5


def test_the_bootstraps_interval_covers_the_truth_as_often_as_it_says():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(200):
        drawn = rng.normal(size=40)
        low, high = bootstrap(lambda weights, x=drawn: weights @ x / weights.sum(1), 40, 400)
        covered += low < 0 < high
    assert 0.88 < covered / 200 <= 1  # 95 %, less what forty groups are too few for


def test_what_does_not_count_is_nan_and_nothing_at_all_gives_nan():
    assert interval(np.array([[1.0, np.nan], [1.0, 1.0]])) == [1.0, 1.0, 1.0]
    assert np.isnan(interval(np.full((3, 2), np.nan))).all()


def test_rewards_come_from_a_model_or_from_a_function(llama, tokenizer):
    prompts, texts = ["a castle", "anna"], [["anna walked", "a castle"], ["a dragon", "friends"]]
    ended = [[True, False], [True, True]]
    model = to_reward_model(llama)
    found = rewards_of(model, tokenizer, prompts, texts, ended)
    flat = (["a castle"] * 2 + ["anna"] * 2, sum(texts, []), sum(ended, []))
    assert found.ravel().tolist() == pytest.approx(score(model, tokenizer, *flat).tolist())
    by_function = rewards_of(lambda p, t, e: map_length(t), tokenizer, prompts, texts, ended)
    assert by_function.tolist() == [[11, 8], [8, 7]]


def map_length(texts: list[str]) -> list[float]:
    return [float(len(text)) for text in texts]


def test_the_best_by_a_reward_that_is_the_same_for_all_gains_what_chance_gains(llama, tokenizer):
    same = lambda prompts, texts, ended: [0.0] * len(texts)  # noqa: E731
    gain, low, high = best_of_n_gain(llama, tokenizer, same, ["What is 4-2?"] * 3, n=4)
    assert low <= gain <= high and abs(gain) < 0.5
