"""A batch of responses for any method that learns from rewards: sample, score, ask the reference.

There is no critic here. PPO adds values; a method with a baseline of its own needs none.

What a stage takes from here it calls through the module, `rollout.last_scores(...)`, and `generate`
is looked up here: `exercises/bugs.py` swaps these by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm.sampling import (
    Samples,
    check_lengths,
    check_model,
    generate,
    micro_batches,
    response_logprobs,
    token_scores,
)

MICRO_BATCH = 64  # rows of similar length in one pass: decides speed and memory, not the result


@dataclass
class Rollout(Samples):
    """Responses and what is said of them; `logprobs` are of the policy that sampled."""

    prompts: list[str]
    scores: Tensor  # (batch,), what the reward says
    reference_logprobs: Tensor  # (batch, response length); 0 on padding

    def parts(self, rows: Tensor | None = None) -> Iterator[tuple[tuple, tuple]]:
        """Cut the batch, or some rows of it, into parts that fit into one forward pass.

        Each is a pair: where the part stands in the response tensors, and what a model reads: ids,
        attention mask, and the number of columns that are response.
        """
        if rows is None:
            rows = torch.arange(len(self.ids), device=self.ids.device)
        for part, columns in micro_batches(self.attention_mask[rows], MICRO_BATCH):
            part = rows[part]
            length = columns.stop - self.context_length
            text = self.ids[part, columns], self.attention_mask[part, columns], length
            yield (part, slice(length)), text


def check_models(models: dict, tokenizer, prompt_ids: list[list[int]], max_new_tokens: int) -> None:
    """Put all models (name to model), the policy among them, into eval mode.

    ValueError, naming the model, if they cannot read each other's texts, or a prompt and its
    response are longer than its positions. What is no model, such as a reward function, is left.
    """
    models = {name: model for name, model in models.items() if isinstance(model, nn.Module)}
    known = models["policy"].get_input_embeddings().num_embeddings
    for name, model in models.items():
        rows = model.get_input_embeddings().num_embeddings
        if rows != known:
            raise ValueError(
                f"the {name} knows {rows} tokens, but the policy {known}: they must share a "
                "tokenizer, so make the reward model from the policy's own SFT model"
            )
        check_model(model.eval(), tokenizer)
        check_lengths(model, prompt_ids, f"for the {name}, prompt", room=max_new_tokens)


@torch.no_grad()
def sample_rollout(stage, rows: list[int], seed: int) -> Rollout:
    """Sample a response to each of the stage's prompts in `rows`, and judge it.

    Of the stage are read: `policy`, `reference`, `tokenizer`, `prompts` and their `prompt_ids`,
    `suppressed`, the config's `max_new_tokens` and `temperature`, and `reward`, a reward model or
    a function (prompts, responses, ended) -> (batch,).
    """
    config = stage.config
    prompts = [stage.prompts[i] for i in rows]
    prompt_ids = [stage.prompt_ids[i] for i in rows]
    # 1. Sample responses, each cut at its end token.
    samples = generate(
        stage.policy, stage.tokenizer, prompt_ids, config.max_new_tokens, config.temperature, seed
    )
    # 2. Score each response at its last token.
    if isinstance(stage.reward, nn.Module):
        scores = score_ids(stage.reward, samples.ids, samples.attention_mask)
    else:
        scores = stage.reward(prompts, samples.texts, samples.ended)
    scores = torch.as_tensor(scores, dtype=torch.float32, device=samples.ids.device)
    unknown = torch.zeros_like(samples.logprobs)
    batch = Rollout(**vars(samples), prompts=prompts, scores=scores, reference_logprobs=unknown)
    # 3. Ask the reference how likely each token is, under the distribution sampled from.
    for place, text in batch.parts():
        batch.reference_logprobs[place], _ = response_logprobs(
            stage.reference, *text, config.temperature, stage.suppressed
        )
    return batch


def last_scores(model, ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the head's output (batch,) at each row's last token, wherever the padding is."""
    scores = token_scores(model, ids, attention_mask)
    places = torch.arange(ids.shape[1], device=ids.device)
    last = (places * attention_mask).argmax(1, keepdim=True)
    return scores.gather(1, last)[:, 0]


@torch.no_grad()
def score_ids(model, ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the rewards (batch,) of prompts and responses as ids (batch, time), on model's device.

    The model is put into eval mode, and stays in it.
    """
    model.eval()
    ids = ids.to(model.device)
    attention_mask = attention_mask.to(model.device)
    scores = torch.zeros(len(ids), device=model.device)
    for rows, columns in micro_batches(attention_mask):
        scores[rows] = last_scores(model, ids[rows, columns], attention_mask[rows, columns])
    return scores - model.config.reward_mean
