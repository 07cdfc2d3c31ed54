"""The 95 % intervals of all figures: Wilson's for independent trials, the bootstrap for trials that
come in groups.

Answers to one prompt resemble each other, and so do the votes of one rater. So the bootstrap
(Efron, 1979) draws groups with replacement, prompts or raters, each with all that belongs to it.
Drawing single answers or votes would give intervals that are too narrow.
"""

from collections.abc import Callable

import numpy as np

Z = 1.96
DRAWS = 2000  # of the bootstrap, where nobody waits for it


def wilson(share, n):
    """Return (low, high) of a share seen in `n` independent trials (Wilson, 1927); numbers or
    arrays.

    Unlike the share plus or minus two standard errors, it stays between 0 and 1, and has a width
    where all trials ended alike.
    """
    middle = share + Z**2 / (2 * n)
    variance = share * (1 - share) / n
    half = Z * np.sqrt(variance + Z**2 / (4 * n**2))
    width = 1 + Z**2 / n
    low = np.maximum((middle - half) / width, 0.0)
    high = np.minimum((middle + half) / width, 1.0)
    return low, high


def bootstrap(
    statistic: Callable,
    groups: int,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """Return (low, high) of a statistic over groups that are drawn with replacement.

    `statistic(weights)` takes how often each group was drawn, (draws, groups), and returns its
    values (draws,); NaN where a draw gives none.
    """
    low, high = np.nanpercentile(statistic(resampled(groups, draws)), [2.5, 97.5])
    return float(low), float(high)


def resampled(groups: int, draws: int) -> np.ndarray:
    """Return how often each group was drawn, with replacement, in each draw: (draws, groups)."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(groups, size=(draws, groups))
    return np.apply_along_axis(np.bincount, 1, drawn, minlength=groups)


def interval(values: np.ndarray) -> list[float]:
    """Return [mean, low, high] of values (groups, ...), such as prompts with their answers, to four
    digits.

    NaN marks what does not count, such as a pair too close to call; all NaN gives three NaN.
    """
    values = values.reshape(len(values), -1)
    sums = np.nansum(values, axis=1)
    counts = (~np.isnan(values)).sum(1)
    if not counts.any():
        return [float("nan")] * 3

    def mean(weights: np.ndarray) -> np.ndarray:
        total = weights @ counts
        return weights @ sums / np.where(total, total, np.nan)

    found = sums.sum() / counts.sum(), *bootstrap(mean, len(values))
    return [round(float(number), 4) for number in found]
