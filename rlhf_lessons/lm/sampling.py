"""Sampling responses: left-padded prompts, a key-value cache, rows that leave once they have ended.

The log-probability kept with each token is that of the distribution it was drawn from, temperature
and suppressed tokens included. Only so is PPO's ratio 1 at first.
"""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from transformers import DynamicCache

from rlhf_lessons.lm.batching import (
    check_lengths,
    eval_mode,
    inputs,
    logprobs_of,
    pad,
    position_ids,
    process_logits,
    suppressed_ids,
    token_scores,
)
from rlhf_lessons.lm.tokenizer import check_tokenizer, check_vocabulary, encode_prompts

PROBE = [[11, 3, 17, 5, 29], [7, 13], [23]]  # prompts of unequal length, as any ids
CHECKED = WeakKeyDictionary()  # model -> the tokenizers with which it passed `check_model`


@dataclass
class Samples:
    """Responses to a batch of prompts; tensors are on the model's device."""

    tokens: Tensor  # (batch, time) ids up to and with <eos>, then padding
    response_mask: Tensor  # (batch, time) True on the response, <eos> included
    logprobs: Tensor  # (batch, time) of the distribution sampled from, 0 on padding
    ended: Tensor  # (batch,) whether <eos> came before the budget ran out
    texts: list[str]  # the responses without special tokens
    prompt_tokens: Tensor  # (batch, context_length) padded on the left
    prompt_mask: Tensor  # (batch, context_length)


