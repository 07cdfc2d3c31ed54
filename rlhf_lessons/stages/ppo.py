"""Step 4 of RLHF, proximal policy optimisation (PPO): learn to write what the reward model likes.

A response is an episode and a token an action. Each step samples responses, scores them, works out
which tokens did better than the critic expected, and makes those likelier, but not by much.

After Ziegler et al. 2019 and "The N implementation details of RLHF with PPO", with these choices:
the critic is a model of its own with its own optimiser, so there is no value coefficient; the score
lands on the end token, not one later, and no value lies beyond it; a missing end is penalised by
subtraction; losses are means over tokens, so a long response weighs more. Left out: entropy bonus,
dual clip and clip-higher (the KL penalty does their work), an adaptive KL price, whitening,
clipping and running scales of rewards (the reward model is normalised once), PPO-ptx, several
devices.
"""

import copy
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm.checks import check_model
from rlhf_lessons.lm.sampling import check_lengths, micro_batches, suppressed_ids, token_scores
from rlhf_lessons.lm.tokenizer import encode_prompts
from rlhf_lessons.stages import losses, rollout
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.loop import Optimiser, Stage, generator, shuffled_rows
from rlhf_lessons.stages.rollout import Rollout, response_logprobs


@dataclass
class PPOStep:
    """What one step gives, over responses' tokens only."""

    step: int
    reward: float  # mean score, before penalties
    kl: float  # from the reference, nats a response
    length: float  # tokens a response
    ended: float  # share of responses with an end token
    explained_variance: float | None  # None where returns do not vary
    entropy: float  # nats a token; this and the four below are means over the update
    policy_loss: float
    value_loss: float
    clip_fraction: float  # share of tokens whose ratio left 1 +- clip_range
    approx_kl: float  # from the policy that sampled, nats a token
    ratio_error: float  # largest |ratio - 1| in the first minibatch: 0 up to rounding, or a bug
    stopped: bool  # whether the batch was left early
    samples: list[dict]  # the first eight: prompt, response, reward
    true_utility: float | None = None  # mean, where a function for it was given


@dataclass
class Estimates:
    """What the critic makes of a rollout; all are (batch, response length)."""

    values: Tensor
    advantages: Tensor  # whitened
    returns: Tensor


def new_critic(reward_model):
    """Return the critic as it starts: a copy of the reward model, which knows a good answer."""
    return copy.deepcopy(reward_model)


