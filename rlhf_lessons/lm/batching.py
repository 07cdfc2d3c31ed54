"""Rows of unequal length in one tensor: padding, masks, positions, and what a model says of them.

Masks come from lengths, never from ids, so a tokenizer whose pad token is its end token does no
harm. Every forward pass over padded rows gets `attention_mask` and `position_ids`: with left
padding GPT-2 is wrong without them.

An `attention_mask` (batch, time) covers prompt and response, a `response_mask` the response alone.
Both are True on real tokens.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor


def pad(
    rows: list[list[int]], pad_id: int, side: str = "right", device="cpu"
) -> tuple[Tensor, Tensor]:
    """Pad lists of ids to one length: ids and attention mask, both (batch, time), on `device`."""
    longest = max(map(len, rows), default=0)
    ids = torch.full((len(rows), longest), pad_id)
    attention_mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(longest - len(row), longest) if side == "left" else slice(len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)
        attention_mask[i, place] = True
    return ids.to(device), attention_mask.to(device)


def check_lengths(model, rows: list[list[int]], what: str, room: int = 0) -> None:
    """ValueError, naming the first row of ids that is empty or does not fit into the model.

    `what` is what a row is, such as "demonstration"; `room` counts the tokens that are still to
    come. Beyond its positions GPT-2 stops with an IndexError, and Llama continues in silence.
    """
    config = model.config
    positions = getattr(config, "max_position_embeddings", getattr(config, "max_seq_len", math.inf))
    for i, row in enumerate(rows):
        if not row:
            raise ValueError(f"{what} {i} (counted from 0) has no token")
        if len(row) + room > positions:
            more = f" and {room} to come" if room else ""
            raise ValueError(
                f"{what} {i} (counted from 0) has {len(row)} tokens{more}, but the model has "
                f"{positions} positions: shorten it"
            )


def position_ids(attention_mask: Tensor) -> Tensor:
    """Positions (batch, time) that count real tokens only: a row's first is at 0."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def inputs(ids: Tensor, attention_mask: Tensor) -> dict:
    """The arguments of a forward pass without a cache."""
    return {
        "input_ids": ids,
        "attention_mask": attention_mask.long(),
        "position_ids": position_ids(attention_mask),
        "use_cache": False,
    }


def length_grouped_batches(
    lengths: list[int], batch_size: int, generator: torch.Generator
) -> list[list[int]]:
    """Split row numbers into random batches of rows of similar length, to compute little padding.

    Rows are shuffled, sorted by length within groups of 8 batches, and the batches shuffled.
    """
    batches = []
    for group in torch.randperm(len(lengths), generator=generator).split(8 * batch_size):
        rows = sorted(group.tolist(), key=lambda i: lengths[i])
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    order = torch.randperm(len(batches), generator=generator)
    return [batches[i] for i in order.tolist()]


def micro_batches(attention_mask: Tensor, size: int) -> Iterator[tuple[Tensor, slice]]:
    """Row numbers in groups of `size` of similar length, each with the columns that they span."""
    for rows in attention_mask.sum(1).argsort(stable=True).split(size):
        columns = attention_mask[rows].any(0).nonzero()
        yield rows, slice(int(columns[0]), int(columns[-1]) + 1)


def suppressed_ids(model, tokenizer) -> list[int]:
    """The ids that no response holds: -inf in sampling and in log-probs alike.

    They are the special tokens but for the end token, and rows of the model for which the
    tokenizer has no token (many models round their vocabulary up).
    """
    vocabulary = set(range(model.config.vocab_size))
    suppressed = vocabulary.difference(tokenizer.get_vocab().values())
    suppressed.update(tokenizer.all_special_ids)
    return sorted(suppressed - {tokenizer.eos_token_id})


def process_logits(logits: Tensor, temperature: float = 1.0, suppressed=()) -> Tensor:
    """Logits (..., vocabulary) of the distribution sampled from.

    They are divided by `temperature`, and the ids in `suppressed` get -inf.
    """
    index = torch.tensor(suppressed, dtype=torch.long, device=logits.device)
    return (logits.float() / temperature).index_fill(-1, index, float("-inf"))


def response_logits(
    model,
    ids: Tensor,
    attention_mask: Tensor,
    response_length: int,
    temperature: float = 1.0,
    suppressed=(),
) -> Tensor:
    """Processed logits (batch, response_length, vocabulary) of the last `response_length` ids.

    None are computed for the tokens before.
    """
    output = model(**inputs(ids, attention_mask), logits_to_keep=response_length + 1)
    return process_logits(output.logits[:, :-1], temperature, suppressed)


def logprobs_of(
    model, ids: Tensor, attention_mask: Tensor, temperature: float = 1.0, suppressed=()
) -> Tensor:
    """Log-probs (batch, time - 1) of ids[:, 1:] under the distribution sampled from.

    They are 0 on padding.
    """
    logits = response_logits(model, ids, attention_mask, ids.shape[1] - 1, temperature, suppressed)
    return gather_logprobs(logits, ids[:, 1:], attention_mask[:, 1:] & attention_mask[:, :-1])


def gather_logprobs(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """The log-prob of each target (batch, time) under logits (batch, time, vocabulary).

    It is 0 where `mask` (batch, time) is False.
    """
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return -losses.view(targets.shape).masked_fill(~mask, 0.0)


def token_scores(model, ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The scalar head's output (batch, time) on every token, of a reward model or a critic.

    We call the base model and the head ourselves: transformers would look for the last token that
    is not the pad id, and would pass no positions to GPT-2.
    """
    hidden = model.base_model(**inputs(ids, attention_mask)).last_hidden_state
    return model.score(hidden).squeeze(-1).float()


@contextmanager
def eval_mode(model) -> Iterator[None]:
    """Switch dropout off for a block, and leave every part of the model in the mode it had."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
