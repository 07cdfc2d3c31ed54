"""LoRA: at first the same model; a trunk that training leaves alone; in the end plain models."""

import copy

import pytest
import torch
from tiny_models import tiny_llama

from rlhf_lessons.lm.adapters import Shared, adapters, add_lora, merged
from rlhf_lessons.lm.models import load_model, save_model, to_reward_model
from rlhf_lessons.lm.sampling import generate, logprobs_of, pad, token_scores
from rlhf_lessons.stages.config import DPOConfig, PPOConfig, RewardConfig, RLOOConfig, SFTConfig
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import RewardModelling
from rlhf_lessons.stages.rloo import RLOO
from rlhf_lessons.stages.run import load_state, save_state
from rlhf_lessons.stages.sft import SFT

pytest.importorskip("peft")
PROMPTS = ["Write about anna.", "What is 4-2?", "a"]
ROWS = [[7, 80, 9, 100, 33], [50, 60, 70], [200, 5]]


def numbers(model) -> torch.Tensor:
    with torch.no_grad():
        return logprobs_of(model, *pad(ROWS, 0))


def moved(model):
    """An adapter that has learned something: its second matrices are no longer 0."""
    rng = torch.Generator().manual_seed(5)
    for _, module in adapters(model):
        weight = module.lora_B["default"].weight
        weight.data += 0.1 * torch.randn(weight.shape, generator=rng)
    return model


def trunk(model) -> list[torch.Tensor]:
    return [weight for weight in model.parameters() if isinstance(weight, Shared)]


def test_a_new_adapter_changes_no_number_and_few_weights_learn(any_model):
    before = numbers(any_model)
    model = add_lora(any_model)
    assert torch.equal(numbers(model), before)
    learning = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert 0 < learning < sum(weight.numel() for weight in trunk(model))
    assert not torch.allclose(numbers(moved(model)), before, atol=1e-2)


def test_a_model_in_bfloat16_learns_in_float32(llama, tokenizer):
    """What is sampled from the merged copy and what learns differ by the rounding of bfloat16."""
    policy = add_lora(llama.to(torch.bfloat16))
    dtypes = {weight.requires_grad: weight.dtype for weight in policy.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}
    scorer = to_reward_model(policy)
    for name, weight in scorer.named_parameters():
        assert weight.dtype == (torch.float32 if "lora" in name else torch.bfloat16), name
    config = PPOConfig(steps=2, batch_size=8, max_new_tokens=6, lr=1e-2, critic_warmup=0)
    for step in PPO(policy, tokenizer, scorer, PROMPTS, config):
        assert 0 < step.ratio_error < 0.2
    assert not torch.equal(numbers(policy), numbers(llama_of(policy)))


def llama_of(policy):
    """The model without what its adapter has learned."""
    plain = copy.deepcopy(policy)
    for _, module in adapters(plain):
        module.lora_B["default"].weight.data.zero_()
    return plain


