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

from rlhf_lessons.lm.sampling import response_logprobs, suppressed_ids, token_scores
from rlhf_lessons.lm.tokenizer import encode_prompts
from rlhf_lessons.stages import losses, rollout
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.loop import Optimiser, Stage, backward, generator, shuffled_rows
from rlhf_lessons.stages.rollout import Rollout


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
    samples: list[tuple[str, str, float]]  # the first eight: prompt, response, reward
    true_utility: float | None = None  # mean, where a function for it was given


@dataclass
class Episodes(Rollout):
    """A rollout, and what the critic makes of it; all three are (batch, response length)."""

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
        critic = critic_init or reward
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
        self.reward = reward
        self.true_utility = true_utility
        self.critic = new_critic(critic)
        self.reference = reference or copy.deepcopy(policy)
        self.models = nn.ModuleDict(
            {"policy": policy, "critic": self.critic, "reference": self.reference}
        )
        models = {"reward model": reward, **self.models}
        rollout.check_models(models, tokenizer, self.prompt_ids, config.max_new_tokens)
        self.suppressed = suppressed_ids(policy, tokenizer)
        settings = {"eps": 1e-5, "max_grad_norm": config.max_grad_norm}
        self.optimisers = {
            "policy": Optimiser(policy, config.lr, **settings),
            "critic": Optimiser(self.critic, config.critic_lr, **settings),
        }

    def train_step(self, step: int) -> PPOStep:
        batch = self.estimate(self.collect(step))
        metrics = self.update(batch, step)
        if self.true_utility:
            utilities = self.true_utility(batch.prompts, batch.texts, batch.ended)
            metrics["true_utility"] = torch.as_tensor(utilities).float().mean().item()
        samples = list(zip(batch.prompts, batch.texts, batch.scores.tolist(), strict=True))
        return PPOStep(
            step=step,
            reward=batch.scores.mean().item(),
            kl=(batch.logprobs - batch.reference_logprobs).sum(1).mean().item(),
            length=batch.response_mask.sum(1).float().mean().item(),
            ended=batch.ended.float().mean().item(),
            explained_variance=losses.explained_variance(
                batch.values, batch.returns, batch.response_mask
            ),
            samples=samples[:8],
            **metrics,
        )

    def collect(self, step: int) -> Rollout:
        """Sample this step's batch of responses, score them, and ask the reference."""
        config = self.config
        rows = shuffled_rows(len(self.prompts), config.batch_size, step, config.seed)
        return rollout.sample_rollout(self, rows, generator(config.seed, step, 1).initial_seed())

    @torch.no_grad()
    def estimate(self, batch: Rollout) -> Episodes:
        """Work out how much better each token did than the critic expected."""
        config = self.config
        mask = batch.response_mask
        # 1. The critic's values.
        values = torch.zeros_like(batch.logprobs)
        for place, text in batch.parts():
            values[place] = self.token_values(*text)
        # 2. Each token pays for its KL; the last gets the score, less the price of a missing end.
        scores = batch.scores - config.missing_eos_penalty * ~batch.ended
        rewards = losses.token_rewards(
            batch.logprobs, batch.reference_logprobs, mask, scores, config.kl_coef
        )
        # 3. Advantages and returns, then whitening, in this order: the critic learns real returns.
        advantages, returns = losses.gae(rewards, values, mask, config.gamma, config.gae_lambda)
        advantages = losses.whiten(advantages, mask)
        return Episodes(**vars(batch), values=values, advantages=advantages, returns=returns)

    def update(self, batch: Episodes, step: int) -> dict:
        """Learn from the batch: some passes, and one step of each optimiser a minibatch."""
        config = self.config
        rng = generator(config.seed, step, 2)
        minibatches = []
        for _ in range(config.update_epochs):
            order = torch.randperm(config.batch_size, generator=rng).to(batch.ids.device)
            minibatches += order.split(config.batch_size // config.num_minibatches)
        history = []
        for rows in minibatches:
            history.append(self.minibatch(batch, rows, step))
            stopped = history[-1]["approx_kl"] > config.target_kl  # before this step, not after
            if stopped:
                break
            for optimiser in self.optimisers.values():
                optimiser.apply(step, scale=1 - step / config.steps)
        metrics = {"stopped": stopped}
        for name in history[0]:
            metrics[name] = sum(part[name] for part in history) / len(history)
        return metrics | {"ratio_error": history[0]["ratio_error"]}

    def minibatch(self, batch: Episodes, rows: Tensor, step: int) -> dict:
        """Add up the gradients of one minibatch; return its metrics, means over its tokens."""
        config = self.config
        tokens = batch.response_mask[rows].sum().item()
        metrics = defaultdict(float)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        for place, text in batch.parts(rows):
            mask = batch.response_mask[place]
            old_logprobs = batch.logprobs[place]
            value_losses = losses.clipped_value_loss(
                self.token_values(*text),
                batch.values[place],
                batch.returns[place],
                config.clip_range_value,
            )
            with torch.set_grad_enabled(step >= config.critic_warmup):
                logprobs, logits = response_logprobs(
                    self.policy, *text, config.temperature, self.suppressed
                )
            policy_losses = losses.clipped_policy_loss(
                logprobs, old_logprobs, batch.advantages[place], config.clip_range
            )
            # Two models with no weight in common: each gets the gradient of its own loss.
            backward((policy_losses + value_losses)[mask].sum() / tokens, step)

            with torch.no_grad():
                logratio = logprobs - old_logprobs
                ratio_errors = (logratio.exp() - 1).abs()
                measured = {
                    "policy_loss": policy_losses,
                    "value_loss": value_losses,
                    "entropy": torch.special.entr(logits.softmax(-1)).sum(-1),
                    "clip_fraction": ratio_errors > config.clip_range,
                    "approx_kl": losses.kl_k3(-logratio),
                }
            for name, each_token in measured.items():
                metrics[name] += each_token[mask].sum().item() / tokens
            metrics["ratio_error"] = max(metrics["ratio_error"], ratio_errors[mask].max().item())
        return metrics

    def token_values(self, ids: Tensor, attention_mask: Tensor, response_length: int) -> Tensor:
        """Return the critic's values (batch, response length), each before its token is seen."""
        scores = token_scores(self.critic, ids, attention_mask)
        return scores[:, -response_length - 1 : -1] - self.critic.config.reward_mean
