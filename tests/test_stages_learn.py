"""Each stage learns what it is for, on a tiny model in seconds."""

import math
import random

import pytest
import torch
from tiny_models import WORDS, sentence, tiny_gpt2, tiny_llama

from rlhf_lessons.evaluation.probes import probe
from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.lm.models import new_model, to_reward_model, toy_config
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.stages.config import PPOConfig, PretrainConfig, RewardConfig, SFTConfig
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.pretrain import Pretrain, validation_loss
from rlhf_lessons.stages.reward import RewardModelling, normalise, score
from rlhf_lessons.stages.sft import SFT, encode_demonstrations, sft_loss


@pytest.fixture(scope="module")
def corpus(tokenizer):
    """Text in which each word is followed by the next of the list, so that it can be predicted."""
    rng, words = random.Random(0), []
    for _ in range(700):
        start = rng.randrange(len(WORDS))
        words += [WORDS[(start + i) % len(WORDS)] for i in range(5)]
    return torch.tensor(tokenizer(" ".join(words))["input_ids"])


def small_llama(tokenizer):
    return new_model(toy_config(len(tokenizer), layers=2, width=32, heads=2, mlp=64), seed=0)


@pytest.fixture(scope="module")
def sft_model(tokenizer, demonstrations):
    """Answers any prompt with about five words."""
    model = small_llama(tokenizer)
    list(SFT(model, tokenizer, demonstrations, SFTConfig(epochs=20, lr=5e-3)))
    return model


def test_pretraining_learns_which_word_follows(tokenizer, corpus):
    model = small_llama(tokenizer)
    held_out, before = corpus[-600:], validation_loss(model, corpus[-600:], 32)
    steps = list(
        Pretrain(
            model,
            corpus[:-600],
            held_out,
            PretrainConfig(steps=120, context=32, lr=1e-2, warmup=10),
        )
    )
    assert before == pytest.approx(math.log(len(tokenizer)), abs=0.3)  # a fresh model knows nothing
    # Every fifth word is one of ten (2.3 nats), the four others are certain: 0.46 nats a word,
    # less a token.
    assert steps[-1].validation_loss < 0.8
    assert steps[-1].validation_loss == pytest.approx(validation_loss(model, held_out, 32))
    assert (
        probe(
            model,
            tokenizer,
            [(" anna dragon castle", " friends"), (" friends walked", " princess")],
        )
        == 1.0
    )
    assert probe(model, tokenizer, [(" anna dragon castle", " anna")]) == 0.0


def test_pretraining_refuses_a_text_that_fills_no_batch(tokenizer, corpus):
    with pytest.raises(ValueError, match="fill a batch"):
        Pretrain(small_llama(tokenizer), corpus[:100], corpus, PretrainConfig())


def test_pretraining_sees_all_text_once_before_any_again(tokenizer, corpus):
    run = Pretrain(small_llama(tokenizer), corpus, corpus, PretrainConfig(batch_size=4, context=16))
    text = torch.arange(len(corpus))
    run.tokens = text
    steps = run.windows // 4
    starts = [int(row[0]) for step in range(steps) for row in run.batch(step)]
    assert len(set(starts)) == 4 * steps and {start % 16 for start in starts} == {starts[0] % 16}
    assert run.batch(0).shape == (4, 17) and torch.equal(run.batch(0), run.batch(0))


def test_sft_learns_to_answer_and_to_end(tokenizer):
    rows = [
        {"prompt": f"Write about {word}.", "completion": f"{word} walked with the {other}"}
        for word, other in zip(WORDS[:6], WORDS[3:9], strict=True)
    ]
    model = small_llama(tokenizer)

    def loss() -> float:
        with torch.no_grad():
            encoded = encode_demonstrations(tokenizer, rows)
            return sft_loss(model, encoded, tokenizer.pad_token_id).item()

    before = loss()
    list(SFT(model, tokenizer, rows, SFTConfig(epochs=240, batch_size=6, lr=1e-2)))
    samples = generate(model, tokenizer, [row["prompt"] for row in rows], 40, temperature=0)
    assert loss() < 0.1 < before
    assert samples.texts == [row["completion"] for row in rows] and samples.ended.all()


