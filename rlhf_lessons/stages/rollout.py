"""What PPO, RLOO and GRPO share: sample responses, score them, ask the reference, and learn from
the batch for a few passes.

A method says what a batch is worth (`estimate`) and how a minibatch is learned from (`minibatch`).
There is no critic here: PPO adds one.

What a stage takes from here it calls through the module, `rollout.last_scores(...)`, and `generate`
is looked up here: `exercises/bugs.py` swaps these by name.
"""

import copy
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.sampling import (
    Samples,
    check_lengths,
    check_model,
    generate,
    micro_batches,
    response_logprobs,
    suppressed_ids,
    token_scores,
)
from rlhf_lessons.lm.tokenizer import Rows, encode_prompts
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import OnPolicyConfig
from rlhf_lessons.stages.loop import Optimiser, Stage, generator, shuffled_rows


@dataclass
class Rollout(Samples):
    """Responses and what is said of them; `logprobs` are of the policy that sampled."""

    prompts: list[str]
    scores: Tensor  # (batch,), what the reward says
    reference_logprobs: Tensor  # (batch, response length); 0 on padding


def check_models(models: dict, tokenizer, prompt_ids: Rows, max_new_tokens: int) -> None:
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


@dataclass(kw_only=True)
class PolicyStep:
    """What one step gives, over responses' tokens only."""

    step: int
    reward: float  # mean score, before penalties
    kl: float  # from the reference, nats a response
    length: float  # tokens a response
    ended: float  # share of responses with an end token
    entropy: float  # nats a token; this and the three below are means over the update
    policy_loss: float
    clip_fraction: float  # share of ratios, of tokens or of responses, that left 1 +- clip_range
    approx_kl: float  # from the policy that sampled, nats a token
    ratio_error: float  # largest |ratio - 1| in the first minibatch: 0 up to rounding, or a bug
    stopped: bool  # whether the batch was left early
    true_utility: float | None = None  # mean, where a function for it was given


