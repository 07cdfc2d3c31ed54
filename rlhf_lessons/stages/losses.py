"""Every formula of the stages as a pure function, under the names that the exercises use.

Stages call these through the module, `losses.gae(...)`, never by a name of their own:
`exercises/bugs.py` swaps single functions here, and a stage must then find the swapped one.

Tensors of responses' tokens are (batch, time): column 0 holds the first token, and the mask is True
on tokens and False on padding. All losses and log-probs are in nats.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100  # the label that takes no part in a loss


# Pretraining and SFT
def next_token_loss(model, windows: Tensor) -> Tensor:
    """Return the mean cross-entropy of windows (batch, time + 1), each token predicted in turn."""
    logits = model(windows[:, :-1], use_cache=False).logits
    targets = windows[:, 1:]
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy over all labels (batch, time) that are not IGNORE.

    The logits (batch, time, vocabulary) at one place predict the label at the next.
    """
    logits = logits[:, :-1]
    labels = labels[:, 1:]
    counts = labels != IGNORE
    return F.cross_entropy(logits[counts].float(), labels[counts])


# Reward model
def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Return -log sigmoid(chosen - rejected), elementwise: the loss of P(win) = sigmoid(lead)."""
    return -F.logsigmoid(chosen - rejected)


def ranking_loss(chosen: Tensor, rejected: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean over pairs (pairs,) of the Bradley-Terry loss."""
    pair_losses = bradley_terry_loss(chosen, rejected)
    return (weight * pair_losses).sum() / weight.sum()


# KL divergence: Schulman, "Approximating KL divergence", 2020. Each takes x = log policy -
# log reference of tokens drawn from the policy.
def kl_k1(logratio: Tensor) -> Tensor:
    """Return k1 = x: unbiased, but noisy. Only k1 has the right gradient as a price in rewards."""
    return logratio


def kl_k3(logratio: Tensor) -> Tensor:
    """Return k3 = e^-x - 1 + x: never negative and unbiased."""
    return torch.expm1(-logratio) + logratio


# PPO
def token_rewards(
    logprobs: Tensor, reference: Tensor, mask: Tensor, scores: Tensor, kl_coef: float
) -> Tensor:
    """Return the reward of each token (batch, time): the KL penalty, and on the last the score.

    `scores` is (batch,). Ziegler et al. 2019, eq. 2; the score lands on the last token itself.
    """
    rewards = -kl_coef * kl_k1(logprobs - reference).masked_fill(~mask, 0.0)
    rows = torch.arange(len(mask), device=mask.device)
    rewards[rows, mask.sum(1) - 1] += scores
    return rewards


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates, and returns = advantages + values.

    A_t is the sum over l of (gamma lambda)^l d_(t+l), with d_t = r_t + gamma V_(t+1) - V_t
    (Schulman et al. 2015, eq. 16). After a response's last token there is no value to come, and
    both are 0.
    """
    rewards = rewards * mask
    values = values * mask
    next_values = F.pad(values[:, 1:], (0, 1))
    deltas = rewards + gamma * next_values - values
    advantages = torch.zeros_like(values)
    later = 0.0
    for t in reversed(range(values.shape[1])):
        later = deltas[:, t] + gamma * gae_lambda * later
        advantages[:, t] = later
    return advantages, advantages + values


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """Return x with mean 0 and deviation 1 over the mask; padding takes no part and gives 0."""
    tokens = x[mask]
    scale = torch.rsqrt(tokens.var(unbiased=False) + 1e-8)
    return ((x - tokens.mean()) * scale).masked_fill(~mask, 0.0)


def clipped_policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_range: float
) -> Tensor:
    """Return PPO's loss of each token, -min(r A, clip(r) A) with r = policy / old policy.

    Schulman et al. 2017, eq. 7.
    """
    ratio = (logprobs - old_logprobs).clamp(-20, 20).exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.max(-advantages * ratio, -advantages * clipped)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, clip_range_value: float
) -> Tensor:
    """Return half the squared error of each token: the larger of plain and clipped.

    Clipped values stay within `clip_range_value` of the old ones.
    """
    clipped = old_values + (values - old_values).clamp(-clip_range_value, clip_range_value)
    return 0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float | None:
    """Return 1 - Var(returns - values) / Var(returns): 1 for a perfect critic, 0 for the mean.

    None where returns do not vary beyond rounding, as of one token in all: nothing to explain.
    """
    returns = returns[mask]
    spread = returns.var(unbiased=False).item()
    if not spread > 1e-8:
        return None
    return 1 - (returns - values[mask]).var(unbiased=False).item() / spread


# RLOO and GRPO: no critic. The baseline of a response is what others to the same prompt scored;
# the `group_size` responses to a prompt lie together.
def leave_one_out(scores: Tensor, group_size: int) -> Tensor:
    """Return RLOO's advantages (batch,): each score less the mean of its group's others.

    Kool et al. 2019; Ahmadian et al. 2024.
    """
    groups = from_the_first(scores, group_size)
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).flatten()


def group_advantages(scores: Tensor, group_size: int, scale: bool) -> Tensor:
    """Return GRPO's advantages (batch,): each score less its group's mean, divided by the group's
    standard deviation, or not where `scale` is False (Dr. GRPO, Liu et al. 2025).

    Shao et al. 2024, 4.1.2.
    """
    groups = from_the_first(scores, group_size)
    advantages = groups - groups.mean(1, keepdim=True)
    if scale:
        advantages = advantages / (groups.std(1, keepdim=True) + 1e-4)
    return advantages.flatten()


def from_the_first(scores: Tensor, group_size: int) -> Tensor:
    """Return scores (groups, group_size), less the first of each: rounding then makes no advantage
    of equal ones.
    """
    groups = scores.view(-1, group_size)
    return groups - groups[:, :1]


def rloo_loss(
    logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, advantages: Tensor, clip_range: float
) -> Tensor:
    """Return each response's loss (batch,): PPO's, with the whole response as one action."""
    whole = logprobs.masked_fill(~mask, 0.0).sum(1)
    old = old_logprobs.masked_fill(~mask, 0.0).sum(1)
    return clipped_policy_loss(whole, old, advantages, clip_range)


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    reference: Tensor,
    mask: Tensor,
    advantages: Tensor,
    clip_range: float,
    kl_coef: float,
    constant: int | None = None,
) -> Tensor:
    """Return each response's loss (batch,): PPO's with a KL penalty, the mean over its tokens.

    With a `constant` (Dr. GRPO) it is their sum over that. Shao et al. 2024, eq. 3 and 4.
    """
    token_losses = clipped_policy_loss(logprobs, old_logprobs, advantages[:, None], clip_range)
    token_losses = token_losses + kl_coef * kl_k3(logprobs - reference)
    length = constant or mask.sum(1)
    return token_losses.masked_fill(~mask, 0.0).sum(1) / length