def test_the_same_seed_gives_the_same_adapter(tokenizer):
    before = torch.random.get_rng_state()
    first, same, other = (add_lora(tiny_llama(tokenizer), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(numbers(moved(first)), numbers(moved(same)))
    assert not torch.equal(numbers(first), numbers(moved(other)))


def test_copies_share_the_trunk_and_have_adapters_of_their_own(any_model):
    model = moved(add_lora(any_model))
    other = copy.deepcopy(model)
    assert all(one is two for one, two in zip(trunk(model), trunk(other), strict=True))
    before = numbers(model)
    moved(other)
    assert torch.equal(numbers(model), before)
    assert not torch.allclose(numbers(other), before, atol=1e-2)


@pytest.mark.parametrize("layers", [None, 1])
def test_a_reward_model_shares_the_trunk_and_knows_what_the_adapter_knows(any_model, layers):
    model = moved(add_lora(any_model))
    with torch.no_grad():
        expected = to_reward_model(merged(model), layers)
        scorer = to_reward_model(model, layers)
        scores = [token_scores(each, *pad(ROWS, 0)) for each in (expected, scorer)]
    mask = pad(ROWS, 0)[1]
    assert torch.allclose(scores[0][mask], scores[1][mask], atol=1e-5)
    mine = {id(weight) for weight in trunk(model)}
    assert trunk(scorer) and all(id(weight) in mine for weight in trunk(scorer))
    assert scorer.score.weight.requires_grad


def test_merged_gives_the_same_numbers_and_leaves_the_model_as_it_was(any_model):
    assert merged(any_model) is any_model
    model = moved(add_lora(any_model))
    before, weights = numbers(model), [weight.clone() for weight in trunk(model)]
    plain = merged(model)
    assert not adapters(plain)
    assert torch.allclose(numbers(plain), before, atol=1e-5)
    assert torch.equal(numbers(model), before)
    assert all(map(torch.equal, trunk(model), weights))


def test_what_is_merged_shares_nothing_and_can_be_moved_and_trained(any_model, tokenizer):
    model = moved(add_lora(any_model))
    before = numbers(model)
    plain = merged(model)
    assert not trunk(plain)
    assert all(weight.requires_grad for weight in plain.parameters())
    tied = plain.get_input_embeddings().weight is plain.get_output_embeddings().weight
    assert tied == (any_model.get_input_embeddings().weight is any_model.lm_head.weight)
    plain.to(torch.bfloat16)
    assert torch.equal(numbers(model), before)


def test_an_adapter_that_is_switched_off_is_not_merged(any_model):
    before = numbers(any_model)
    model = moved(add_lora(any_model))
    model.disable_adapters()
    assert torch.allclose(numbers(model), before, atol=1e-5)
    assert torch.allclose(numbers(merged(model)), before, atol=1e-5)


def test_a_checkpoint_is_a_plain_model(any_model, tokenizer, tmp_path):
    model = moved(add_lora(any_model))
    save_model(model, tokenizer, tmp_path / "policy", {})
    loaded, _ = load_model(tmp_path / "policy")
    assert not adapters(loaded)
    assert torch.allclose(numbers(loaded), numbers(model), atol=1e-5)
    scorer = to_reward_model(model)
    save_model(scorer, tokenizer, tmp_path / "reward", {})
    loaded, _ = load_model(tmp_path / "reward")
    with torch.no_grad():
        scores = [token_scores(each, *pad(ROWS, 0)) for each in (scorer, loaded)]
    assert torch.allclose(*scores, atol=1e-5)


def test_sampling_gives_what_the_model_with_its_adapter_gives(any_model, tokenizer):
    model = moved(add_lora(any_model))
    samples, plain = (generate(each, tokenizer, PROMPTS, 6) for each in (model, merged(model)))
    assert samples.texts == plain.texts
    assert torch.allclose(samples.logprobs, plain.logprobs, atol=1e-5)


def stages(tokenizer, demonstrations, rankings):
    """Functions that make each stage afresh from a model with an adapter."""

    def on_policy(kind, config):
        model = moved(add_lora(tiny_llama(tokenizer)))
        return kind(model, tokenizer, to_reward_model(model), PROMPTS, config)

    few = {"steps": 3, "batch_size": 8, "max_new_tokens": 6}
    return {
        "sft": lambda: SFT(
            add_lora(tiny_llama(tokenizer)), tokenizer, demonstrations[:32], SFTConfig(epochs=2)
        ),
        "reward": lambda: RewardModelling(
            add_lora(tiny_llama(tokenizer)), tokenizer, rankings[:32], RewardConfig(epochs=2)
        ),
        "dpo": lambda: DPO(
            add_lora(tiny_llama(tokenizer)), tokenizer, rankings[:32], DPOConfig(epochs=2)
        ),
        "ppo": lambda: on_policy(PPO, PPOConfig(**few, critic_warmup=1)),
        "rloo": lambda: on_policy(RLOO, RLOOConfig(**few, group_size=4)),
    }


@pytest.mark.parametrize("name", ["sft", "reward", "dpo", "ppo", "rloo"])
def test_each_stage_trains_adapters_alone_and_resumes_bit_for_bit(
    name, tokenizer, demonstrations, rankings, tmp_path
):
    make = stages(tokenizer, demonstrations, rankings)[name]
    stage = make()
    model = next(iter(stage.models.values()))
    frozen = [weight.clone() for weight in trunk(model)]
    adapter = [weight.clone() for weight in model.parameters() if weight.requires_grad]
    next(stage)
    next(stage)
    save_state(stage.state_dict(), tmp_path / "state.pt")
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert frozen and all(map(torch.equal, trunk(model), frozen))
    assert not all(map(torch.equal, adapter, trained))
    kept = load_state(tmp_path / "state.pt")["models"]
    assert not any("embed" in weight for weight in kept), "the trunk is not saved with each state"
    again = make()
    again.load_state_dict(load_state(tmp_path / "state.pt"))
    for one, two in zip(stage, again, strict=True):
        assert one == two


def test_a_fresh_adapters_reference_is_the_model_itself(tokenizer):
    plain = tiny_llama(tokenizer)
    policy = add_lora(copy.deepcopy(plain))
    config = PPOConfig(steps=1, batch_size=8, max_new_tokens=6)
    stage = PPO(policy, tokenizer, to_reward_model(plain), PROMPTS, config)
    samples = generate(plain, tokenizer, PROMPTS, 6)
    expected = stage.logprobs_by(plain, samples)
    assert torch.equal(stage.logprobs_by(stage.reference, samples), expected)
    step = next(stage)
    assert step.ratio_error < 1e-4 and abs(step.kl) < 1e-4


def test_a_second_adapter_is_refused(llama):
    with pytest.raises(ValueError, match="has an adapter already"):
        add_lora(add_lora(llama))
