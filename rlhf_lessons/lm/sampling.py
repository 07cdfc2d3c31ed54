"""Sampling answers: left-padded prompts, a key-value cache, and rows that leave the batch once they have ended.

The log-probability kept with each token is that of the distribution it was drawn from, temperature and banned tokens
included. Only so is PPO's ratio 1 at first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from rlhf_lessons.lm.batching import allowed_logits, pad, position_ids
from rlhf_lessons.lm.tokenizer import banned_ids, encode_prompts


@dataclass
class Samples:
    """Answers to a batch of prompts, on the CPU."""

    tokens: Tensor  # (batch, time) ids up to and with <eos>, then padding
    mask: Tensor  # (batch, time) True on the answer, <eos> included
    logprobs: Tensor  # (batch, time) of the distribution sampled from, 0 on padding
    ended: Tensor  # (batch,) whether <eos> came before the budget ran out
    texts: list[str]  # the answers without special tokens
    prompt_tokens: Tensor  # (batch, prompt time) padded on the left
    prompt_mask: Tensor  # (batch, prompt time)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token (batch,) from logits (batch, vocabulary) with one uniform number in [0, 1) for each row.

    It is the first token at which the cumulative probability exceeds the number, so never one of probability 0.
    """
    cumulative = logits.softmax(-1).cumsum(-1)
    return torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]


def restrict(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Keep the `top_k` likeliest tokens, or the likeliest of total probability `top_p`; the others get -inf.

    For display only. Training samples from the whole distribution, or its log-probs would be of another one.
    """
    if top_k:
        least = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1.0:
        probs, index = logits.softmax(-1).sort(-1, descending=True)
        beyond = probs.cumsum(-1) - probs >= top_p
        logits = logits.masked_fill(beyond.scatter(-1, index, beyond), float("-inf"))
    return logits


def generate(
    model,
    tokenizer,
    prompts: list,
    max_new_tokens: int = 60,
    temperature: float = 1.0,
    seed: int = 0,
    top_k: int = 0,
    top_p: float = 1.0,
    batch_size: int = 128,
) -> Samples:
    """Sample one answer to each prompt: a str, which gets the chat template, or a list of ids, taken as it is.

    Temperature 0 takes the likeliest token. The same seed gives the same answers; the random numbers of an answer
    depend on its place in `prompts`, not on when others end. ValueError for an empty or too long prompt, and where
    the model gives NaN or infinite logits, naming the prompt and the token.
    """
    rows = [encode_prompts(tokenizer, [p])[0] if isinstance(p, str) else p for p in prompts]
    longest = max(map(len, rows), default=0) + max_new_tokens
    room = getattr(model.config, "max_position_embeddings", longest)
    if not rows or not all(rows) or longest > room:
        raise ValueError(
            "generate needs prompts, each of one token at least, and prompt and answer must fit into "
            f"the model's {room} positions; the longest prompt and {max_new_tokens} make {longest}"
        )
    uniforms = torch.rand(len(rows), max_new_tokens, generator=torch.Generator().manual_seed(seed))
    tokens, logprobs = torch.zeros(uniforms.shape, dtype=torch.long), torch.zeros(uniforms.shape)
    lengths = torch.zeros(len(rows), dtype=torch.long)
    order = torch.tensor(
        sorted(range(len(rows)), key=lambda i: len(rows[i]))
    )  # alike in length: less padding
    for index in order.split(batch_size):
        prompt, mask = pad([rows[i] for i in index], tokenizer.pad_token_id, side="left")
        drawn = _decode(
            model, tokenizer, index, prompt, mask, uniforms[index], temperature, top_k, top_p
        )
        tokens[index], logprobs[index], lengths[index] = (x.cpu() for x in drawn)
    mask = torch.arange(max_new_tokens) < lengths[:, None]
    ended = tokens.gather(1, lengths[:, None] - 1)[:, 0] == tokenizer.eos_token_id
    answers = [row[:n] for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    texts = tokenizer.batch_decode(
        answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    tokens, logprobs = (
        tokens.masked_fill(~mask, tokenizer.pad_token_id),
        logprobs.masked_fill(~mask, 0.0),
    )
    tokens, mask, logprobs = (x[:, : int(lengths.max())] for x in (tokens, mask, logprobs))
    return Samples(
        tokens, mask, logprobs, ended, texts, *pad(rows, tokenizer.pad_token_id, side="left")
    )


@torch.inference_mode()
def _decode(
    model, tokenizer, index, ids, mask, uniforms, temperature, top_k, top_p
) -> tuple[Tensor, ...]:
    """Tokens and log-probs (batch, time), with anything after the end, and lengths (batch,) of one batch of prompts.

    `index` (batch,) holds their places in the whole list, for the error where a model's logits are no numbers.
    """
    (batch, time), eos, banned = uniforms.shape, tokenizer.eos_token_id, banned_ids(tokenizer)
    ids, mask, uniforms = (x.to(model.device) for x in (ids, mask, uniforms))
    tokens, logprobs = torch.zeros_like(uniforms, dtype=torch.long), torch.zeros_like(uniforms)
    lengths = torch.full((batch,), time, device=model.device)
    rows = torch.arange(batch, device=model.device)  # those still in the batch
    running = torch.ones_like(rows, dtype=torch.bool)  # of these, those that have not ended
    positions, cache = position_ids(mask), DynamicCache(config=model.config)
    for t in range(time):
        logits = model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        logits = allowed_logits(logits, temperature or 1.0, banned)
        total = logits.logsumexp(-1)
        if (
            not total.isfinite().all()
        ):  # one NaN or inf spoils the sum, and so does -inf for every token
            place = int(index[rows[~total.isfinite()][0].cpu()])
            raise ValueError(
                f"prompt {place}, token {t} of its answer (both counted from 0): the model gives logits "
                "that are NaN or infinite, so no token can be drawn. Its weights are damaged, as by too "
                "high a learning rate: load an earlier checkpoint, or train again with a lower rate"
            )
        shown = restrict(logits, top_k, top_p)
        token = draw(shown, uniforms[rows, t]) if temperature else shown.argmax(-1)
        tokens[rows, t] = token
        logprobs[rows, t] = logits.gather(1, token[:, None])[:, 0] - total
        lengths[rows[running & (token == eos)]] = t + 1
        running = running & (token != eos)
        if not running.any():
            break
        ids, positions, mask = (
            token[:, None],
            positions[:, -1:] + 1,
            torch.cat([mask, mask[:, -1:]], 1),
        )
        if running.sum() < 0.8 * len(rows):  # ended rows leave the batch
            keep = running.nonzero()[:, 0]
            rows, running, ids, positions, mask = (
                x[keep] for x in (rows, running, ids, positions, mask)
            )
            cache.batch_select_indices(keep)
    return tokens, logprobs, lengths
