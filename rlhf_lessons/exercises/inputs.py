"""What the inputs of exercises are made of, the same numbers on every machine."""

import torch


def some(*shape, seed=0, scale=1.0):
    """Return normal numbers."""
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=rng)


def tokens(*shape, below, seed=0):
    """Return token ids."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(below, shape, generator=rng)


def guesses(*shape, seed=0, scale=1.0):
    """Return logits of this shape, (batch, time, vocabulary), and ids (batch, time)."""
    *places, vocabulary = shape
    logits = some(*shape, seed=seed, scale=scale)
    return logits, tokens(*places, below=vocabulary, seed=seed)


def mask_of(*lengths, time=0):
    """Return the mask of texts of these lengths, (batch, time), which begin at column 0."""
    columns = torch.arange(time or max(lengths))
    return columns < torch.tensor(lengths)[:, None]


def rows(*lengths, count, time=0, scale=1.0, padding=1.0):
    """Return `count` tensors of normal numbers for texts of these lengths, (batch, time) each, and
    the mask. On padding, where they must not matter, the numbers are `padding` times as large."""
    mask = mask_of(*lengths, time=time)
    values = some(count, *mask.shape, seed=sum(lengths), scale=scale)
    return *values.where(mask, padding * values), mask


def tensors(*lists):
    """Return each list as a tensor."""
    return tuple(map(torch.tensor, lists))


def picked(values, ids):
    """Return the value at each id, along the last dimension."""
    return values.gather(-1, ids[..., None])[..., 0]
