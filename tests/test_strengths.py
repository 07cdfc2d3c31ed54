"""Bradley-Terry strengths: those of evalica, and those that made the games, at equal length too."""

import evalica
import numpy as np
import pytest

from rlhf_lessons.evaluation.strengths import fit, games_of, intervals, strengths
from rlhf_lessons.evaluation.votes import Comparison


def vote(one: str, other: str, verdict, texts=("a", "b"), prompt="p", rater="r") -> Comparison:
    answers = [
        {"id": f"{prompt}/{name}/{text}", "model": name, "text": text, "ended": True}
        for name, text in zip((one, other), texts, strict=True)
    ]
    unit = tuple(answer["id"] for answer in answers)
    return Comparison(rater, prompt, *answers, unit, verdict, None, True)


def played(n: int, strength: dict, per_word: float = 0.0, seed: int = 0) -> list[Comparison]:
    """Games whose outcomes follow the model; model `c` writes long answers."""
    rng = np.random.default_rng(seed)
    names = list(strength)
    votes = []
    for i in range(n):
        one, other = rng.choice(names, 2, replace=False)
        words = [int(rng.integers(3, 9)) + 10 * (name == "c") for name in (one, other)]
        lead = strength[one] - strength[other] + per_word * (words[0] - words[1])
        verdict = 1 if rng.random() < 1 / (1 + np.exp(-lead)) else -1
        texts = ["word " * count for count in words]
        votes.append(vote(one, other, verdict, texts, prompt=f"prompt {i % 60}"))
    return votes


def test_strengths_are_evalicas_up_to_their_scale():
    votes = played(400, {"a": 1.0, "b": 0.0, "c": -1.0})
    rng = np.random.default_rng(3)
    votes = [v._replace(verdict=0) if rng.random() < 0.2 else v for v in votes]
    winner = {1: evalica.Winner.X, -1: evalica.Winner.Y, 0: evalica.Winner.Draw}
    theirs = evalica.bradley_terry(
        [v.a["model"] for v in votes],
        [v.b["model"] for v in votes],
        [winner[v.verdict] for v in votes],
        tolerance=1e-10,
    ).scores
    found = strengths(votes)
    logs = np.log(theirs[found.models].to_numpy())
    np.testing.assert_allclose(found.strength, logs - logs.mean(), atol=0.01)


def test_the_strengths_that_made_the_games_are_found_again():
    right = {"a": 1.0, "b": 0.2, "c": -1.2}
    found = strengths(played(4000, right))
    assert dict(zip(found.models, found.strength, strict=True)) == pytest.approx(right, abs=0.15)
    assert found.style is None


def test_a_model_that_wins_by_length_loses_it_under_style_control():
    even = {"a": 0.0, "b": 0.0, "c": 0.0}
    votes = played(4000, even, per_word=0.2)
    plain, controlled = strengths(votes), strengths(votes, style=True)
    assert plain.strength[2] > 1.0 and abs(controlled.strength[2]) < 0.25
    assert controlled.style > 0.5


def test_intervals_hold_the_truth_and_narrow_with_more_prompts():
    right = [1.0, 0.0, -1.0]
    few = played(150, dict(zip("abc", right, strict=True)), seed=1)
    many = played(3000, dict(zip("abc", right, strict=True)), seed=2)
    widths = []
    for votes in (few, many):
        found = intervals(votes)
        assert all(low - 0.2 < truth < high + 0.2 for truth, (low, high) in zip(right, found))
        widths.append(found[0][1] - found[0][0])
    assert widths[1] < widths[0] / 2


def test_a_lead_has_its_own_interval_narrower_than_the_two_models_apart():
    """`a` and `b` never met: both won against `c` on the prompts that are easy for both."""
    rng = np.random.default_rng(0)
    votes = []
    for prompt in range(80):
        won = 1 if rng.random() < 0.75 else -1
        for name in ("a", "b"):
            votes.append(vote(name, "c", won, prompt=str(prompt)))
    ends = intervals(votes, against="b")
    assert ends[1] == (0, 0) and ends[0] == pytest.approx((0, 0), abs=1e-9)
    (low, high), _, _ = intervals(votes)
    assert high - low > 0.2


def test_raters_who_disagree_widen_the_interval_over_raters():
    """Three raters and 40 prompts: for two of the raters `a` always wins, for one `b`."""
    votes = [
        vote("a", "b", -1 if rater == "odd" else 1, prompt=str(prompt), rater=rater)
        for rater in ("one", "another", "odd")
        for prompt in range(40)
    ]
    (low, high), (lowest, highest) = intervals(votes)[0], intervals(votes, by="rater")[0]
    assert high - low < 0.1 and lowest < 0 < 1 < highest


def test_a_tie_is_half_a_win_and_what_is_no_game_is_left_out():
    votes = [
        vote("a", "b", 0),
        vote("a", "b", None),
        vote("a", "a", 1, texts=("x", "y")),
        vote("a", None, 1),
        vote("a", "b", 1),  # the same rater, of the same two answers
    ]
    models, games, _ = games_of(votes, "prompt")
    assert models == ["a", "b"] and games["outcome"].tolist() == [0.5]
    assert strengths(votes).strength == pytest.approx([0, 0])


def test_a_model_that_won_everything_has_a_finite_strength():
    found = strengths([vote("a", "b", 1, prompt=str(i)) for i in range(30)])
    assert 3 < found.strength[0] < 20


def test_no_games_are_named():
    with pytest.raises(ValueError, match="no vote compares"):
        strengths([vote("a", "a", 1)])


def test_a_game_of_weight_two_counts_twice():
    once = fit(np.array([0, 0, 1]), np.array([1, 1, 0]), np.array([1.0, 0.0, 0.0]), 2)
    twice = fit(
        np.array([0, 0]), np.array([1, 1]), np.array([1.0, 0.0]), 2, weight=np.array([2.0, 1.0])
    )
    np.testing.assert_allclose(once, twice, atol=1e-8)
