"""How far a policy has gone from the model that it was: measured on its own answers, without a
judge.
"""

import math

import torch

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.sampling import Samples, response_logprobs, suppressed_ids


def kl_from(reference, tokenizer, samples: Samples, temperature: float = 1.0) -> float:
    """Return the mean of log(policy / reference) of responses sampled at `temperature`, in nats a
    response; the reference is asked at the same one.
    """
    theirs = log_likelihood(reference, tokenizer, samples, temperature)
    return (samples.logprobs.sum().item() - theirs) / len(samples.ids)


def perplexity(model, tokenizer, samples: Samples) -> float:
    """Return e to the mean nats a token, of all responses together, under a model at temperature 1:
    how surprised it is by what another wrote.
    """
    tokens = samples.response_mask.sum().item()
    return math.exp(-log_likelihood(model, tokenizer, samples) / tokens)


@torch.no_grad()
def log_likelihood(model, tokenizer, samples: Samples, temperature: float = 1.0) -> float:
    """Return the log-probability of all responses together, in nats."""
    found = 0.0
    suppressed = suppressed_ids(model, tokenizer)
    for _, text in samples.parts():
        found += response_logprobs(model, *text, temperature, suppressed)[0].sum().item()
    return sum(processes.gather(found))
