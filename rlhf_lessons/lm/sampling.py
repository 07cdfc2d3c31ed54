"""Rows of unequal length in one tensor, what a model says of them, and sampling responses.

Masks come from lengths, never from ids, so a tokenizer whose pad token is its end token does no
harm. Every forward pass over padded rows gets `attention_mask` and `position_ids`: with left
padding GPT-2 is wrong without them. An `attention_mask` (batch, time) covers prompt and response,
a `response_mask` the response alone; both are True on real tokens.

The log-probability kept with each sampled token is that of the distribution it was drawn from,
temperature and suppressed tokens included. Only so is PPO's ratio 1 at first.

Which models can be used is found by trying, before anything is sampled or trained (`check_model`).
Whatever samples or scores puts its model into eval mode, since dropout has no place there.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.decoder import fast
from rlhf_lessons.lm.tokenizer import Rows, check_tokenizer, check_vocabulary, encode_prompts

CHECKED = WeakKeyDictionary()  # model -> the tokenizers with which it passed `check_model`
# Rows of similar length in one pass, and the logits that it may make: these decide speed and
# memory, not the result.
MICRO_BATCH = 64
MOST_LOGITS = 2**26  # a quarter of a GB, of which training holds a few copies
TRIAL = [[11, 3, 17, 5, 29, 8], [7, 13], [23, 2, 19]]  # the rows of token ids that it reads


def pad(rows: Rows, pad_id: int, side: str = "right", device="cpu") -> tuple[Tensor, Tensor]:
    """Pad lists of ids to one length: ids and attention mask, both (batch, time), on `device`."""
    rows = [torch.tensor(row, dtype=torch.long) for row in rows]
    marks = [torch.ones_like(row, dtype=torch.bool) for row in rows]
    ids = pad_sequence(rows, True, pad_id, side)
    attention_mask = pad_sequence(marks, True, False, side)
    return ids.to(device), attention_mask.to(device)


def most_tokens(model) -> float:
    """Return how many positions a model has, infinity where it sets no limit."""
    config = model.config
    return getattr(config, "max_position_embeddings", getattr(config, "max_seq_len", math.inf))


def check_lengths(model, rows: Rows, what: str, room: int = 0) -> None:
    """ValueError, naming the first row of ids that is empty or does not fit into the model.

    `what` is what a row is, such as "demonstration"; `room` counts the tokens that are still to
    come. Beyond its positions GPT-2 stops with an IndexError, and Llama continues in silence.
    """
    positions = most_tokens(model)
    for i, row in enumerate(rows):
        if not row:
            raise ValueError(f"{what} {i} (counted from 0) has no token")
        if len(row) + room > positions:
            more = f" and {room} to come" if room else ""
            raise ValueError(
                f"{what} {i} (counted from 0) is too long: {len(row)} tokens{more}, but the model "
                f"has {positions} positions: shorten it"
            )


def position_ids(attention_mask: Tensor) -> Tensor:
    """Positions (batch, time) that count real tokens only: a row's first is at 0."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)


def inputs(ids: Tensor, attention_mask: Tensor, cache: DynamicCache | None = None) -> dict:
    """The arguments of a forward pass; with a cache, `ids` are those that it does not hold yet."""
    return {
        "input_ids": ids,
        "attention_mask": attention_mask.long(),
        "position_ids": position_ids(attention_mask)[:, -ids.shape[1] :],
        "past_key_values": cache,
        "use_cache": cache is not None,
    }


def micro_batches(attention_mask: Tensor, size: int = 128) -> Iterator[tuple[Tensor, slice]]:
    """Row numbers in groups of `size` of similar length, each with the columns that they span.

    Each of several processes gets only its share: the caller adds up what they find.
    """
    by_length = attention_mask.sum(1).argsort(stable=True)
    for rows in map(processes.share, by_length.split(size)):
        if len(rows):
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
    logits = logits.float() / temperature
    index = torch.tensor(suppressed, dtype=torch.long, device=logits.device)
    return logits.index_fill(-1, index, float("-inf"))


def response_logprobs(
    model,
    ids: Tensor,
    attention_mask: Tensor,
    response_length: int,
    temperature: float = 1.0,
    suppressed=(),
) -> tuple[Tensor, Tensor]:
    """Log-probs (batch, response_length) of the last `response_length` ids, and their logits.

    Both are of the distribution sampled from; log-probs are 0 on padding, and on the first token of
    a row that is padded on the left. No logits are computed for the ids before.
    """
    output = model(**inputs(ids, attention_mask), logits_to_keep=response_length + 1)
    logits = process_logits(output.logits[:, :-1], temperature, suppressed)
    tokens = ids[:, -response_length:]
    losses = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
    predicted = attention_mask[:, -response_length:] & attention_mask[:, -response_length - 1 : -1]
    return -losses.view_as(tokens).masked_fill(~predicted, 0.0), logits


