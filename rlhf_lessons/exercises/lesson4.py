"""Exercises of lesson 4: the arithmetic of PPO."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import exercise, mask_of, picked, some, tokens


@exercise(
    (some(2, 3, 5, seed=1), tokens(2, 3, below=5), 0.7),
    (some(2, 3, 5, seed=2, scale=3.0), tokens(2, 3, below=5, seed=1), 1.0),
    (some(1, 1, 4, seed=3), tokens(1, 1, below=4), 2.0),
    (some(1, 2, 3, seed=4, scale=1e4), tokens(1, 2, below=3), 0.5),
)
def sampled_logprobs(logits, tokens, temperature):
    """The log-probability of each token, at the temperature at which it was drawn."""
    logprobs = (logits.double() / temperature).log_softmax(-1)
    return picked(logprobs, tokens)


def answers(*lengths, time, seed, beta, padding=None):
    """Return log-probs of policy and reference, mask, scores and beta."""
    mask = mask_of(*lengths, time=time)
    policy, reference = some(2, *mask.shape, seed=seed) - 1
    if padding is not None:
        policy, reference = policy.where(mask, padding), reference.where(mask, padding)
    return policy, reference, mask, some(len(lengths), seed=seed + 1), beta


@exercise(
    answers(4, 2, 1, time=6, seed=1, beta=0.1),
    answers(6, 2, 5, time=6, seed=5, beta=0.1),
    answers(1, time=1, seed=7, beta=0.3),
    answers(3, 2, time=4, seed=8, beta=0.2, padding=-math.inf),
)
def token_rewards(policy, reference, mask, scores, beta):
    """Each token pays for its KL; the last real one gets the score."""
    last = mask.sum(1) - 1
    rewards = (-beta * (policy - reference)).masked_fill(~mask, 0.0)
    rewards[torch.arange(len(mask)), last] += scores
    return rewards


@exercise(
    (torch.tensor([0.5, -1.0, 2.0, 0.0]),),
    (torch.tensor([1e-4, -5.0, 8.0]),),
    (some(3, 4, seed=1),),
)
def kl_estimates(logratio):
    """Schulman's three estimates of the KL, k1, k2 and k3, of each token."""
    x = logratio
    return x, x**2 / 2, torch.expm1(-x) + x


@exercise(
    (*some(2, 3, 6, seed=1), mask_of(4, 2, 1, time=6), 0.9),
    (*some(2, 2, 5, seed=2), mask_of(5, 3), 0.5),
    (*some(2, 2, 4, seed=4), mask_of(3, 2, time=4), 0.0),
    (*some(2, 1, 1, seed=5), mask_of(1), 0.95),
)
def gae(rewards, values, mask, lam):
    """Advantages of answers that end with their mask, without discount."""
    following = F.pad(values * mask, (0, 1))[:, 1:]
    deltas = (rewards + following - values) * mask
    advantages, later = torch.zeros_like(deltas), 0.0
    for t in reversed(range(mask.shape[1])):
        later = deltas[:, t] + lam * later
        advantages[:, t] = later
    return advantages * mask


def old_and_new(*lengths, time, seed, clip=0.2, padding=1.0):
    """Return log-probs after and before an update, advantages, mask and clip."""
    mask = mask_of(*lengths, time=time)
    new, moved, advantages = some(3, *mask.shape, seed=seed)
    old = torch.where(mask, new - 0.4 * moved, new - padding)
    return (new - 2).requires_grad_(), old - 2, advantages, mask, clip


@exercise(
    old_and_new(5, 2, time=6, seed=1),
    old_and_new(4, 1, 3, time=4, seed=2, clip=0.1),
    old_and_new(3, 1, time=5, seed=4, padding=1e4),
)
def clipped_policy_loss(logprobs, old, advantages, mask, clip):
    """PPO's loss, the mean over the real tokens; padding may hold anything."""
    new, old, gain = (x[mask] for x in (logprobs, old, advantages))
    ratio = (new - old).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    losses = -torch.minimum(ratio * gain, held * gain)
    return losses.mean()


@exercise(
    (3 * some(2, 6, seed=1) + 2, mask_of(4, 2, time=6)),
    (3 * some(3, 5, seed=2) - 1, mask_of(3, 1, 5)),
    (torch.tensor([[3.0, 9.0]]), mask_of(1, time=2)),
    (
        torch.tensor([[1.0, 4.0, math.nan], [2.0, math.inf, -math.inf]]),
        mask_of(2, 1, time=3),
    ),
)
def whiten(x, mask):
    """Mean 0 and deviation 1 over the real tokens of the batch; 0 on padding."""
    real = x[mask]
    whitened = (x - real.mean()) / (real.var(unbiased=False) + 1e-8).sqrt()
    return whitened.masked_fill(~mask, 0.0)