class OnPolicy(Stage):
    """Train `policy` on what it samples itself, by what `reward` says of it.

    `reward` is a reward model, or a function (prompts, responses, ended) -> (batch,). `reference`
    is the model whose distance costs; None takes a frozen copy of the policy as it comes.
    `true_utility`, a function like a reward, is only measured. All models are put into eval mode,
    and stay in it: nothing runs with dropout. ValueError if the models and the tokenizer do not fit
    together, or a prompt is too long.
    """

    Step = PolicyStep

    def __init__(
        self,
        policy,
        tokenizer,
        reward,
        prompts,
        config: OnPolicyConfig,
        true_utility=None,
        reference=None,
        critic=None,
    ):
        if not prompts:
            raise ValueError("no prompts")
        if config.batch_size % config.num_minibatches:
            raise ValueError("batch_size must be a multiple of num_minibatches")
        self.config = config
        self.steps = config.steps
        self.tokenizer = tokenizer
        self.prompts = list(prompts)
        self.prompt_ids = encode_prompts(tokenizer, self.prompts)
        self.policy = policy
        self.reward = reward
        self.true_utility = true_utility
        self.reference = reference or copy.deepcopy(policy)
        critics = {"critic": critic} if critic else {}
        self.models = nn.ModuleDict({"policy": policy, **critics, "reference": self.reference})
        models = {"reward model": reward, **self.models}
        check_models(models, tokenizer, self.prompt_ids, config.max_new_tokens)
        self.suppressed = suppressed_ids(policy, tokenizer)
        self.optimisers = {"policy": self.optimiser(policy, config.lr)}

    def optimiser(self, model, lr: float) -> Optimiser:
        """Return a model's optimiser, as in Ziegler et al. 2019."""
        return Optimiser(model, lr, eps=1e-5, max_grad_norm=self.config.max_grad_norm)

    def train_step(self, step: int) -> PolicyStep:
        batch = self.estimate(self.collect(step))
        metrics = self.update(batch, step)
        if self.true_utility:
            utilities = self.true_utility(batch.prompts, batch.texts, batch.ended)
            metrics["true_utility"] = torch.as_tensor(utilities).float().mean().item()
        return self.Step(
            step=step,
            reward=batch.scores.mean().item(),
            kl=(batch.logprobs - batch.reference_logprobs).sum(1).mean().item(),
            length=batch.response_mask.sum(1).float().mean().item(),
            ended=batch.ended.float().mean().item(),
            **metrics,
        )

    def prompt_rows(self, step: int) -> list[int]:
        """Return the numbers of the prompts that this step answers."""
        config = self.config
        return shuffled_rows(len(self.prompts), config.batch_size, step, config.seed)

    @torch.no_grad()
    def collect(self, step: int) -> Rollout:
        """Sample this step's batch of responses, and judge it."""
        config = self.config
        rows = self.prompt_rows(step)
        prompts = [self.prompts[i] for i in rows]
        prompt_ids = [self.prompt_ids[i] for i in rows]
        seed = generator(config.seed, step, 1).initial_seed()
        # 1. Sample responses, each cut at its end token.
        samples = generate(
            self.policy,
            self.tokenizer,
            prompt_ids,
            config.max_new_tokens,
            config.temperature,
            seed,
        )
        # 2. Score each response at its last token.
        if isinstance(self.reward, nn.Module):
            scores = score_ids(self.reward, samples.ids, samples.attention_mask)
        else:
            scores = self.reward(prompts, samples.texts, samples.ended)
        scores = torch.as_tensor(scores, dtype=torch.float32, device=samples.ids.device)
        # 3. Ask the reference how likely each token is, under the distribution sampled from.
        logprobs = self.logprobs_by(self.reference, samples)
        return Rollout(**vars(samples), prompts=prompts, scores=scores, reference_logprobs=logprobs)

    @torch.no_grad()
    def logprobs_by(self, model, batch: Samples, rows: Tensor | None = None) -> Tensor:
        """Return the log-probs of the responses, or of some rows of them, under a model: (batch,
        response length), 0 on padding and in other rows.
        """
        found = torch.zeros_like(batch.logprobs)
        for place, text in batch.parts(rows):
            found[place], _ = response_logprobs(
                model, *text, self.config.temperature, self.suppressed
            )
        return processes.total(found)

    def penalised(self, batch: Rollout) -> Tensor:
        """Return the scores (batch,), less the penalty of a missing end."""
        return batch.scores - self.config.missing_eos_penalty * ~batch.ended

    def update(self, batch: Rollout, step: int) -> dict:
        """Learn from the batch: some passes, and one step of each optimiser a minibatch."""
        config = self.config
        rng = generator(config.seed, step, 2)
        minibatches = []
        for _ in range(config.update_epochs):
            order = torch.randperm(config.batch_size, generator=rng).to(batch.ids.device)
            minibatches += order.split(config.batch_size // config.num_minibatches)
        history = []
        for rows in minibatches:
            history.append(processes.summed(self.minibatch(batch, rows, step)))
            stopped = history[-1]["approx_kl"] > config.target_kl  # before this step, not after
            if stopped:
                break
            for optimiser in self.optimisers.values():
                optimiser.apply(step, scale=1 - step / config.steps)
        metrics = {"stopped": stopped}
        for name in history[0]:
            metrics[name] = sum(part[name] for part in history) / len(history)
        return metrics | {"ratio_error": history[0]["ratio_error"]}


class Means(defaultdict):
    """The metrics of one minibatch, gathered part by part: means over its `tokens`."""

    def __init__(self, tokens: int):
        super().__init__(float)
        self.tokens = tokens

    @torch.no_grad()
    def add(self, mask: Tensor, logprobs: Tensor, old_logprobs: Tensor, logits: Tensor) -> None:
        """Add what one part says of the policy: how sure it is, and how far it has moved."""
        logratio = logprobs - old_logprobs
        entropy = torch.special.entr(logits.softmax(-1)).sum(-1)
        self.mean(mask, entropy=entropy, approx_kl=losses.kl_k3(-logratio))
        furthest = (logratio.exp() - 1).abs()[mask].max().item()
        self["ratio_error"] = max(self["ratio_error"], furthest)

    def mean(self, mask: Tensor, **each_token: Tensor) -> None:
        """Add one part of a mean over tokens."""
        for name, values in each_token.items():
            self[name] += values[mask].sum().item() / self.tokens


@torch.no_grad()
def left_clip(logprobs: Tensor, old_logprobs: Tensor, clip_range: float) -> Tensor:
    """Return whether each ratio has left 1 +- clip_range."""
    return ((logprobs - old_logprobs).exp() - 1).abs() > clip_range


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
    return processes.total(scores) - model.config.reward_mean