class PPO(Stage):
    """Train `policy` by PPO against `reward`; each item is one `PPOStep`.

    `reward` is a reward model, or a function (prompts, responses, ended) -> (batch,); the critic
    then starts from the reward model `critic_init`. `reference` is the model whose distance costs;
    None takes a frozen copy of the policy as it comes. `true_utility`, a function like a reward, is
    only measured. All models are put into eval mode, and stay in it: nothing runs with dropout.
    ValueError if the models and the tokenizer do not fit together, or a prompt is too long.
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
        reference=None,
    ):
        critic = reward if critic_init is None else critic_init
        if not isinstance(critic, nn.Module):
            raise ValueError(
                "where reward is a function, critic_init must be a reward model for the critic"
            )
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
        self.check_models(
            {"policy": policy, "reward model": reward, "critic": critic, "reference": reference}
        )
        self.suppressed = suppressed_ids(policy, tokenizer)
        self.reward = reward
        self.true_utility = true_utility
        self.critic = new_critic(critic)
        self.reference = copy.deepcopy(policy) if reference is None else reference
        self.models = {"policy": policy, "critic": self.critic, "reference": self.reference}
        self.optimisers = {
            "policy": Optimiser(policy, config.lr, 1e-5, max_grad_norm=config.max_grad_norm),
            "critic": Optimiser(
                self.critic, config.critic_lr, 1e-5, max_grad_norm=config.max_grad_norm
            ),
        }

    def check_models(self, models: dict) -> None:
        """Put all models into eval mode; ValueError if they cannot read each other's texts."""
        known = self.policy.get_input_embeddings().num_embeddings
        for name, model in models.items():
            if not isinstance(model, nn.Module):
                continue  # the reward is a function, or the reference is yet to be copied
            rows = model.get_input_embeddings().num_embeddings
            if rows != known:
                raise ValueError(
                    f"the {name} knows {rows} tokens, but the policy {known}: they must share a "
                    "tokenizer, so make the reward model from the policy's own SFT model"
                )
            check_model(model.eval(), self.tokenizer)
            prompt = f"for the {name}, prompt"
            check_lengths(model, self.prompt_ids, prompt, room=self.config.max_new_tokens)

    def train_step(self, step: int) -> PPOStep:
        config = self.config
        batch = self.collect(step)
        estimates = self.estimate(batch)
        # Learn from the batch: some passes, and one step of each optimiser a minibatch.
        rng = generator(config.seed, step, 2)
        minibatches = []
        for _ in range(config.update_epochs):
            order = torch.randperm(config.batch_size, generator=rng)
            minibatches += order.split(config.batch_size // config.num_minibatches)
        history = []
        stopped = False
        for rows in minibatches:
            history.append(self.minibatch(batch, estimates, rows.to(batch.ids.device), step))
            if history[-1]["approx_kl"] > config.target_kl:  # before this step, not after
                stopped = True
                break
            for optimiser in self.optimisers.values():
                optimiser.apply(step, scale=1 - step / config.steps)

        def mean(name: str) -> float:
            return sum(part[name] for part in history) / len(history)

        return PPOStep(
            step=step,
            reward=batch.scores.mean().item(),
            kl=(batch.old_logprobs - batch.reference_logprobs).sum(1).mean().item(),
            length=batch.response_mask.sum(1).float().mean().item(),
            ended=batch.ended.float().mean().item(),
            explained_variance=losses.explained_variance(
                estimates.values, estimates.returns, batch.response_mask
            ),
            entropy=mean("entropy"),
            policy_loss=mean("policy_loss"),
            value_loss=mean("value_loss"),
            clip_fraction=mean("clip_fraction"),
            approx_kl=mean("approx_kl"),
            ratio_error=history[0]["ratio_error"],
            stopped=stopped,
            samples=[
                {"prompt": prompt, "response": response, "reward": score}
                for prompt, response, score in zip(
                    batch.prompts[:8], batch.responses, batch.scores.tolist(), strict=False
                )
            ],
            true_utility=self.measure(batch),
        )

    @torch.no_grad()
    def collect(self, step: int) -> Rollout:
        """Sample this step's batch of responses, score them, and ask the reference."""
        config = self.config
        rows = shuffled_rows(len(self.prompts), config.batch_size, step, config.seed)
        return rollout.sample_rollout(
            self.policy,
            self.reference,
            self.reward,
            self.tokenizer,
            [self.prompts[i] for i in rows],
            [self.prompt_ids[i] for i in rows],
            self.suppressed,
            config,
            generator(config.seed, step, 1).initial_seed(),
        )

    @torch.no_grad()
    def estimate(self, batch: Rollout) -> Estimates:
        """Work out how much better each token did than the critic expected."""
        config = self.config
        mask = batch.response_mask
        # 1. The critic's values.
        values = torch.zeros_like(batch.old_logprobs)
        for rows, columns in micro_batches(batch.attention_mask, rollout.MICRO_BATCH):
            length = columns.stop - batch.context_length
            values[rows, :length] = self.token_values(
                batch.ids[rows, columns], batch.attention_mask[rows, columns], length
            )
        # 2. Each token pays for its KL; the last gets the score, less the price of a missing end.
        scores = batch.scores - config.missing_eos_penalty * ~batch.ended
        rewards = losses.token_rewards(
            batch.old_logprobs, batch.reference_logprobs, mask, scores, config.kl_coef
        )
        # 3. Advantages and returns, then whitening, in this order: the critic learns real returns.
        advantages, returns = losses.gae(rewards, values, mask, config.gamma, config.gae_lambda)
        return Estimates(values, losses.whiten(advantages, mask), returns)

    def minibatch(self, batch: Rollout, estimates: Estimates, rows: Tensor, step: int) -> dict:
        """Add up the gradients of one minibatch; return its metrics, means over its tokens."""
        config = self.config
        learns = step >= config.critic_warmup
        tokens = batch.response_mask[rows].sum().item()
        metrics = defaultdict(float)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        for part, columns in micro_batches(batch.attention_mask[rows], rollout.MICRO_BATCH):
            part = rows[part]
            length = columns.stop - batch.context_length
            ids = batch.ids[part, columns]
            attention_mask = batch.attention_mask[part, columns]
            mask = batch.response_mask[part, :length]
            old_logprobs = batch.old_logprobs[part, :length]

            # The critic
            value_losses = losses.clipped_value_loss(
                self.token_values(ids, attention_mask, length),
                estimates.values[part, :length],
                estimates.returns[part, :length],
                config.clip_range_value,
            )[mask]
            self.optimisers["critic"].backward(value_losses.sum() / tokens, step)

            # The policy
            with torch.set_grad_enabled(learns):
                logprobs, logits = response_logprobs(
                    self.policy, ids, attention_mask, length, config.temperature, self.suppressed
                )
                policy_losses = losses.clipped_policy_loss(
                    logprobs, old_logprobs, estimates.advantages[part, :length], config.clip_range
                )[mask]
            if learns:
                self.optimisers["policy"].backward(policy_losses.sum() / tokens, step)

            with torch.no_grad():
                logratio = (logprobs - old_logprobs)[mask]
                ratio_errors = (logratio.exp() - 1).abs()
                entropies = torch.special.entr(logits.softmax(-1)).sum(-1)[mask]
                clipped = ratio_errors > config.clip_range
                metrics["policy_loss"] += policy_losses.sum().item() / tokens
                metrics["value_loss"] += value_losses.sum().item() / tokens
                metrics["entropy"] += entropies.sum().item() / tokens
                metrics["clip_fraction"] += clipped.sum().item() / tokens
                metrics["approx_kl"] += losses.kl_k3(-logratio).sum().item() / tokens
                metrics["ratio_error"] = max(metrics["ratio_error"], ratio_errors.max().item())
        return metrics

    def token_values(self, ids: Tensor, attention_mask: Tensor, response_length: int) -> Tensor:
        """Return the critic's values (batch, response length), each before its token is seen."""
        scores = token_scores(self.critic, ids, attention_mask)
        return scores[:, -response_length - 1 : -1] - self.critic.config.reward_mean

    def measure(self, batch: Rollout) -> float | None:
        """Return the batch's mean true utility, or None where no function for it was given."""
        if self.true_utility is None:
            return None
        utilities = self.true_utility(batch.prompts, batch.responses, batch.ended)
        return torch.as_tensor(utilities, dtype=torch.float32).mean().item()
