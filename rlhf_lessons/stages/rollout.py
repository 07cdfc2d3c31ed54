"""A batch of responses for any method that learns from rewards: sample, score, ask the reference.

There is no critic here. PPO adds values; a method with a baseline of its own needs none.

What a stage takes from here it calls through the module, `rollout.last_scores(...)`, and `generate`
is looked up here: `exercises/bugs.py` swaps these by name.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm.sampling import (
    eval_mode,
    gather_logprobs,
    generate,
    micro_batches,
    response_logits,
    token_scores,
)

MICRO_BATCH = 64  # rows of similar length in one pass: decides speed and memory, not the result


@dataclass
class Rollout:
    """A batch of responses, on the policy's device.

    Prompts are padded on the left and responses on the right, so that all responses begin at the
    column `context_length`. The response tensors begin there: (batch, response length).
    """

    prompts: list[str]
    responses: list[str]
    ids: Tensor  # (batch, context length + response length)
    attention_mask: Tensor  # the same shape, True where ids are no padding
    context_length: int
    response_mask: Tensor  # (batch, response length), the part of `attention_mask` that is response
    old_logprobs: Tensor  # (batch, response length), of the policy that sampled; 0 on padding
    reference_logprobs: Tensor  # (batch, response length); 0 on padding
    ended: Tensor  # (batch,), whether a response has an end token
    scores: Tensor  # (batch,), what the reward says


def sample_rollout(
    policy,
    reference,
    reward,
    tokenizer,
    prompts: list[str],
    prompt_ids: list[list[int]],
    suppressed: list[int],
    config,
    seed: int,
) -> Rollout:
    """Sample a response to each prompt and judge it.

    `reward` is a reward model or a function (prompts, responses, ended) -> (batch,); of `config`,
    `max_new_tokens` and `temperature` are read.
    """
    device = policy.device
    # 1. Sample responses, each cut at its end token.
    samples = generate(
        policy, tokenizer, prompt_ids, config.max_new_tokens, config.temperature, seed
    )
    ids = torch.cat([samples.prompt_tokens, samples.tokens], 1)
    attention_mask = torch.cat([samples.prompt_mask, samples.response_mask], 1)
    context_length = samples.prompt_tokens.shape[1]
    # 2. Score each response at its last token.
    if isinstance(reward, nn.Module):
        scores = score_ids(reward, ids, attention_mask)
    else:
        scores = reward(prompts, samples.texts, samples.ended)
    # 3. Ask the reference how likely each token is, under the distribution sampled from.
    reference_logprobs = torch.zeros(samples.tokens.shape, device=device)
    for rows, columns in micro_batches(attention_mask, MICRO_BATCH):
        batch = ids[rows, columns], attention_mask[rows, columns]
        length = columns.stop - context_length
        logprobs, _ = response_logprobs(reference, *batch, length, config.temperature, suppressed)
        reference_logprobs[rows, :length] = logprobs
    return Rollout(
        prompts,
        samples.texts,
        ids,
        attention_mask,
        context_length,
        samples.response_mask,
        samples.logprobs,
        reference_logprobs,
        samples.ended,
        torch.as_tensor(scores, dtype=torch.float32, device=device),
    )


def response_logprobs(
    model,
    ids: Tensor,
    attention_mask: Tensor,
    response_length: int,
    temperature: float,
    suppressed: list[int],
) -> tuple[Tensor, Tensor]:
    """Return log-probs (batch, response length) under the distribution sampled from, and logits."""
    logits = response_logits(model, ids, attention_mask, response_length, temperature, suppressed)
    responses = ids[:, -response_length:]
    return gather_logprobs(logits, responses, attention_mask[:, -response_length:]), logits


def last_scores(model, ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the head's output (batch,) at each row's last token, wherever the padding is."""
    last = attention_mask.shape[1] - 1 - attention_mask.long().flip(1).argmax(1)
    return token_scores(model, ids, attention_mask).gather(1, last[:, None])[:, 0]


@torch.no_grad()
def score_ids(model, ids: Tensor, attention_mask: Tensor, batch_size: int = 128) -> Tensor:
    """Return the rewards (batch,) of prompts and responses as ids (batch, time), on model's device.

    The model scores without dropout, and is left in the mode it was in.
    """
    ids = ids.to(model.device)
    attention_mask = attention_mask.to(model.device)
    scores = torch.zeros(len(ids), device=model.device)
    with eval_mode(model):
        for rows, columns in micro_batches(attention_mask, batch_size):
            scores[rows] = last_scores(model, ids[rows, columns], attention_mask[rows, columns])
    return scores - model.config.reward_mean