def test_a_head_of_scale_0_begins_without_an_opinion(tokenizer, rankings):
    config = RewardConfig(head_scale=0.0, batch_size=8)
    first = next(RewardModelling(small_llama(tokenizer), tokenizer, rankings[:16], config))
    assert first.loss == pytest.approx(math.log(2)) and first.accuracy == 0
    heads = []
    for scale in (0.05, 1.0):
        config = RewardConfig(head_scale=scale)
        run = RewardModelling(small_llama(tokenizer), tokenizer, rankings[:16], config)
        heads.append(run.model.score.weight.detach())
    torch.testing.assert_close(heads[0], 0.05 * heads[1])


def test_reward_model_learns_the_order_and_shuffled_labels_teach_nothing(tokenizer, rankings):
    accuracy, config = {}, RewardConfig(epochs=4, batch_size=8, lr=3e-3, warmup=5)
    shuffled = [
        {**row, "scores": random.Random(i).sample(row["scores"], 4)}
        for i, row in enumerate(rankings)
    ]
    for name, rows in {"true": rankings, "shuffled": shuffled}.items():
        run = RewardModelling(small_llama(tokenizer), tokenizer, rows[:120], config)
        steps = list(run)
        accuracy[name] = report(run.model, tokenizer, rankings[120:]).accuracy
        assert name == "shuffled" or steps[-1].accuracy > 0.9
    assert accuracy["true"] > 0.9
    assert 0.3 < accuracy["shuffled"] < 0.7  # 40 rankings, about 150 pairs that are not independent


def test_normalised_scores_have_mean_zero_and_deviation_one_and_keep_their_order(tokenizer):
    model = to_reward_model(tiny_llama(tokenizer))
    rng = random.Random(0)
    texts = [sentence(rng) for _ in range(50)]
    prompts = ["Write about anna."] * 50
    before = score(model, tokenizer, prompts, texts)
    normalise(model, tokenizer, prompts, texts)
    after = score(model, tokenizer, prompts, texts)
    assert (after.mean().item(), after.std().item()) == pytest.approx((0, 1), abs=1e-4)
    expected = (before - before.mean()) / before.std()
    torch.testing.assert_close(after, expected, atol=1e-4, rtol=1e-4)


def anna_share(prompts, texts, ended):
    """A reward that can be understood: the share of words that are anna."""
    return (
        torch.tensor([text.split().count("anna") / max(len(text.split()), 1) for text in texts]) * 4
    )


def test_ppo_learns_to_write_what_is_rewarded(tokenizer, sft_model):
    import copy

    prompts = [f"Write about {word}." for word in WORDS[:6]]
    config = PPOConfig(
        steps=14, batch_size=64, max_new_tokens=24, critic_warmup=2, lr=4e-3, critic_lr=4e-3
    )
    run = PPO(
        copy.deepcopy(sft_model),
        tokenizer,
        anna_share,
        prompts,
        config,
        critic_init=to_reward_model(sft_model),
        true_utility=anna_share,
    )
    steps = list(run)
    first, last = steps[0], steps[-1]
    assert last.reward > first.reward + 0.8 and last.true_utility == pytest.approx(last.reward)
    assert first.kl == pytest.approx(0, abs=1e-3) and last.kl > 0.3
    assert last.explained_variance > first.explained_variance
    assert all(
        step.ratio_error < 1e-4 and step.entropy > 0 and 0 <= step.clip_fraction <= 1
        for step in steps
    )
    assert last.ended > 0.8


def test_ppo_works_on_gpt2_too(tokenizer):
    model = tiny_gpt2(tokenizer)
    config = PPOConfig(steps=2, batch_size=16, max_new_tokens=8, critic_warmup=0)
    for step in PPO(model, tokenizer, to_reward_model(model), ["Write about anna.", "a"], config):
        assert step.ratio_error < 1e-4 and math.isfinite(step.policy_loss)
