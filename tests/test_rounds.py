"""A round of the loop: PPO that starts from the last round's policy and says what a reader asks."""

import copy

import pytest
import tiny
import torch

from rlhf_lessons import plots
from rlhf_lessons.data import prompts_of
from rlhf_lessons.feedback.rounds import RoundPPO
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.ppo import PPO

CONFIG = PPOConfig(steps=3, batch_size=8, critic_warmup=1, lr=1e-2, max_new_tokens=12)
PROMPTS = prompts_of("train")[:12]


def round_of(policy, reference, shows=lambda text: True) -> RoundPPO:
    scorer = to_reward_model(tiny.model())
    return RoundPPO(
        policy, tiny.tokenizer(), scorer, PROMPTS, CONFIG, reference=reference, shows=shows
    )


def test_in_the_first_round_both_kls_are_one():
    sft = tiny.model()
    steps = list(round_of(copy.deepcopy(sft), sft))
    assert steps[-1]["kl"] != 0
    for step in steps:
        assert step["kl_before"] == pytest.approx(step["kl"], abs=1e-5)


def test_in_a_later_round_only_the_kl_to_the_round_before_begins_at_0():
    sft, policy = tiny.model(0), tiny.model(1)
    for weights in policy.parameters():  # untrained models all say nearly the same
        weights.data.mul_(5)
    first, *_ = round_of(policy, sft)
    assert first["kl_before"] == pytest.approx(0, abs=1e-5) and abs(first["kl"]) > 1e-3


def test_it_trains_as_ppo_does_and_counts_the_taste():
    mine, theirs, sft = tiny.model(1), tiny.model(1), tiny.model(0)
    seen = []

    def shows(text: str) -> bool:
        seen.append(text)
        return len(seen) % 4 == 0

    steps = list(round_of(mine, sft, shows))
    scorer = to_reward_model(tiny.model())
    package = PPO(theirs, tiny.tokenizer(), scorer, PROMPTS, CONFIG, reference=sft)
    for step, other in zip(steps, package, strict=True):
        assert step["in_taste"] == 0.25 and step["reward"] == other.reward
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_dashboard_draws_several_metrics_in_a_panel_and_names_each():
    steps = [{"step": i, "reward": 0.1 * i, "kl": i, "kl_before": 0.5 * i} for i in range(6)]
    panels = {"reward": {"reward": "reward"}, "KL": {"kl": "to SFT", "kl_before": "to before"}}
    figure = plots.ppo_dashboard(steps, panels=panels)
    left, right = figure.axes
    assert left.get_legend() is None
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["to SFT", "to before"]
    assert figure._suptitle.get_text().endswith("reward +0.30, to SFT +3.00")
