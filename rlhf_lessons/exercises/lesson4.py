"""Exercises of lesson 4: the arithmetic of PPO, the price of KL, and an update to repair."""

import math

import torch
import torch.nn.functional as F

from rlhf_lessons.exercises.check import exercise
from rlhf_lessons.exercises.inputs import guesses, picked, rows, some, tensors


@exercise(
    (*guesses(2, 3, 5), 0.7),
    (*guesses(2, 3, 5, seed=2, scale=3.0), 1.0),
    (*guesses(1, 1, 4, seed=3), 2.0),
    (*guesses(1, 2, 3, seed=4, scale=1e4), 0.5),
)
def sampled_logprobs(logits, tokens, temperature):
    """The log-probability of each token, at the temperature at which it was drawn."""
    logprobs = (logits.double() / temperature).log_softmax(-1)
    return picked(logprobs, tokens)


def answers(*lengths, time=0, padding=1.0, beta=0.1):
    """Return log-probs of policy and reference, mask, scores and beta."""
    policy, reference, mask = rows(*lengths, count=2, time=time, padding=padding)
    scores = some(len(lengths), seed=1)
    return policy, reference, mask, scores, beta


@exercise(
    answers(4, 2, 1, time=6),
    answers(6, 2, 5),
    answers(1, beta=0.3),
    answers(3, 2, time=4, padding=math.inf),
)
def token_rewards(policy, reference, mask, scores, beta):
    """Each token pays for its KL; the last real one gets the score."""
    last = mask.sum(1) - 1
    rewards = (-beta * (policy - reference)).masked_fill(~mask, 0.0)
    rewards[torch.arange(len(mask)), last] += scores
    return rewards


@exercise(
    tensors([0.5, -1.0, 2.0, 0.0]),
    tensors([1e-4, -5.0, 8.0]),
    (some(3, 4),),
)
def kl_estimates(logratio):
    """Schulman's three estimates of the KL, k1, k2 and k3, of each token."""
    x = logratio
    return x, x**2 / 2, torch.expm1(-x) + x


def rewarded(*lengths, time=0, lam):
    """Return rewards and values, mask and lam."""
    return *rows(*lengths, count=2, time=time), lam


@exercise(
    rewarded(4, 2, 1, time=6, lam=0.9),
    rewarded(5, 3, lam=0.5),
    rewarded(3, 2, time=4, lam=0.0),
    rewarded(1, lam=0.95),
)
def gae(rewards, values, mask, lam):
    """Advantages of answers that end with their mask, without discount."""
    following = F.pad(values * mask, (0, 1))[:, 1:]
    deltas = (rewards + following - values) * mask
    advantages = torch.zeros_like(deltas)
    later = 0.0
    for t in reversed(range(mask.shape[1])):
        later = deltas[:, t] + lam * later
        advantages[:, t] = later
    return advantages * mask


def updated(*lengths, time=0, clip=0.2, padding=1.0):
    """Return log-probs after and before an update, advantages, mask and clip. On padding they
    differ by `padding`."""
    new, moved, advantages, mask = rows(*lengths, count=3, time=time)
    old = new - (0.4 * moved).where(mask, padding)
    return new - 2, old - 2, advantages, mask, clip


@exercise(
    updated(5, 2, time=6),
    updated(4, 1, 3, clip=0.1),
    updated(3, 1, time=5, padding=1e4),
    gradients=1,
)
def clipped_policy_loss(logprobs, old, advantages, mask, clip):
    """PPO's loss, the mean over the real tokens; padding may hold anything."""
    new, old, gain = (x[mask] for x in (logprobs, old, advantages))
    ratio = (new - old).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    losses = -torch.minimum(ratio * gain, held * gain)
    return losses.mean()


@exercise(
    rows(4, 2, count=1, time=6, scale=3.0),
    rows(3, 1, 5, count=1, scale=3.0),
    tensors([[3.0, 9.0]], [[True, False]]),
    tensors(
        [
            [1.0, 4.0, math.nan],
            [2.0, math.inf, -math.inf],
        ],
        [
            [True, True, False],
            [True, False, False],
        ],
    ),
)
def whiten(x, mask):
    """Mean 0 and deviation 1 over the real tokens of the batch; 0 on padding."""
    real = x[mask]
    deviation = (real.var(unbiased=False) + 1e-8).sqrt()
    whitened = (x - real.mean()) / deviation
    return whitened.masked_fill(~mask, 0.0)


@exercise(*(([1.0, 0.1, 0.0], some(3, 4, seed=seed).sigmoid()) for seed in range(60)))
def choose_beta(betas, utilities):
    """The largest price whose mean utility is within one standard error of the best."""
    means = utilities.mean(1)
    best = means.argmax()
    error = utilities[best].std() / utilities.shape[1] ** 0.5
    return max(beta for beta, mean in zip(betas, means) if mean >= means[best] - error)


@exercise((some(3, seed=6), some(3, seed=7)))
def ppo_update(logits, advantages):
    """Eight updates by one batch; the ratio is to the policy before the first."""
    old = logits.log_softmax(0)
    for _ in range(8):
        logits = logits.detach().requires_grad_()
        ratio = (logits.log_softmax(0) - old).exp()
        objective = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        (gradient,) = torch.autograd.grad(old.exp() @ objective, logits)
        logits = logits + 2.0 * gradient
    return logits.detach()
