"""The mathematics of PPO as pure functions. Tensors are (batch, time); `mask` is True on a response's real tokens."""

import torch
from torch import Tensor


def kl_k1(logratio: Tensor) -> Tensor:
    """k1 = x, with x = log policy - log reference of a token drawn from the policy: unbiased, but noisy."""
    return logratio


def kl_k2(logratio: Tensor) -> Tensor:
    """k2 = x^2 / 2: never negative and with little noise, but biased."""
    return 0.5 * logratio**2


def kl_k3(logratio: Tensor) -> Tensor:
    """k3 = e^-x - 1 + x: never negative and unbiased. All three: Schulman, "Approximating KL divergence", 2020."""
    return torch.expm1(-logratio) + logratio


KL_ESTIMATORS = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over real tokens; padding, whatever it holds, takes no part and gives 0."""
    real = x[mask]
    return ((x - real.mean()) * torch.rsqrt(real.var(unbiased=False) + 1e-8)).masked_fill(
        ~mask, 0.0
    )


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation: advantages, and returns = advantages + values (Schulman 2015, eq. 16).

    A_t is the sum over l of (gamma lam)^l d_(t+l), with d_t = r_t + gamma V_(t+1) - V_t. Responses begin at
    column 0, and after their last real token there is no value to come.
    """
    rewards, values = rewards * mask, values * mask
    advantages, later = torch.zeros_like(values), torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        next_value = values[:, t + 1] if t + 1 < values.shape[1] else 0.0
        later = rewards[:, t] + gamma * next_value - values[:, t] + gamma * lam * later
        advantages[:, t] = later
    return advantages * mask, (advantages + values) * mask


def clipped_policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's loss of each token, -min(r A, clip(r) A) with r = policy / old policy (Schulman 2017, eq. 7)."""
    ratio = (logprobs - old).clamp(-20, 20).exp()
    return torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def clipped_value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error of each token: the larger of plain, and with values held within `clip` of the old."""
    near = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.max((values - returns) ** 2, (near - returns) ** 2)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns): 1 for a perfect critic, 0 for one that knows only the mean."""
    return (1 - (returns - values)[mask].var() / returns[mask].var()).item()


def adapted_kl_coef(coef: float, kl: float, target: float, episodes: int, horizon: int) -> float:
    """A higher coefficient where KL exceeds its target, else lower: at most a fifth in `horizon` (Ziegler, 2.2)."""
    return coef * (1 + min(max(kl / target - 1, -0.2), 0.2) * episodes / horizon)
