"""The mistakes of lesson 7 bite where they should, and are gone after their block."""

import copy

import pytest
import tiny
import torch

from rlhf_lessons.exercises.bugs import BUGS, bug
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages import dpo, losses
from rlhf_lessons.stages.config import DPOConfig, GRPOConfig, RLOOConfig
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.rloo import GRPO, RLOO

STAGES = {"groups mixed up": RLOO, "k3 turned round": GRPO, "pairs turned round": DPO}


def first_steps(stage, model, tokenizer):
    """What two steps give: in the first, policy and reference are still the same."""
    policy = copy.deepcopy(model)
    if stage is DPO:
        config = DPOConfig(batch_size=4, lr=1e-2, warmup=0)
        run = DPO(policy, tokenizer, tiny.comparisons(), config)
    else:
        few = {"batch_size": 32, "num_minibatches": 2, "max_new_tokens": 12, "lr": 1e-2}
        settings = GRPOConfig if stage is GRPO else RLOOConfig
        config = settings(steps=2, group_size=4, kl_coef=0.5, **few)
        prompts = ["Write about anna.", "Write about paul.", "Work out 1+2."] * 4
        run = stage(policy, tokenizer, to_reward_model(model), prompts, config)
    return [step for _, step in zip(range(2), run)]


@pytest.mark.parametrize("name", STAGES)
def test_the_stage_itself_runs_into_the_bug(llama, tokenizer, name):
    before = losses.leave_one_out, losses.kl_k3, dpo.flat_pairs
    healthy = first_steps(STAGES[name], llama, tokenizer)
    with bug(name):
        broken = first_steps(STAGES[name], llama, tokenizer)
    assert broken != healthy == first_steps(STAGES[name], llama, tokenizer)
    assert before == (losses.leave_one_out, losses.kl_k3, dpo.flat_pairs)
    assert BUGS[name].look.endswith(".")


def test_mixed_groups_compare_answers_to_other_prompts():
    alike = torch.tensor([1.0, 1, 1, 5, 5, 5])  # two prompts, each with three equal answers
    assert losses.leave_one_out(alike, 3).abs().max() == 0
    with bug("groups mixed up"):
        mixed = losses.leave_one_out(alike, 3)
        own = losses.leave_one_out(torch.arange(6.0), 6)
    assert mixed[:3].max() < 0 < mixed[3:].min()
    assert torch.equal(own, losses.leave_one_out(torch.arange(6.0), 6)), "one prompt: none to mix"


def test_k3_turned_round_is_another_price_with_another_slope():
    logratio = torch.tensor([-2.0, 0.0, 2.0])
    with bug("k3 turned round"):
        turned = losses.kl_k3(logratio)
    assert turned.tolist() == pytest.approx(losses.kl_k3(-logratio).tolist())
    assert turned[2] > 4 > 2 > losses.kl_k3(logratio)[2] and turned[1] == 0


def test_turned_pairs_look_healthy_in_the_log_and_prefer_what_was_rejected(llama, tokenizer):
    rows = [row for row in tiny.comparisons() if "chosen" in row]
    assert rows
    config = DPOConfig(batch_size=len(rows), epochs=8, lr=1e-2, warmup=0)
    policy = copy.deepcopy(llama)
    with bug("pairs turned round"):
        logged = list(DPO(policy, tokenizer, rows, config, reference=llama))
    assert logged[-1].accuracy > 0.9 and logged[-1].loss < logged[0].loss
    prompts = [row["prompt"] for row in rows]
    rewards = [
        dpo.implicit_rewards(policy, llama, tokenizer, prompts, [row[name] for row in rows])
        for name in ("chosen", "rejected")
    ]
    assert (rewards[0] < rewards[1]).float().mean() > 0.9
