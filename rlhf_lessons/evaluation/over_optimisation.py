"""Over-optimisation: what a reward model says and what is true, the further a policy goes for it.

Distance is d = sqrt(KL from the SFT model). Gao, Schulman and Hilton (2022) found that the true
reward, taken as 0 at d = 0, follows d (a - b d) for best-of-n and d (a - b log d) for
reinforcement learning: a is what the first steps gain, b bends the curve down.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fit:
    """One of Gao's forms, fitted to a curve by least squares."""

    method: str  # "best of n" or "rl"
    alpha: float
    beta: float
    r_squared: float  # share of the curve's variance that it explains
    error: float  # root of the mean squared error, in units of the gain

    def gain(self, d):
        """Return the gain at distance `d`, a number or an array, 0 at 0."""
        d = np.asarray(d, dtype=float)
        return d * (self.alpha - self.beta * bend(self.method, d))

    def peak(self) -> float:
        """Return the distance of the largest gain: 0 where it falls at once, infinity where it
        never falls.
        """
        if self.beta <= 0:
            return float("inf")
        if self.method == "rl":
            return float(np.exp(self.alpha / self.beta - 1))
        return max(0.0, self.alpha / (2 * self.beta))


def bend(method: str, d: np.ndarray) -> np.ndarray:
    """Return what beta is multiplied by, beside d itself: d for best-of-n, log d for RL."""
    return np.log(np.maximum(d, 1e-12)) if method == "rl" else d


def fit(method: str, kl, gain) -> Fit:
    """Fit Gao's form for a `method`, "best of n" or "rl", to the true gain at some KL in nats.

    A sampled KL a little below 0 counts as 0.
    """
    d = np.sqrt(np.maximum(kl, 0.0))
    gain = np.asarray(gain, dtype=float)
    terms = np.stack([d, -d * bend(method, d)], 1)
    (alpha, beta), *_ = np.linalg.lstsq(terms, gain)
    left = gain - terms @ [alpha, beta]
    spread = ((gain - gain.mean()) ** 2).sum()
    error = float(np.sqrt((left**2).mean()))
    return Fit(method, float(alpha), float(beta), float(1 - (left**2).sum() / spread), error)


def combined(rewards: np.ndarray, how: str, price: float = 1.0) -> np.ndarray:
    """Return one reward for each answer from those of an ensemble, (members, ...).

    `how` is "mean", "worst", the lowest, or "uncertainty", the mean less `price` times the
    variance (Coste et al. 2023; a price of 1 is ours). ValueError for another.
    """
    if how == "mean":
        return rewards.mean(0)
    if how == "worst":
        return rewards.min(0)
    if how == "uncertainty":
        return rewards.mean(0) - price * rewards.var(0)
    raise ValueError(f"an ensemble takes the mean, the worst or the uncertainty, not '{how}'")
