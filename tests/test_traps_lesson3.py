"""The traps of lesson 3 bite, and leave the right functions behind them."""
import math

import pytest
import tiny
import torch

from rlhf_lessons.lm.batching import pad
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages import reward
from rlhf_lessons.stages.reward import RewardConfig, RewardModelling, score
from rlhf_lessons.traps import trap

PROMPT = "What is 1+2 and 3-1?"


def thumbs(rankings: int = 8) -> list[dict]:
    """Rankings of six answers; one has a thumb up, and five are equal."""
    rows = []
    for n in range(rankings):
        texts = ["3 and 2.", *(f"{'no ' * k}goat {n}." for k in range(1, 6))]
        turn = n % 6
        rows.append({"prompt": PROMPT, "completions": texts[turn:] + texts[:turn],
                     "scores": ([1.0] + [0.0] * 5)[turn:] + ([1.0] + [0.0] * 5)[:turn]})
    return rows


def losses(rows: list[dict]) -> list[float]:
    config = RewardConfig(epochs=6, batch_size=4, lr=3e-3, warmup=2)
    return [step.loss for step in RewardModelling(tiny.model(), tiny.tokenizer(), rows, config)]


def test_ties_in_the_loss_keep_it_near_log_2():
    healthy = losses(thumbs())
    with trap("ties in the loss"):
        broken = losses(thumbs())
    assert healthy[-1] < 0.3  # five pairs of each ranking, and all can be learned
    assert broken[-1] > 0.4 and broken[-1] > healthy[-1] + 0.2  # ten of fifteen are coins, worth log 2 each
    assert all(math.isfinite(loss) for loss in broken)


def test_ties_become_pairs_won_by_whichever_stands_first():
    row, right = {"prompt": PROMPT, "completions": ["a", "b", "c"], "scores": [0.0, 1.0, 0.0]}, reward.to_rankings
    with trap("ties in the loss"):
        (ranking,) = reward.to_rankings(tiny.tokenizer(), [row])
        assert sorted(pair[:2] for pair in ranking.pairs) == [(0, 2), (1, 0), (1, 2)]
        assert reward.to_rankings(tiny.tokenizer(), [{"prompt": PROMPT, "chosen": "a", "rejected": "b"}])
    assert reward.to_rankings is right
    (ranking,) = reward.to_rankings(tiny.tokenizer(), [row])
    assert sorted(pair[:2] for pair in ranking.pairs) == [(1, 0), (1, 2)]


def test_a_reward_read_at_padding_depends_on_the_company():
    model, tokenizer, right = to_reward_model(tiny.model()), tiny.tokenizer(), reward.last_scores
    short, long = "3 and 2.", "3 and 2, and a goat, and another goat, and soup."

    def alone_and_beside() -> tuple[float, float]:
        return (score(model, tokenizer, [PROMPT], [short])[0].item(),
                score(model, tokenizer, [PROMPT] * 2, [short, long])[0].item())
    with trap("reward read at padding"):
        alone, beside = alone_and_beside()
    assert abs(alone - beside) > 1e-2
    assert reward.last_scores is right
    alone, beside = alone_and_beside()
    assert alone == pytest.approx(beside, abs=1e-5)


def test_a_row_without_padding_is_read_rightly_all_the_same():
    model, (ids, mask) = to_reward_model(tiny.model()), pad([[5, 6, 7], [8, 9, 10]], 0)
    with torch.no_grad():
        right = reward.last_scores(model, ids, mask)
        with trap("reward read at padding"):
            assert torch.equal(reward.last_scores(model, ids, mask), right)
