"""Rows of unequal length in one tensor: padding, masks, positions, and what a model says about them.

Masks come from lengths, never from ids, so a tokenizer whose pad token is its end token does no harm. Every forward
pass over padded rows gets `attention_mask` and `position_ids`: with left padding GPT-2 is wrong without them.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def pad(rows: list[list[int]], pad_id: int, side: str = "right") -> tuple[Tensor, Tensor]:
    """Pad lists of ids to one length: ids (batch, time), and mask (batch, time), True on real tokens."""
    time = max(map(len, rows), default=0)
    ids, mask = (
        torch.full((len(rows), time), pad_id),
        torch.zeros(len(rows), time, dtype=torch.bool),
    )
    for i, row in enumerate(rows):
        place = slice(time - len(row), time) if side == "left" else slice(len(row))
        ids[i, place], mask[i, place] = torch.tensor(row, dtype=torch.long), True
    return ids, mask


def position_ids(mask: Tensor) -> Tensor:
    """Positions (batch, time) that count real tokens only: a row's first is at 0, wherever its padding is."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def inputs(ids: Tensor, mask: Tensor) -> dict:
    """The arguments of a forward pass without a cache."""
    return {
        "input_ids": ids,
        "attention_mask": mask.long(),
        "position_ids": position_ids(mask),
        "use_cache": False,
    }


def buckets(lengths: list[int], batch_size: int, generator: torch.Generator) -> list[list[int]]:
    """Split row numbers into random batches of rows of similar length, so that little padding is computed.

    Rows are shuffled, sorted by length within groups of 8 batches, and the batches shuffled.
    """
    batches = []
    for group in torch.randperm(len(lengths), generator=generator).split(8 * batch_size):
        group = sorted(group.tolist(), key=lambda i: lengths[i])
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def micro_batches(mask: Tensor, size: int) -> Iterator[tuple[Tensor, slice]]:
    """Row numbers in groups of `size` of similar length, each with the columns that its real tokens span."""
    for rows in mask.sum(1).argsort(stable=True).split(size):
        columns = mask[rows].any(0).nonzero()
        yield rows, slice(int(columns[0]), int(columns[-1]) + 1)


def allowed_logits(logits: Tensor, temperature: float = 1.0, banned: list[int] = ()) -> Tensor:
    """Logits (..., vocabulary) of the distribution sampled from: divided by temperature, banned tokens at -inf."""
    index = torch.tensor(banned, dtype=torch.long, device=logits.device)
    return (logits.float() / temperature).index_fill(-1, index, float("-inf"))


def response_logits(
    model, ids: Tensor, mask: Tensor, time: int, temperature: float = 1.0, banned=()
) -> Tensor:
    """Such logits (batch, time, vocabulary) for the last `time` tokens; none are computed for those before."""
    return allowed_logits(
        model(**inputs(ids, mask), logits_to_keep=time + 1).logits[:, :-1], temperature, banned
    )


def logprobs_of(model, ids: Tensor, mask: Tensor, temperature: float = 1.0, banned=()) -> Tensor:
    """Log-probs (batch, time - 1) of ids[:, 1:] under exactly the distribution sampled from; 0 on padding."""
    logits = response_logits(model, ids, mask, ids.shape[1] - 1, temperature, banned)
    return gather_logprobs(logits, ids[:, 1:], mask[:, 1:] & mask[:, :-1])


def gather_logprobs(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """The log-prob of each target (batch, time) under logits (batch, time, vocabulary); 0 where mask is False."""
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return -losses.view(targets.shape).masked_fill(~mask, 0.0)


def token_scores(model, ids: Tensor, mask: Tensor) -> Tensor:
    """The scalar head's output (batch, time) on every token, of a reward model or a critic.

    We call the base model and the head ourselves: transformers would look for the last token that is not the pad
    id, and would pass no positions to GPT-2.
    """
    return model.score(model.base_model(**inputs(ids, mask)).last_hidden_state).squeeze(-1).float()
