"""Exercises of lesson 7: baselines from a group, GRPO's loss, DPO, and a loop to repair."""

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import exercise
from rlhf_lessons.exercises.inputs import rows, some, tensors


@exercise(
    tensors([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]]),
    (some(4, 8, seed=1),),
    (some(3, 2, seed=2),),
    (some(1, 5, seed=3),),
)
def leave_one_out(scores):
    """Each score less the mean of the others to the same prompt."""
    size = scores.shape[1]
    others = scores.sum(1, keepdim=True) - scores
    return scores - others / (size - 1)


@exercise(
    tensors([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]),
    (some(4, 8, seed=1),),
    tensors([[2.0, 2.0, 2.0], [1.0, 0.0, 0.0]]),
    tensors([[7.0, 7.002], [1.0, 4.0]]),
)
def group_advantages(scores):
    """GRPO: each score less its group's mean, over the group's deviation."""
    mean = scores.mean(1, keepdim=True)
    deviation = scores.std(1, keepdim=True)
    return (scores - mean) / (deviation + 1e-4)


def grouped(*lengths, time=0, clip=0.2, padding=1.0):
    """Return log-probs after and before an update, an advantage for each response, mask and
    clip."""
    new, moved, mask = rows(*lengths, count=2, time=time)
    old = new - (0.4 * moved).where(mask, padding)
    return new - 2, old - 2, some(len(lengths), seed=sum(lengths)), mask, clip


@exercise(
    grouped(6, 2, 1, time=7),
    grouped(3, 5, clip=0.1),
    grouped(4, 1, time=6, padding=1e4),
    gradients=1,
)
def grpo_loss(logprobs, old, advantages, mask, clip):
    """The mean over responses of the mean over their tokens; padding may hold anything."""
    ratio = (logprobs - old).masked_fill(~mask, 0.0).exp()
    gain = advantages[:, None]
    held = ratio.clamp(1 - clip, 1 + clip)
    losses = -torch.minimum(ratio * gain, held * gain)
    losses = losses.masked_fill(~mask, 0.0)
    by_response = losses.sum(1) / mask.sum(1)
    return by_response.mean()


def compared(n, seed=0, scale=1.0, beta=0.1):
    """Return log-probs of policy and reference, of chosen and rejected responses, and beta."""
    return *(some(4, n, seed=seed, scale=scale) - 20), beta


@exercise(
    compared(5),
    compared(3, seed=1, beta=0.5),
    compared(4, seed=2, scale=3e4, beta=1.0),
    gradients=2,
)
def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    """The Bradley-Terry loss of the implicit rewards, the mean over pairs."""
    better = beta * (chosen - reference_chosen)
    worse = beta * (rejected - reference_rejected)
    return -F.logsigmoid(better - worse).mean()


@exercise(
    (*tensors([0.5, 0.3, 0.2], [0.0, 1.0, -1.0]), 1.0),
    (*tensors([0.1, 0.2, 0.3, 0.4], [2.0, 0.0, 0.0, 1.0]), 0.25),
    (some(6, seed=1).softmax(0), some(6, seed=2), 3.0),
    (*tensors([0.7, 0.2, 0.1], [900.0, 1000.0, 0.0]), 1.0),
)
def best_policy(reference, rewards, beta):
    """The policy that is best for reward less beta times KL."""
    logits = reference.log() + rewards / beta
    return logits.softmax(0)


@exercise(*((p, least) for p in (0.02, 0.1, 0.3, 0.5, 0.8, 0.95) for least in (0.5, 0.9)))
def group_size_needed(p, least):
    """The smallest group that holds right and wrong answers with a probability of `least`."""
    size = 2
    while 1 - p**size - (1 - p) ** size < least:
        size += 1
    return size


@exercise(
    (some(3, seed=6), some(3, seed=7), 0.5),
    (some(4, seed=8), some(4, seed=9), 1.0),
)
def rloo_update(logits, rewards, beta):
    """One exact step of RLOO with groups of two: reward less KL, the other one as the baseline."""
    start = torch.zeros_like(logits).log_softmax(0)
    logits = logits.detach().requires_grad_()
    logprobs = logits.log_softmax(0)
    price = beta * (logprobs.detach() - start)
    paid = rewards - price
    advantages = paid[:, None] - paid[None, :]
    chance = logprobs.detach().exp()
    both = chance[:, None] * chance[None, :]
    loss = -(both * advantages * logprobs[:, None]).sum()
    (gradient,) = torch.autograd.grad(loss, logits)
    return logits.detach() - 2.0 * gradient