def logprobs_of(
    model, ids: Tensor, attention_mask: Tensor, temperature: float = 1.0, suppressed=()
) -> Tensor:
    """Log-probs (batch, time - 1) of ids[:, 1:] under the distribution sampled from."""
    length = ids.shape[1] - 1
    return response_logprobs(model, ids, attention_mask, length, temperature, suppressed)[0]


def token_scores(model, ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The scalar head's output (batch, time) on every token, of a reward model or a critic.

    We call the base model and the head ourselves: transformers would look for the last token that
    is not the pad id, and would pass no positions to GPT-2.
    """
    hidden = model.base_model(**inputs(ids, attention_mask)).last_hidden_state
    return model.score(hidden).squeeze(-1).float()


def check_model(model, tokenizer) -> None:
    """Refuse a language or reward model with which this course would sample or score wrongly.

    A model must give the same numbers for a few rows in a padded batch, with a cache from which a
    row leaves, as for each row alone. Recurrent models, which read padding, do not; nor do models
    that see what comes later. It costs a few short forward passes, once for each model and
    tokenizer. ValueError says what is wrong with the tokenizer or the model.
    """
    if tokenizer in CHECKED.get(model, ()):
        return
    check_tokenizer(tokenizer)
    check_vocabulary(model, tokenizer)
    refused = f"{type(model).__name__} cannot be used here"
    advice = "Take a model of another family, such as Llama, Qwen or GPT-2"
    try:
        alone, together = _try_out(model)
    except Exception as error:  # each family fails in its own way
        raise ValueError(f"{refused} ({type(error).__name__}: {error}). {advice}") from error
    error = (together - alone).abs().max() / alone.abs().max()
    # float32 may differ by 2e-5, bfloat16 by 0.04. NaN is left to `generate`, which names it.
    if error > torch.finfo(model.dtype).eps ** (2 / 3):
        raise ValueError(
            f"{refused}: in a padded batch it gives other numbers than for a row alone, by "
            f"{error:.2g} of their size. {advice}"
        )
    CHECKED.setdefault(model, WeakSet()).add(tokenizer)


@torch.inference_mode()
def _try_out(model) -> tuple[Tensor, Tensor]:
    """What a model makes of each row alone, and in a batch padded on the left: (rows, width) both.

    Of a reward model it is what its head reads, of a language model the logits.
    """
    model = model.eval().base_model if hasattr(model, "score") else model.eval()

    def read(*row) -> Tensor:
        return model(**inputs(*row))[0][:, -1]

    ids, attention_mask = pad(TRIAL, 0, "left", model.device)
    cache = DynamicCache(config=model.config)
    read(ids[:, :-1], attention_mask[:, :-1], cache)
    left = torch.tensor([1, 2], device=model.device)
    cache.batch_select_indices(left)  # row 0 leaves
    together = read(ids[left, -1:], attention_mask[left], cache)
    return torch.cat([read(*pad([row], 0, device=model.device)) for row in TRIAL[1:]]), together


@dataclass
class Samples:
    """Responses to a batch of prompts, on the model's device.

    Prompts are padded on the left and responses on the right, so that all responses begin at the
    column `context_length`. The response tensors begin there: (batch, response length).
    """

    texts: list[str]  # the responses without special tokens
    ids: Tensor  # (batch, context length + response length)
    attention_mask: Tensor  # the same shape, True where ids are no padding
    context_length: int
    response_mask: Tensor  # (batch, response length), True on a response, its <eos> included
    logprobs: Tensor  # (batch, response length), of the distribution sampled from; 0 on padding
    ended: Tensor  # (batch,), whether <eos> came before the budget ran out
    logits: int  # of one response: its length times the vocabulary

    @property
    def tokens(self) -> Tensor:
        """The responses' ids (batch, response length)."""
        return self.ids[:, self.context_length :]

    def parts(self, rows: Tensor | None = None) -> Iterator[tuple[tuple, tuple]]:
        """Cut the batch, or some rows of it, into parts that fit into one forward pass.

        Each is a pair: where the part stands in the response tensors, and what a model reads: ids,
        attention mask, and the number of columns that are response.
        """
        if rows is None:
            rows = torch.arange(len(self.ids), device=self.ids.device)
        size = min(MICRO_BATCH, MOST_LOGITS // self.logits) or 1
        for part, columns in micro_batches(self.attention_mask[rows], size):
            part = rows[part]
            length = columns.stop - self.context_length
            text = self.ids[part, columns], self.attention_mask[part, columns], length
            yield (part, slice(length)), text


def sample_next_token(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token (batch,) from logits (batch, vocabulary) by one number in [0, 1) for each row.

    It is the first token at which the cumulative probability exceeds the number, so never one of
    probability 0.
    """
    cumulative = logits.softmax(-1).cumsum(-1)
    target = uniform * cumulative[:, -1]
    return torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]


def generate(
    model,
    tokenizer,
    prompts: list,
    max_new_tokens: int = 60,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 128,
) -> Samples:
    """Sample one response to each prompt: texts, which get the chat template, or lists of ids.

    Temperature 0 takes the likeliest token. The same seed gives the same responses; the random
    numbers of a response depend on its place in `prompts`, not on when others end. The model is put
    into eval mode, and stays in it. ValueError for settings out of range, a model that
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
    if isinstance(prompts[0], str):
        prompts = encode_prompts(tokenizer, prompts)
    check_lengths(model, prompts, "prompt", room=max_new_tokens)
    prompt_ids, prompt_mask = pad(prompts, tokenizer.pad_token_id, "left", model.device)
    rng = torch.Generator().manual_seed(seed)
    uniforms = torch.rand(len(prompts), max_new_tokens, generator=rng).to(model.device)
    tokens, logprobs = _decode(
        fast(model.eval()),
        prompt_ids,
        prompt_mask,
        uniforms,
        tokenizer.eos_token_id,
        suppressed_ids(model, tokenizer),
        temperature,
        batch_size,
    )
    ends = (tokens == tokenizer.eos_token_id).long()
    response_mask = ends.cumsum(1) - ends == 0  # up to and including the first end token
    response_mask = response_mask[:, : response_mask.sum(1).max()]
    length = response_mask.shape[1]
    tokens = tokens[:, :length].masked_fill(~response_mask, tokenizer.pad_token_id)
    texts = tokenizer.batch_decode(
        tokens.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return Samples(
        texts,
        torch.cat([prompt_ids, tokens], 1),
        torch.cat([prompt_mask, response_mask], 1),
        prompt_ids.shape[1],
        response_mask,
        logprobs[:, :length].masked_fill(~response_mask, 0.0),
        ends.any(1),
        length * model.config.vocab_size,
    )


@torch.inference_mode()
def _decode(
    model,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    uniforms: Tensor,
    eos: int,
    suppressed: list[int],
    temperature: float,
    batch_size: int,
) -> tuple[Tensor, Tensor]:
    """Continue prompts by a token for each of `uniforms` (prompts, time).

    Return the tokens and their log-probs, of the same shape; what a row holds after its end token
    is to be ignored.
    """
    tokens = torch.zeros_like(uniforms, dtype=torch.long)
    logprobs = torch.zeros_like(uniforms)
    for rows, columns in micro_batches(prompt_mask, batch_size):
        both = torch.stack([prompt_ids[rows, columns], prompt_mask[rows, columns]])
        (ids, attention_mask), place = both.unique(dim=1, return_inverse=True)
        ended = torch.zeros_like(rows, dtype=torch.bool)
        cache = DynamicCache(config=model.config)
        for t in range(uniforms.shape[1]):
            logits = model(**inputs(ids, attention_mask, cache), logits_to_keep=1).logits[:, -1]
            if t == 0:  # each prompt was read once for all its responses
                cache.batch_select_indices(place)
                logits = logits[place]
                attention_mask = attention_mask[place]
            logits = process_logits(logits, temperature or 1.0, suppressed)
            total = logits.logsumexp(-1)  # one NaN or inf spoils it, and so does -inf everywhere
            if not total.isfinite().all():
                row = rows[~total.isfinite()][0]
                raise ValueError(
                    f"prompt {row}, token {t} of its answer (both counted from 0): the model gives "
                    "logits that are NaN or infinite, so no token can be drawn. Its weights are "
                    "damaged, as by too high a learning rate: load an earlier checkpoint, or train "
                    "again with a lower rate"
                )
            if temperature:
                token = sample_next_token(logits, uniforms[rows, t])
            else:
                token = logits.argmax(-1)
            tokens[rows, t] = token
            logprobs[rows, t] = logits.gather(1, token[:, None])[:, 0] - total
            ended |= token == eos
            if ended.all():
                break
            ids = token[:, None]
            attention_mask = F.pad(attention_mask, (0, 1), value=True)
            if 5 * ended.sum() > len(rows):  # ended rows leave the batch
                keep = (~ended).nonzero()[:, 0]
                cache.batch_select_indices(keep)
                rows = rows[keep]
                ended = ended[keep]
                ids = ids[keep]
                attention_mask = attention_mask[keep]
    return processes.total(tokens), processes.total(logprobs)
