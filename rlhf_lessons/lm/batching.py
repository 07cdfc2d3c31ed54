"""Rows of unequal length in one tensor: padding, masks, positions, and what a model says about them.

Masks come from the lengths, never from token ids, so a tokenizer whose pad token is its end token is safe. Every
forward pass gets `attention_mask` and `position_ids`: with left padding, GPT-2 is wrong without the latter.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def pad(rows: list[list[int]], pad_id: int, side: str = "right") -> tuple[Tensor, Tensor]:
    """Pad lists of ids to one length: ids (batch, time) and mask (batch, time), True on real tokens."""
    time = max(map(len, rows), default=0)
    ids, mask = torch.full((len(rows), time), pad_id), torch.zeros(len(rows), time, dtype=torch.bool)
    for i, row in enumerate(rows):
        start = time - len(row) if side == "left" else 0
        ids[i, start : start + len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, start : start + len(row)] = True
    return ids, mask


def position_ids(mask: Tensor) -> Tensor:
    """Count real tokens only, so the first real token stands at position 0 wherever the padding is."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def inputs(ids: Tensor, mask: Tensor) -> dict:
    """The keyword arguments of one forward pass without a cache."""
    return {"input_ids": ids, "attention_mask": mask.long(), "position_ids": position_ids(mask), "use_cache": False}


def buckets(lengths: list[int], batch_size: int, generator: torch.Generator) -> list[list[int]]:
    """Shuffle row numbers into batches of rows of similar length, so that little padding is computed.

    Rows are shuffled, sorted by length within groups of 8 batches, and the batches shuffled again.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), 8 * batch_size):
        group = sorted(order[start : start + 8 * batch_size], key=lambda i: lengths[i])
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def micro_batches(mask: Tensor, size: int) -> Iterator[tuple[Tensor, slice]]:
    """Row numbers sorted by length in groups of `size`, each with the columns that its real tokens span."""
    for rows in mask.sum(1).argsort(stable=True).split(size):
        columns = mask[rows].any(0).nonzero()
        if len(columns):
            yield rows, slice(int(columns[0]), int(columns[-1]) + 1)


def allowed_logits(logits: Tensor, temperature: float = 1.0, banned: list[int] = ()) -> Tensor:
    """Logits (..., vocabulary) of the distribution sampled from: banned tokens at -inf, divided by temperature."""
    logits = logits.float()
    if len(banned):
        index = torch.tensor(banned, device=logits.device)
        logits = logits.index_fill(-1, index, float("-inf"))
    return logits if temperature == 1.0 else logits / temperature


def response_logits(model, ids: Tensor, mask: Tensor, time: int, temperature=1.0, banned=()) -> Tensor:
    """Logits (batch, time, vocabulary) that predict the last `time` columns; no others are computed."""
    logits = model(**inputs(ids, mask), logits_to_keep=time + 1).logits[:, :-1]
    return allowed_logits(logits, temperature, banned)


def gather_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """The log-probability of each target (batch, time) under logits (batch, time, vocabulary)."""
    return -F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)


def logprobs_of(model, ids: Tensor, mask: Tensor, temperature: float = 1.0, banned: list[int] = ()) -> Tensor:
    """Log-probabilities (batch, time-1) of ids[:, 1:] under exactly the distribution sampled from; padding gives 0."""
    logprobs = gather_logprobs(response_logits(model, ids, mask, ids.shape[1] - 1, temperature, banned), ids[:, 1:])
    return logprobs.masked_fill(~(mask[:, 1:] & mask[:, :-1]), 0.0)


def token_scores(model, ids: Tensor, mask: Tensor) -> Tensor:
    """The scalar head's output on every token, (batch, time), for a reward model or a critic.

    The base model and the head are called directly: transformers' own pooling looks for the last token that is not
    the pad id and passes no positions, so GPT-2 would score a left-padded row wrongly.
    """
    return model.score(model.base_model(**inputs(ids, mask)).last_hidden_state).squeeze(-1).float()
