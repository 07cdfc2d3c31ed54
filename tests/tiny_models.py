"""Tiny models of two architectures and the words that they know.

PyTorch is loaded only when one is made.
"""

import random

WORDS = "anna dragon castle friends walked princess found a the with".split()


def sentence(rng: random.Random, low: int = 3, high: int = 8) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))


def tiny_llama(tokenizer, seed: int = 0):
    from rlhf_lessons.lm.models import new_model, toy_config

    return louder(new_model(toy_config(len(tokenizer), layers=2, width=32, heads=2, mlp=64), seed))


def tiny_gpt2(tokenizer, seed: int = 0):
    from transformers import GPT2Config

    from rlhf_lessons.lm.models import new_model

    return louder(
        new_model(
            GPT2Config(
                vocab_size=len(tokenizer),
                n_positions=128,
                n_embd=32,
                n_layer=2,
                n_head=2,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            ),
            seed,
        )
    )


def louder(model):
    """Larger weights: a fresh model's answers hardly depend on its input, which hides mistakes."""
    import torch

    torch.set_num_threads(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(5)
    return model
