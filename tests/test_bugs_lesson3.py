"""The traps of lesson 3 bite, and leave the right functions behind them."""

import json
import math

import numpy as np
import pytest
import tiny
import torch

from rlhf_lessons import paths
from rlhf_lessons.exercises.bugs import bug
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.lm.sampling import pad
from rlhf_lessons.stages import reward, rollout
from rlhf_lessons.stages.config import RewardConfig
from rlhf_lessons.stages.reward import RewardModelling, score

PROMPT = "What is 1+2 and 3-1?"
SHIPPED = json.loads((paths.DATA / "results" / "lesson3_reward.json").read_text(encoding="utf-8"))
SIZES = (150, 600, 2400)


def thumbs(rankings: int = 8) -> list[dict]:
    """Rankings of six answers; one has a thumb up, and five are equal."""
    rows = []
    for n in range(rankings):
        texts = ["3 and 2.", *(f"{'no ' * k}goat {n}." for k in range(1, 6))]
        turn = n % 6
        rows.append(
            {
                "prompt": PROMPT,
                "completions": texts[turn:] + texts[:turn],
                "scores": ([1.0] + [0.0] * 5)[turn:] + ([1.0] + [0.0] * 5)[:turn],
            }
        )
    return rows


def losses(rows: list[dict]) -> list[float]:
    config = RewardConfig(epochs=6, batch_size=4, lr=3e-3, warmup=2)
    return [step.loss for step in RewardModelling(tiny.model(), tiny.tokenizer(), rows, config)]


def test_ties_in_the_loss_keep_it_near_log_2():
    healthy = losses(thumbs())
    with bug("ties in the loss"):
        broken = losses(thumbs())
    assert healthy[-1] < 0.3  # five pairs of each ranking, and all can be learned
    assert (
        broken[-1] > 0.4 and broken[-1] > healthy[-1] + 0.2
    )  # ten of fifteen are coins, worth log 2 each
    assert all(math.isfinite(loss) for loss in broken)


def test_ties_become_pairs_won_by_whichever_stands_first():
    row, right = (
        {"prompt": PROMPT, "completions": ["a", "b", "c"], "scores": [0.0, 1.0, 0.0]},
        reward.to_rankings,
    )
    with bug("ties in the loss"):
        (ranking,) = reward.to_rankings(tiny.tokenizer(), [row])
        assert sorted(pair[:2] for pair in ranking.pairs) == [(0, 2), (1, 0), (1, 2)]
        assert reward.to_rankings(
            tiny.tokenizer(), [{"prompt": PROMPT, "chosen": "a", "rejected": "b"}]
        )
    assert reward.to_rankings is right
    (ranking,) = reward.to_rankings(tiny.tokenizer(), [row])
    assert sorted(pair[:2] for pair in ranking.pairs) == [(1, 0), (1, 2)]


def test_a_reward_read_at_padding_depends_on_the_company():
    model, tokenizer, right = to_reward_model(tiny.model()), tiny.tokenizer(), rollout.last_scores
    short, long = "3 and 2.", "3 and 2, and a goat, and another goat, and soup."

    def alone_and_beside() -> tuple[float, float]:
        return (
            score(model, tokenizer, [PROMPT], [short])[0].item(),
            score(model, tokenizer, [PROMPT] * 2, [short, long])[0].item(),
        )

    with bug("reward read at padding"):
        alone, beside = alone_and_beside()
    assert abs(alone - beside) > 1e-2
    assert rollout.last_scores is right
    alone, beside = alone_and_beside()
    assert alone == pytest.approx(beside, abs=1e-5)


def test_a_row_without_padding_is_read_correctly_all_the_same():
    model, (ids, mask) = to_reward_model(tiny.model()), pad([[5, 6, 7], [8, 9, 10]], 0)
    with torch.no_grad():
        right = rollout.last_scores(model, ids, mask)
        with bug("reward read at padding"):
            assert torch.equal(rollout.last_scores(model, ids, mask), right)


