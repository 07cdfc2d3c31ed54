"""The flight recorder: a token's parts are its advantage, and recording changes no training."""

import copy
import json

import pytest
import torch
from tiny_models import tiny_llama

from rlhf_lessons.evaluation.recorder import PARTS, RecordedPPO
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.ppo import PPO

PROMPTS = ["Write about anna.", "What is 4-2?"]
CONFIG = PPOConfig(steps=3, batch_size=16, critic_warmup=1, max_new_tokens=8, lr=1e-2)


@pytest.fixture(scope="module")
def run(tokenizer):
    model = tiny_llama(tokenizer)
    config = CONFIG
    run = RecordedPPO(
        model, tokenizer, to_reward_model(model), ["a", "b", "c"], config, PROMPTS, every=1
    )
    list(run)
    return run


def test_a_tokens_signed_parts_add_up_to_its_advantage(run):
    tokens = 0
    for frame in run.frames:
        for response in frame["responses"]:
            for i, advantage in enumerate(response["advantage"]):
                total = sum(response[part][i] for part in PARTS)
                assert total == pytest.approx(advantage, abs=1e-5)
                tokens += 1
    assert tokens > 20


def test_the_watched_prompts_lead_every_batch_and_are_kept(run):
    assert [frame["step"] for frame in run.frames] == [0, 1, 2]
    for frame in run.frames:
        assert [response["prompt"] for response in frame["responses"]] == PROMPTS
        for response in frame["responses"]:
            lengths = {len(response[name]) for name in ("tokens", "old", "new", "value", *PARTS)}
            assert len(lengths) == 1


def test_while_only_the_critic_learns_no_token_moves(run):
    first, second = run.frames[:2]
    assert not first["learns"] and second["learns"]
    for frame, moves in ((first, False), (second, True)):
        change = [
            new - old
            for response in frame["responses"]
            for new, old in zip(response["new"], response["old"], strict=True)
        ]
        assert (max(map(abs, change)) > 1e-3) == moves


def test_keeping_frames_changes_no_update(tokenizer):
    model = tiny_llama(tokenizer)
    reward = to_reward_model(model)
    recorded = RecordedPPO(
        copy.deepcopy(model), tokenizer, reward, ["a", "b"], CONFIG, PROMPTS, every=2
    )
    plain = PPO(copy.deepcopy(model), tokenizer, reward, [*PROMPTS, "a", "b"], CONFIG)
    plain.prompt_rows = recorded.prompt_rows
    for one, other in zip(recorded, plain, strict=True):
        assert one == other
    for one, other in zip(recorded.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_recording_is_plain_data(run):
    assert json.loads(json.dumps(run.frames)) == run.frames


def test_each_part_is_what_it_is_called(tokenizer):
    """Without a KL penalty its part is 0; with lambda 1 the score reaches every token whole."""
    model = tiny_llama(tokenizer)
    config = PPOConfig(
        steps=1, batch_size=8, num_minibatches=1, max_new_tokens=6, kl_coef=0.0, gae_lambda=1.0
    )
    run = RecordedPPO(model, tokenizer, to_reward_model(model), ["a"], config, PROMPTS)
    list(run)
    for response in run.frames[0]["responses"]:
        assert set(response["kl"]) == {0.0}
        assert max(response["score"]) - min(response["score"]) < 1e-5
        paid = response["reward"] - (not response["ended"])
        assert response["score"][0] * paid > 0
        assert response["baseline"][0] * response["value"][0] < 0
