"""Step 4 of RLHF, proximal policy optimisation (PPO): learn to write what the reward model scores highly.

A response is an episode and a token an action. Each step samples responses, scores them, works out which tokens did
better than the critic expected, and makes those likelier, but not by much.

After Ziegler et al. 2019 and "The N implementation details of RLHF with PPO", with these choices: the critic is a
model of its own with its own optimiser, so there is no value coefficient; the score lands on the end token, not one
later, and no value lies beyond it; a missing end is penalised by subtraction; losses are means over tokens, so a
long response weighs more. Left out: entropy bonus, dual clip and clip-higher (the KL penalty does their work),
whitening, clipping and running scales of rewards (the reward model is normalised once), PPO-ptx, several devices.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf_lessons.lm.batching import (
    gather_logprobs,
    micro_batches,
    response_logits,
    suppressed_ids,
    token_scores,
)
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.loop import Optimiser, Stage, generator, shuffled_rows
from rlhf_lessons.stages.reward import score_ids

MICRO_BATCH = (
    64  # rows of similar length in one forward pass: decides speed and memory, not the result
)


@dataclass(frozen=True)
class PPOConfig:
    steps: int = 40  # How many times to sample a batch of responses and learn from it.
    batch_size: int = 512  # Responses in a batch.
    minibatches: int = 2  # Parts of the batch; each gives one step of the optimisers.
    epochs: int = 2  # Passes over the batch before new responses are sampled.
    lr: float = 8e-4  # The policy's learning rate at the start; it falls linearly to zero.
    critic_lr: float = 1.6e-3  # The critic's learning rate at the start; it falls linearly to zero.
    critic_warmup: int = 4  # Steps at first in which only the critic learns; an ignorant one sends the policy astray.
    kl_coef: float = 0.05  # Price in reward of one nat of KL from the reference, the SFT model.
    kl_target: float | None = (
        None  # Nats a response at which to hold the KL by adapting kl_coef; None keeps it fixed.
    )
    kl_horizon: int = 10_000  # Responses over which an adapted kl_coef may change by a fifth.
    kl_estimator: str = "k1"  # How a token's KL is estimated for the reward: k1, k2, k3; only k1 has a right gradient.
    missing_end_penalty: float = 1.0  # Reward that a response without an end token loses.
    gamma: float = 1.0  # Discount a token; 1 since a response is as good as its last token says.
    lam: float = 0.95  # Lambda of GAE: 1 trusts only the returns seen, 0 only the critic.
    clip: float = (
        0.2  # How far a token's probability ratio may move from 1 before the token stops counting.
    )
    value_clip: float = (
        0.2  # How far a value may move from its old one before the move stops counting.
    )
    stop_kl: float = 0.05  # Leave the batch once the policy is this many nats a token from the one that sampled it.
    temperature: float = 1.0  # Temperature of sampling; log-probs are of the same distribution.
    max_new_tokens: int = 60  # Tokens in the longest response.
    max_grad_norm: float = 1.0  # Longer gradients are shortened to this.
    seed: int = 0  # Decides the order of prompts, the samples and the minibatches.


@dataclass
class PPOStep:
    """What one step gives, over real tokens only."""

    step: int
    reward: float  # mean score, before penalties
    kl: float  # from the reference, nats a response
    kl_coef: float
    length: float  # tokens a response
    ended: float  # share of responses with an end token
    explained_variance: float
    samples: list[dict]  # the first eight: prompt, response, reward
    true_utility: float | None = None  # mean, where a function for it was given
    entropy: float = 0.0  # nats a token; this and all below are means over the update
    policy_loss: float = 0.0
    value_loss: float = 0.0
    clip_fraction: float = 0.0  # share of tokens whose ratio left 1 +- clip
    approx_kl: float = 0.0  # from the policy that sampled, nats a token
    ratio_error: float = (
        0.0  # largest |ratio - 1| in the first minibatch: 0 up to rounding, or something is wrong
    )
    stopped: bool = False  # whether the batch was left early


@dataclass
class Rollout:
    """A batch of responses and all that the update needs to know of them."""

    ids: Tensor  # (batch, start + time): prompts padded on the left, responses on the right
    real: Tensor  # (batch, start + time): True where ids are no padding
    start: int  # the column at which responses begin
    mask: Tensor  # (batch, time), the part of `real` that is response; all below are (batch, time) too
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def new_critic(reward_model):
    """Return the critic as it starts: a copy of the reward model, which knows what a good answer is."""
    return copy.deepcopy(reward_model).eval()


class PPO(Stage):
    """Train `policy` by PPO against `reward`; each item is one `PPOStep`. The reference is `policy` as it comes.

    `reward` is a reward model, or a function (prompts, responses, ended) -> (batch,); the critic then starts from
    the reward model `critic_init`. `true_utility`, such a function, is only measured.
    """

    def __init__(
        self,
        policy,
        tokenizer,
        reward,
        prompts,
        config: PPOConfig,
        critic_init=None,
        true_utility=None,
    ):
        critic = reward if critic_init is None else critic_init
        if not isinstance(critic, torch.nn.Module):
            raise ValueError(
                "where reward is a function, critic_init must be a reward model for the critic"
            )
        if (
            config.batch_size % config.minibatches
            or config.kl_estimator not in losses.KL_ESTIMATORS
        ):
            raise ValueError(
                "batch_size must be a multiple of minibatches, and kl_estimator k1, k2 or k3"
            )
        self.policy, self.tokenizer, self.reward, self.prompts = (
            policy.eval(),
            tokenizer,
            reward,
            list(prompts),
        )
        self.config, self.steps, self.true_utility, self.kl_coef = (
            config,
            config.steps,
            true_utility,
            config.kl_coef,
        )
        self.reference, self.critic = copy.deepcopy(policy), new_critic(critic)
        self.suppressed = suppressed_ids(policy, tokenizer)
        self.models = {"policy": self.policy, "critic": self.critic, "reference": self.reference}
        rates = {"policy": config.lr, "critic": config.critic_lr}
        self.optimisers = {
            name: Optimiser(self.models[name], lr, eps=1e-5, max_grad_norm=config.max_grad_norm)
            for name, lr in rates.items()
        }

    def train_step(self, step: int) -> PPOStep:
        rollout, result = self.rollout(step)
        self.update(rollout, result, step)
        target, size, horizon = (
            self.config.kl_target,
            self.config.batch_size,
            self.config.kl_horizon,
        )
        if target is not None:
            self.kl_coef = losses.adapted_kl_coef(self.kl_coef, result.kl, target, size, horizon)
        return result

    @torch.no_grad()
    def rollout(self, step: int) -> tuple[Rollout, PPOStep]:
        """Sample a batch and judge every token of it."""
        config, device = self.config, self.policy.device
        # 1. Sample responses, each cut at its end token.
        prompts = [
            self.prompts[i]
            for i in shuffled_rows(len(self.prompts), config.batch_size, step, config.seed)
        ]
        seed = generator(config.seed, step, 1).initial_seed()
        samples = generate(
            self.policy, self.tokenizer, prompts, config.max_new_tokens, config.temperature, seed
        )
        ids = torch.cat([samples.prompt_tokens, samples.tokens], 1).to(device)
        real = torch.cat([samples.prompt_mask, samples.response_mask], 1).to(device)
        logprobs, mask, ended = (
            samples.logprobs.to(device),
            samples.response_mask.to(device),
            samples.ended.to(device),
        )
        start = ids.shape[1] - mask.shape[1]
        # 2. Score each response at its last token.
        if isinstance(self.reward, torch.nn.Module):
            scores = score_ids(self.reward, ids, real)
        else:
            scores = torch.as_tensor(
                self.reward(prompts, samples.texts, samples.ended), dtype=torch.float32
            )
        # 3. Ask the reference and the critic about each token.
        reference, values = torch.zeros_like(logprobs), torch.zeros_like(logprobs)
        for rows, columns in micro_batches(real, MICRO_BATCH):
            batch, time = (ids[rows, columns], real[rows, columns]), columns.stop - start
            reference[rows, :time] = self.token_logprobs(self.reference, *batch, time)[0]
            values[rows, :time] = self.token_values(*batch, time)
        # 4. Each token pays for its KL; the last one gets the score, less the penalty for a missing end.
        logratio = logprobs - reference  # 0 on padding
        rewards = -self.kl_coef * losses.KL_ESTIMATORS[config.kl_estimator](logratio)
        rewards[torch.arange(len(ids)), mask.sum(1) - 1] += (
            scores.to(device) - config.missing_end_penalty * ~ended
        )
        # 5. Advantages and returns, then whitening, in this order: the critic must learn real returns.
        advantages, returns = losses.gae(rewards, values, mask, config.gamma, config.lam)
        rollout = Rollout(
            ids, real, start, mask, logprobs, values, losses.whiten(advantages, mask), returns
        )
        result = PPOStep(
            step,
            reward=scores.mean().item(),
            kl=logratio.sum(1).mean().item(),
            kl_coef=self.kl_coef,
            length=mask.sum(1).float().mean().item(),
            ended=ended.float().mean().item(),
            explained_variance=losses.explained_variance(values, returns, mask),
            samples=[
                {"prompt": p, "response": t, "reward": r}
                for p, t, r in zip(prompts[:8], samples.texts, scores.tolist(), strict=False)
            ],
        )
        if self.true_utility is not None:
            utilities = self.true_utility(prompts, samples.texts, samples.ended)
            result.true_utility = torch.as_tensor(utilities, dtype=torch.float32).mean().item()
        return rollout, result

    def update(self, rollout: Rollout, result: PPOStep, step: int) -> None:
        """Learn from a batch: `epochs` passes, and one step of each optimiser a minibatch. Completes `result`."""
        config, history = self.config, []
        rng, size = generator(config.seed, step, 2), config.batch_size // config.minibatches
        orders = [
            torch.randperm(config.batch_size, generator=rng).split(size)
            for _ in range(config.epochs)
        ]
        for rows in (rows for order in orders for rows in order):
            history.append(self.minibatch(rollout, rows.to(rollout.ids.device), step))
            if history[-1]["approx_kl"] > config.stop_kl:  # before this minibatch's step, not after
                result.stopped = True
                break
            for optimiser in self.optimisers.values():
                optimiser.apply(step, scale=1 - step / config.steps)
        for name in history[0]:
            setattr(result, name, sum(part[name] for part in history) / len(history))
        result.ratio_error = history[0]["ratio_error"]

    def minibatch(self, rollout: Rollout, rows: Tensor, step: int) -> dict[str, float]:
        """Add up the gradients of one minibatch, and give its metrics (means over its real tokens)."""
        config, tokens, sums = self.config, rollout.mask[rows].sum(), {}
        learns = step >= config.critic_warmup
        for optimiser in self.optimisers.values():
            optimiser.adam.zero_grad(set_to_none=True)
        for part, columns in micro_batches(rollout.real[rows], MICRO_BATCH):
            part = rows[part]
            batch, time = (
                (rollout.ids[part, columns], rollout.real[part, columns]),
                columns.stop - rollout.start,
            )
            mask, old, old_values, advantages, returns = (
                x[part, :time]
                for x in (
                    rollout.mask,
                    rollout.logprobs,
                    rollout.values,
                    rollout.advantages,
                    rollout.returns,
                )
            )
            value_losses = losses.clipped_value_loss(
                self.token_values(*batch, time), old_values, returns, config.value_clip
            )[mask]
            self.optimisers["critic"].backward(value_losses.sum() / tokens, step)
            with torch.set_grad_enabled(learns):
                logprobs, logits = self.token_logprobs(self.policy, *batch, time)
                policy_losses = losses.clipped_policy_loss(logprobs, old, advantages, config.clip)[
                    mask
                ]
            if learns:
                self.optimisers["policy"].backward(policy_losses.sum() / tokens, step)
            with torch.no_grad():
                logratio = (logprobs - old)[mask]
                off = logratio.exp().sub(1).abs()
                entropies = torch.special.entr(logits.softmax(-1)).sum(-1)[mask]
                for name, x in {
                    "policy_loss": policy_losses,
                    "value_loss": value_losses,
                    "entropy": entropies,
                    "clip_fraction": off > config.clip,
                    "approx_kl": losses.kl_k3(-logratio),
                }.items():
                    sums[name] = sums.get(name, 0.0) + x.sum().item() / tokens.item()
                sums["ratio_error"] = max(sums.get("ratio_error", 0.0), off.max().item())
        return sums

    def token_logprobs(self, model, ids: Tensor, real: Tensor, time: int) -> tuple[Tensor, Tensor]:
        """Log-probs (batch, time) of the last `time` tokens under the distribution sampled from, and its logits."""
        logits = response_logits(model, ids, real, time, self.config.temperature, self.suppressed)
        return gather_logprobs(logits, ids[:, -time:], real[:, -time:]), logits

    def token_values(self, ids: Tensor, real: Tensor, time: int) -> Tensor:
        """The critic's values (batch, time): what it expects when each of the last `time` tokens is yet to come."""
        return (
            token_scores(self.critic, ids, real)[:, -time - 1 : -1] - self.critic.config.reward_mean
        )

    def state_dict(self) -> dict:
        return {**super().state_dict(), "kl_coef": self.kl_coef}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.kl_coef = state["kl_coef"]
