"""Sampling answers: left-padded prompts, a key-value cache, and rows that leave the batch when they have ended.

The log-probability kept with each token is that of the distribution it was drawn from: temperature and banned tokens
included. PPO's ratio is exactly 1 at first only if that is so.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from rlhf_lessons.lm.batching import allowed_logits, pad, position_ids
from rlhf_lessons.lm.tokenizer import banned_ids, encode_prompts


@dataclass
class Samples:
    """Answers to a batch of prompts: tokens up to and with <eos>, padded on the right."""

    tokens: Tensor  # (batch, time) ids of the answer
    mask: Tensor  # (batch, time) True on the answer's tokens, <eos> included
    logprobs: Tensor  # (batch, time) of the distribution sampled from, 0 on padding
    ended: Tensor  # (batch,) whether <eos> was sampled before the budget ran out
    texts: list[str]  # the answers without special tokens
    prompt_tokens: Tensor  # (batch, prompt time) padded on the left
    prompt_mask: Tensor  # (batch, prompt time)

    def __len__(self) -> int:
        return len(self.tokens)


class _RoomyLayer(DynamicLayer):
    """A cache layer that writes into a buffer with room to grow; `torch.cat` would copy everything at each token."""

    def update(self, keys: Tensor, values: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        past = self.get_seq_length()
        time = past + keys.shape[-2]
        if not past or time > self.buffer.shape[-2]:
            shape = (2, *keys.shape[:-2], time + 64, keys.shape[-1])
            buffer = torch.empty(shape, dtype=keys.dtype, device=keys.device)
            if past:
                buffer[..., :past, :] = self.buffer[..., :past, :]
            self.buffer, self.is_initialized = buffer, True
        self.buffer[0, ..., past:time, :], self.buffer[1, ..., past:time, :] = keys, values
        self.keys, self.values = self.buffer[0, ..., :time, :], self.buffer[1, ..., :time, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        past = self.get_seq_length()
        self.buffer = self.buffer[:, indices]
        self.keys, self.values = self.buffer[0, ..., :past, :], self.buffer[1, ..., :past, :]


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token (batch,) from each row of logits (batch, vocabulary) with one uniform number (batch,) a row.

    The token is where the cumulative probability first exceeds the number, so one of probability 0 is never drawn.
    """
    cumulative = torch.softmax(logits, -1).cumsum(-1)
    return torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]


def restrict(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Logits with all but the `top_k` likeliest tokens, or the likeliest ones of total probability `top_p`, at -inf.

    For display only: training samples from the whole distribution, or its log-probs would be of another one.
    """
    if top_k:
        logits = logits.masked_fill(logits < logits.topk(min(top_k, logits.shape[-1])).values[..., -1:], float("-inf"))
    if top_p < 1.0:
        ordered, index = logits.sort(-1, descending=True)
        probs = ordered.softmax(-1)
        outside = probs.cumsum(-1) - probs >= top_p
        logits = logits.masked_fill(outside.scatter(-1, index, outside), float("-inf"))
    return logits


@torch.inference_mode()
def generate(model, tokenizer, prompts: list, max_new_tokens: int = 60, temperature: float = 1.0, seed: int = 0,
             top_k: int = 0, top_p: float = 1.0, batch_size: int = 256) -> Samples:
    """Sample one answer to each prompt (a str, put into the chat template, or a list of token ids, taken as it is).

    Temperature 0 takes the likeliest token each time (its log-probs are those at temperature 1). The same seed gives
    the same answers; each answer's random numbers depend on its place in `prompts` and not on when others end.
    """
    rows = encode_prompts(tokenizer, prompts) if prompts and isinstance(prompts[0], str) else prompts
    if not rows or not all(rows):
        raise ValueError("generate needs at least one prompt, and each must hold at least one token")
    uniforms = torch.rand(len(rows), max_new_tokens, generator=torch.Generator().manual_seed(seed))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # similar lengths together: less padding
    tokens = torch.full((len(rows), max_new_tokens), tokenizer.pad_token_id)
    logprobs = torch.zeros(len(rows), max_new_tokens)
    lengths = torch.zeros(len(rows), dtype=torch.long)
    banned = banned_ids(tokenizer)
    for start in range(0, len(order), batch_size):
        index = torch.tensor(order[start : start + batch_size])
        prompt, mask = pad([rows[i] for i in index], tokenizer.pad_token_id, side="left")
        drawn = _decode(model, tokenizer.eos_token_id, prompt, mask, uniforms[index], temperature, banned, top_k, top_p)
        tokens[index], logprobs[index], lengths[index] = (x.cpu() for x in drawn)
    time = int(lengths.max())
    mask = torch.arange(time) < lengths[:, None]
    tokens = tokens[:, :time].masked_fill(~mask, tokenizer.pad_token_id)
    ended = tokens.gather(1, lengths[:, None] - 1)[:, 0] == tokenizer.eos_token_id
    texts = tokenizer.batch_decode([row[:n] for row, n in zip(tokens.tolist(), lengths.tolist())],
                                   skip_special_tokens=True, clean_up_tokenization_spaces=False)
    prompt_tokens, prompt_mask = pad(rows, tokenizer.pad_token_id, side="left")
    return Samples(tokens, mask, logprobs[:, :time].masked_fill(~mask, 0.0), ended, texts, prompt_tokens, prompt_mask)


def _decode(model, eos: int, prompt, mask, uniforms, temperature, banned, top_k, top_p):
    """Sample one batch: tokens (batch, time), logprobs (batch, time), lengths (batch,), garbage after each end."""
    batch, time = uniforms.shape
    device = model.device
    ids, mask, uniforms = prompt.to(device), mask.to(device), uniforms.to(device)
    tokens = torch.full((batch, time), eos, device=device)
    logprobs = torch.zeros(batch, time, device=device)
    lengths = torch.full((batch,), time, device=device)
    alive = torch.arange(batch, device=device)  # rows of the batch that the cache still holds
    positions, cache = position_ids(mask), DynamicCache(config=model.config)
    if all(type(layer) is DynamicLayer for layer in cache.layers):  # no sliding windows or other states
        cache.layers = [_RoomyLayer() for _ in cache.layers]
    for t in range(time):
        out = model(input_ids=ids, attention_mask=mask.long(), position_ids=positions, past_key_values=cache,
                    use_cache=True, logits_to_keep=1)
        logits = allowed_logits(out.logits[:, -1], temperature or 1.0, banned)
        shown = restrict(logits, top_k, top_p)
        token = draw(shown, uniforms[alive, t]) if temperature else shown.argmax(-1)
        tokens[alive, t] = token
        logprobs[alive, t] = logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1)
        ending = (token == eos) & (lengths[alive] == time)
        lengths[alive[ending]] = t + 1
        running = lengths[alive] == time
        if not running.any():
            break
        ids, positions = token[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        if running.sum() <= 0.8 * len(alive):  # compaction: ended rows leave the batch
            keep = running.nonzero()[:, 0]
            alive, ids, positions, mask = alive[keep], ids[keep], positions[keep], mask[keep]
            cache.batch_select_indices(keep)
    return tokens, logprobs, lengths
