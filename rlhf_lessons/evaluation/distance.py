"""How far a policy has gone from the model that it was: measured on its own answers, without a
judge.
"""

import math

import torch

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.sampling import Samples, micro_batches, pad, response_logprobs, suppressed_ids
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages.dpo import response_totals

ROWS = 16  # in one pass: a large vocabulary makes many logits


@torch.no_grad()
def kl_from(reference, tokenizer, samples: Samples, temperature: float = 1.0) -> float:
    """Return the mean of log(policy / reference) of responses sampled at `temperature`, in nats a
    response; the reference is asked at the same one. Being an estimate, it may be below 0.
    """
    theirs = 0.0
    suppressed = suppressed_ids(reference, tokenizer)
    for _, text in samples.parts():
        theirs += response_logprobs(reference, *text, temperature, suppressed)[0].sum().item()
    return (samples.logprobs.sum().item() - sum(processes.gather(theirs))) / len(samples.ids)


@torch.no_grad()
def perplexity(
    model, tokenizer, prompts: list[str], completions: list[str], ended: list[bool]
) -> float:
    """Return e to the mean nats a token, of all completions together, under a model at temperature
    1: how surprised it is by what another wrote.

    First tokens and ends surprise more than others, so compare answers of equal length.
    """
    prompt_ids = encode_prompts(tokenizer, prompts)
    answers = encode_completions(tokenizer, completions, ended)
    rows = [prompt + answer for prompt, answer in zip(prompt_ids, answers, strict=True)]
    _, attention_mask = pad(rows, tokenizer.pad_token_id)
    found = 0.0
    for part, _ in micro_batches(attention_mask, ROWS):
        some = part.tolist()
        starts = [len(prompt_ids[i]) for i in some]
        totals = response_totals(model, [rows[i] for i in some], starts, tokenizer.pad_token_id)
        found -= totals.sum().item()
    return math.exp(sum(processes.gather(found)) / sum(map(len, answers)))
