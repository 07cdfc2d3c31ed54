"""How far a policy has gone from the model that it was: measured on its own answers, without a
judge.
"""

import torch
from torch import Tensor

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.sampling import Samples, micro_batches, pad, response_logprobs, suppressed_ids
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages.dpo import response_totals

ROWS = 16  # in one pass: a large vocabulary makes many logits


@torch.no_grad()
def logratios(reference, tokenizer, samples: Samples, temperature: float = 1.0) -> Tensor:
    """Return log(policy / reference) of each response (batch,), in nats, sampled at `temperature`;
    the reference is asked at the same one.
    """
    theirs = torch.zeros_like(samples.logprobs[:, 0])
    suppressed = suppressed_ids(reference, tokenizer)
    for (rows, _), text in samples.parts():
        theirs[rows] = response_logprobs(reference, *text, temperature, suppressed)[0].sum(1)
    return samples.logprobs.sum(1) - processes.total(theirs)


def kl_from(reference, tokenizer, samples: Samples, temperature: float = 1.0) -> float:
    """Return the mean of `logratios`: the KL, in nats a response. Being an estimate, it may be
    below 0.
    """
    return logratios(reference, tokenizer, samples, temperature).mean().item()


@torch.no_grad()
def surprise(
    model, tokenizer, prompts: list[str], completions: list[str], ended: list[bool]
) -> tuple[Tensor, Tensor]:
    """Return how surprised a model is, at temperature 1, by each completion, in nats, and its
    number of tokens, both (batch,).
    """
    prompt_ids = encode_prompts(tokenizer, prompts)
    answers = encode_completions(tokenizer, completions, ended)
    rows = [prompt + answer for prompt, answer in zip(prompt_ids, answers, strict=True)]
    _, attention_mask = pad(rows, tokenizer.pad_token_id)
    nats = torch.zeros(len(rows), device=model.device)
    for part, _ in micro_batches(attention_mask, ROWS):
        some = part.tolist()
        starts = [len(prompt_ids[i]) for i in some]
        totals = response_totals(model, [rows[i] for i in some], starts, tokenizer.pad_token_id)
        nats[some] = -totals
    return processes.total(nats), torch.tensor(list(map(len, answers)), device=model.device)


def perplexity(model, tokenizer, *answers: list) -> float:
    """Return e to the mean nats a token, of all answers of `surprise` together.

    First tokens and ends surprise more than others, so compare answers of equal length.
    """
    nats, tokens = surprise(model, tokenizer, *answers)
    return (nats.sum() / tokens.sum()).exp().item()
