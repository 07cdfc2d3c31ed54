"""What the tests of lm and stages share: a tiny tokenizer, tiny models of two architectures, tiny data."""

import random

import pytest

WORDS = "anna dragon castle friends walked princess found a the with".split()


def sentence(rng: random.Random, low: int = 3, high: int = 8) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))


@pytest.fixture(scope="session")
def tokenizer():
    from rlhf_lessons.lm.tokenizer import train_tokenizer

    rng = random.Random(0)
    return train_tokenizer([sentence(rng, 20, 30) + " What is 4-2?\nWrite about" for _ in range(200)], 320)


@pytest.fixture
def llama(tokenizer):
    return tiny_llama(tokenizer)


@pytest.fixture
def gpt2(tokenizer):
    return tiny_gpt2(tokenizer)


@pytest.fixture(params=["llama", "gpt2"])
def any_model(request, tokenizer):
    """A causal LM of each kind that differs in how it sees positions: rotary in Llama, learned in GPT-2."""
    return tiny_llama(tokenizer) if request.param == "llama" else tiny_gpt2(tokenizer)


def tiny_llama(tokenizer, seed: int = 0):
    from rlhf_lessons.lm.models import new_model, toy_config

    return louder(new_model(toy_config(len(tokenizer), layers=2, width=32, heads=2, mlp=64), seed))


def tiny_gpt2(tokenizer, seed: int = 0):
    from transformers import GPT2Config

    from rlhf_lessons.lm.models import new_model

    return louder(new_model(GPT2Config(vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=2,
                                       pad_token_id=0, bos_token_id=1, eos_token_id=2), seed))


def louder(model):
    """Larger weights: a fresh model's answers hardly depend on its input, which would hide mistakes."""
    import torch

    torch.set_num_threads(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(5)
    return model


@pytest.fixture(scope="session")
def demonstrations():
    """Each prompt names a word, and its answer begins with that word."""
    rng = random.Random(1)
    return [{"prompt": f"Write about {word}.", "completion": f"{word} {sentence(rng)}"} for word in WORDS[:6] * 8]


@pytest.fixture(scope="session")
def rankings():
    """Answers ranked by how often they say anna, which is also their true utility."""
    rng, rows = random.Random(2), []
    for _ in range(160):
        texts = [sentence(rng) for _ in range(4)]
        marks = [float(text.count("anna")) for text in texts]
        rows.append({"prompt": f"Write about {rng.choice(WORDS)}.", "completions": texts, "scores": marks,
                     "utilities": marks})
    return rows
