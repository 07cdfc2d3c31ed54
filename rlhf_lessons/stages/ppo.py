"""Step 4 of RLHF, proximal policy optimisation (PPO): learn to write what the reward model likes.

A response is an episode and a token an action. Each step samples responses, scores them, works out
which tokens did better than the critic expected, and makes those likelier, but not by much.

After Ziegler et al. 2019 and "The N implementation details of RLHF with PPO", with these choices:
the critic is a model of its own with its own optimiser, so there is no value coefficient; the score
lands on the end token, not one later, and no value lies beyond it; a missing end is penalised by
subtraction; losses are means over tokens, so a long response weighs more. Left out: entropy bonus,
dual clip and clip-higher (the KL penalty does their work), an adaptive KL price, whitening,
clipping and running scales of rewards (the reward model is normalised once), PPO-ptx.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.sampling import response_logprobs, token_scores
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.loop import backward
from rlhf_lessons.stages.rollout import Means, OnPolicy, PolicyStep, Rollout, left_clip


@dataclass(kw_only=True)
class PPOStep(PolicyStep):
    """What one step gives, and what it says of the critic."""

    explained_variance: float | None  # None where returns do not vary
    value_loss: float  # mean over the update


@dataclass
class Episodes(Rollout):
    """A rollout, and what the critic makes of it; all three are (batch, response length)."""

    values: Tensor
    advantages: Tensor  # whitened
    returns: Tensor


def new_critic(reward_model):
    """Return the critic as it starts: a copy of the reward model, which knows a good answer."""
    return copy.deepcopy(reward_model)


class PPO(OnPolicy):
    """Train `policy` by PPO against `reward`; each item is one `PPOStep`.

    Where `reward` is a function, the critic starts from the reward model `critic_init`. The other
    arguments are those of `OnPolicy`.
    """

    Step = PPOStep

    def __init__(
        self, policy, tokenizer, reward, prompts, config: PPOConfig, critic_init=None, **more
    ):
        critic = critic_init or reward
        if not isinstance(critic, nn.Module):
            raise ValueError(
                "where reward is a function, critic_init must be a reward model for the critic"
            )
        self.critic = new_critic(critic)
        super().__init__(policy, tokenizer, reward, prompts, config, critic=self.critic, **more)
        self.optimisers["critic"] = self.optimiser(self.critic, config.critic_lr)

    @torch.no_grad()
    def estimate(self, batch: Rollout) -> Episodes:
        """Work out how much better each token did than the critic expected."""
        config = self.config
        mask = batch.response_mask
        # 1. The critic's values.
        values = torch.zeros_like(batch.logprobs)
        for place, text in batch.parts():
            values[place] = self.token_values(*text)
        values = processes.total(values)
        # 2. Each token pays for its KL; the last gets the score, less the price of a missing end.
        rewards = losses.token_rewards(
            batch.logprobs, batch.reference_logprobs, mask, self.penalised(batch), config.kl_coef
        )
        # 3. Advantages and returns, then whitening, in this order: the critic learns real returns.
        advantages, returns = losses.gae(rewards, values, mask, config.gamma, config.gae_lambda)
        advantages = losses.whiten(advantages, mask)
        return Episodes(**vars(batch), values=values, advantages=advantages, returns=returns)

    def update(self, batch: Episodes, step: int) -> dict:
        metrics = super().update(batch, step)
        explained = losses.explained_variance(batch.values, batch.returns, batch.response_mask)
        return metrics | {"explained_variance": explained}

    def minibatch(self, batch: Episodes, rows: Tensor, step: int) -> dict:
        """Add up the gradients of one minibatch; return its metrics, means over its tokens."""
        config = self.config
        tokens = batch.response_mask[rows].sum().item()
        metrics = Means(tokens)
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        for place, text in batch.parts(rows):
            mask = batch.response_mask[place]
            old_logprobs = batch.logprobs[place]
            # One model after the other: no weight is shared, and this takes less memory.
            value_losses = losses.clipped_value_loss(
                self.token_values(*text),
                batch.values[place],
                batch.returns[place],
                config.clip_range_value,
            )
            backward(value_losses[mask].sum() / tokens, step)
            learns = step >= config.critic_warmup
            with torch.set_grad_enabled(learns):
                logprobs, logits = response_logprobs(
                    self.policy, *text, config.temperature, self.suppressed
                )
            policy_losses = losses.clipped_policy_loss(
                logprobs, old_logprobs, batch.advantages[place], config.clip_range
            )
            if learns:
                backward(policy_losses[mask].sum() / tokens, step)

            metrics.add(mask, logprobs, old_logprobs, logits)
            metrics.mean(
                mask,
                policy_loss=policy_losses,
                value_loss=value_losses,
                clip_fraction=left_clip(logprobs, old_logprobs, config.clip_range),
            )
        return metrics

    def token_values(self, ids: Tensor, attention_mask: Tensor, response_length: int) -> Tensor:
        """Return the critic's values (batch, response length), each before its token is seen."""
        scores = token_scores(self.critic, ids, attention_mask)
        return scores[:, -response_length - 1 : -1] - self.critic.config.reward_mean