def measured(what: str, **other) -> np.ndarray:
    """What came out, one number a seed, of runs as the lesson's plain ones but for `other`."""
    kind = {"layers": 2, "rankings": 2400, "flipped": 0.1, "thumbs": False, "trap": None} | other
    found = {run["seed"]: run[what] for run in SHIPPED["runs"] if kind.items() <= run.items()}
    assert sorted(found) == [0, 1, 2, 3], kind
    return np.array([found[seed] for seed in range(4)])


def percent(what: str, **other) -> int:
    return round(100 * measured(what, **other).mean())


def test_the_shipped_runs_are_sixty_of_four_seeds_each():
    names = ("layers", "rankings", "flipped", "thumbs", "trap")
    kinds = {tuple(run[name] for name in names) for run in SHIPPED["runs"]}
    assert len(SHIPPED["runs"]) == 60 == 4 * len(kinds)
    assert all(
        len(run["loss"]) == 20 and all(map(math.isfinite, run["loss"])) for run in SHIPPED["runs"]
    )


def test_what_the_lesson_says_of_labels_is_in_the_shipped_runs():
    for n in SIZES:
        for wrong in (
            0.1,
            0.3,
        ):  # no model gets past its ceiling, and each is better than its labels say
            accuracy, truth = (
                measured(what, rankings=n, flipped=wrong) for what in ("accuracy", "true_accuracy")
            )
            assert (accuracy < measured("ceiling", rankings=n, flipped=wrong)).all() and (
                accuracy < truth
            ).all()
            assert measured("ceiling", flipped=wrong).mean() == pytest.approx(1 - wrong, abs=0.03)
    for wrong in (0.0, 0.1, 0.3):  # more labels help, and noise harms
        assert (
            percent("true_accuracy", rankings=150, flipped=wrong) + 5
            < percent("true_accuracy", rankings=600, flipped=wrong)
            < percent("true_accuracy", flipped=wrong) - 4
        )
    for n in SIZES:
        right, some, many = (
            measured("true_accuracy", rankings=n, flipped=wrong).mean() for wrong in (0.0, 0.1, 0.3)
        )
        assert right > some > many
    assert (
        abs(
            percent("true_accuracy", flipped=0.3)
            - percent("true_accuracy", rankings=600, flipped=0.0)
        )
        <= 2
    )
    assert (
        percent("true_accuracy", flipped=0.3) > percent("accuracy", flipped=0.3) + 15
    )  # a good judge looks poor


def test_what_the_lesson_says_of_layers_is_in_the_shipped_runs():
    assert [percent("true_accuracy", layers=n) for n in (1, 2, 3, 4)] == [84, 88, 90, 88]
    layers, parameters, times = (
        [row[what] for row in SHIPPED["size"]] for what in ("layers", "parameters", "milliseconds")
    )
    assert layers == [1, 2, 3, 4] and len(set(np.diff(parameters))) == 1
    assert np.diff(times) == pytest.approx(
        [np.diff(times).mean()] * 3, rel=0.25
    )  # "by the same amount"
    assert times[1] == pytest.approx(0.5 * times[3], rel=0.1)  # "in half of the time"


def test_what_the_lesson_says_of_mistakes_is_in_the_shipped_runs():
    last = {
        name: measured("loss", rankings=600, thumbs=True, trap=name)[:, -5:].mean(1)
        for name in (None, "ties in the loss")
    }
    assert round(last[None].mean(), 1) == 0.1 and round(last["ties in the loss"].mean(), 1) == 0.5
    assert last["ties in the loss"].min() > 2 * last[None].max()
    right = [percent("true_accuracy", rankings=600, thumbs=True, trap=name) for name in last]
    assert right == [73, 69]
    at_padding = {"rankings": 600, "trap": "reward read at padding"}
    assert (percent("true_accuracy", **at_padding), percent("true_accuracy", rankings=600)) == (
        79,
        80,
    )
    assert (
        abs(
            measured("loss", **at_padding)[:, -5:].mean()
            - measured("loss", rankings=600)[:, -5:].mean()
        )
        < 0.05
    )
    own, new = (
        [measured(what, rankings=n).mean() for n in SIZES] for what in ("own_labels", "accuracy")
    )
    assert own[0] > own[1] > own[2] and new[0] < new[1] < new[2]
    assert own[0] > measured("ceiling", rankings=150).mean()  # above the ceiling even