def sample_next_token(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token (batch,) from logits (batch, vocabulary) by one number in [0, 1) for each row.

    It is the first token at which the cumulative probability exceeds the number, so never one of
    probability 0.
    """
    cumulative = logits.softmax(-1).cumsum(-1)
    target = uniform * cumulative[:, -1]
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]


def filter_top_k_top_p(logits: Tensor, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Keep the `top_k` likeliest tokens (0: all), or the likeliest of total probability `top_p`.

    The others get -inf. For display only: training samples from the whole distribution, or its
    log-probs would be of another one. ValueError unless top_k >= 0 and 0 < top_p <= 1.
    """
    if not top_k >= 0:
        raise ValueError(f"top_k must be 0, which keeps all tokens, or more, not {top_k}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {top_p}")
    if top_k:
        least = logits.topk(min(top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if top_p < 1:
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
    """Sample one response to each prompt: texts, which get the chat template, or lists of ids.

    Temperature 0 takes the likeliest token. The same seed gives the same responses; the random
    numbers of a response depend on its place in `prompts`, not on when others end. Dropout is off,
    and the model's mode stays as it was. ValueError for settings out of range, a model that
    `check_model` refuses, an empty or too long prompt, and where the model gives NaN or infinite
    logits, naming the prompt and the token.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or a positive number, not {temperature}")
    if not max_new_tokens >= 1:
        raise ValueError(f"max_new_tokens must be 1 or more, not {max_new_tokens}")
    if not prompts:
        raise ValueError("there are no prompts to answer")
    check_model(model, tokenizer)
    texts = isinstance(prompts[0], str)
    rows = encode_prompts(tokenizer, prompts) if texts else prompts
    check_lengths(model, rows, "prompt", room=max_new_tokens)
    uniforms = torch.rand(len(rows), max_new_tokens, generator=torch.Generator().manual_seed(seed))
    uniforms = uniforms.to(model.device)
    tokens = torch.full_like(uniforms, tokenizer.pad_token_id, dtype=torch.long)
    logprobs = torch.zeros_like(uniforms)
    lengths = torch.zeros(len(rows), dtype=torch.long, device=model.device)
    by_length = torch.tensor(sorted(range(len(rows)), key=lambda i: len(rows[i])))  # less padding
    suppressed = suppressed_ids(model, tokenizer)
    with eval_mode(model):
        for places in by_length.split(batch_size):
            tokens[places], logprobs[places], lengths[places] = _decode(
                model,
                [rows[i] for i in places],
                places,
                uniforms[places],
                tokenizer.eos_token_id,
                suppressed,
                temperature,
                top_k,
                top_p,
            )
    longest = int(lengths.max())
    tokens, logprobs = tokens[:, :longest], logprobs[:, :longest]
    response_mask = torch.arange(longest, device=model.device) < lengths[:, None]
    ended = tokens.gather(1, lengths[:, None] - 1)[:, 0] == tokenizer.eos_token_id
    texts = tokenizer.batch_decode(
        [row[:n] for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    return Samples(
        tokens.masked_fill(~response_mask, tokenizer.pad_token_id),
        response_mask,
        logprobs.masked_fill(~response_mask, 0.0),
        ended,
        texts,
        *pad(rows, tokenizer.pad_token_id, "left", model.device),
    )


@torch.inference_mode()
def _decode(
    model,
    prompts: list[list[int]],
    places: Tensor,
    uniforms: Tensor,
    eos: int,
    suppressed: list[int],
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and log-probs (batch, time), and lengths (batch,), of one batch of prompts.

    What stands after the length of a row is to be ignored. `places` (batch,) are those of the
    prompts in the whole list, for the error where a model's logits are no numbers.
    """
    device = model.device
    ids, attention_mask = pad(prompts, eos, "left", device)
    tokens = torch.zeros_like(uniforms, dtype=torch.long)
    logprobs = torch.zeros_like(uniforms)
    lengths = torch.full_like(tokens[:, 0], tokens.shape[1])
    rows = torch.arange(len(prompts), device=device)  # those still in the batch
    running = torch.ones_like(rows, dtype=torch.bool)  # of these, those that have not ended
    positions = position_ids(attention_mask)
    cache = DynamicCache(config=model.config)
    for t in range(tokens.shape[1]):
        logits = model(
            input_ids=ids,
            attention_mask=attention_mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        logits = process_logits(logits, temperature or 1.0, suppressed)
        total = logits.logsumexp(-1)  # one NaN or inf spoils it, and so does -inf for every token
        if not total.isfinite().all():
            place = int(places[rows[~total.isfinite()][0].cpu()])
            raise ValueError(
                f"prompt {place}, token {t} of its answer (both counted from 0): the model gives "
                "logits that are NaN or infinite, so no token can be drawn. Its weights are "
                "damaged, as by too high a learning rate: load an earlier checkpoint, or train "
                "again with a lower rate"
            )
        kept = filter_top_k_top_p(logits, top_k, top_p)
        token = sample_next_token(kept, uniforms[rows, t]) if temperature else kept.argmax(-1)
        tokens[rows, t] = token
        logprobs[rows, t] = logits.gather(1, token[:, None])[:, 0] - total
        lengths[rows[running & (token == eos)]] = t + 1
        running = running & (token != eos)
        if not running.any():
            break
        ids, positions = token[:, None], positions[:, -1:] + 1
        attention_mask = torch.cat([attention_mask, attention_mask[:, -1:]], 1)
        if running.sum() < 0.8 * len(rows):  # ended rows leave the batch
            keep = running.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            rows, running = rows[keep], running[keep]
            ids, positions, attention_mask = ids[keep], positions[keep], attention_mask[keep]
    return tokens, logprobs, lengths


def check_model(model, tokenizer) -> None:
    """Refuse a language or reward model with which this course would sample or score wrongly.

    It is told by trying, once for each model and tokenizer: a model must give the same numbers for
    a few rows of ids in a padded batch with a cache, from which rows leave, as for each row alone.
    Recurrent models, which read padding, fail; so do models that see what comes later. ValueError
    says what is wrong, with the tokenizer or the model.
    """
    if tokenizer in CHECKED.get(model, ()):
        return
    check_tokenizer(tokenizer)
    check_vocabulary(model, tokenizer)
    family = type(model).__name__
    advice = "Take a model of another family, such as Llama, Qwen or GPT-2"
    try:
        with eval_mode(model):
            error = _probe_scores(model) if hasattr(model, "score") else _probe_sampling(model)
    except Exception as error:  # each family fails in its own way
        raise ValueError(
            f"{family} cannot be used here ({type(error).__name__}: {error}). {advice}"
        ) from error
    if error > 4 * torch.finfo(model.dtype).eps ** 0.5:
        raise ValueError(
            f"{family} cannot be used here: in a padded batch it gives other numbers than for a "
            f"row alone, by up to {error:.2g}. {advice}"
        )
    CHECKED.setdefault(model, WeakSet()).add(tokenizer)


@torch.inference_mode()
def _probe_scores(model) -> float:
    """The largest difference of a padded batch's scores from those of each row alone."""
    ids, attention_mask = pad(PROBE, 0, "left", model.device)
    scores = token_scores(model, ids, attention_mask)
    worst = 0.0
    for i, row in enumerate(PROBE):
        alone = token_scores(model, *pad([row], 0, device=model.device))[0]
        worst = max(worst, (scores[i, attention_mask[i]] - alone).abs().max().item())
    return worst


@torch.inference_mode()
def _probe_sampling(model) -> float:
    """The largest difference of sampled log-probs from those of each row alone, without a cache.

    The end token is the likeliest first one of the longest row, so that this row leaves the batch.
    """
    logits = model(**inputs(*pad(PROBE[:1], 0, device=model.device))).logits[0, -1]
    if not logits.isfinite().all():
        return 0.0  # damaged weights, which `generate` names
    uniforms = torch.zeros(len(PROBE), 4, device=model.device)
    eos = int(logits.argmax())
    places = torch.arange(len(PROBE))
    tokens, logprobs, lengths = _decode(model, PROBE, places, uniforms, eos, [], temperature=0.0)
    worst = 0.0
    for i, prompt in enumerate(PROBE):
        row = prompt + tokens[i, : lengths[i]].tolist()
        alone = logprobs_of(model, *pad([row], 0, device=model.device))[0, len(prompt) - 1 :]
        worst = max(worst, (logprobs[i, : lengths[i]] - alone).abs().max().item())
    return worst
