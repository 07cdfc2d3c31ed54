"""RLOO and GRPO: PPO without its critic. Other responses to the same prompt give the baseline.

RLOO (REINFORCE leave-one-out, Ahmadian et al. 2024) takes a whole response as one action: its
advantage is its score, less its KL penalty, less the mean of the same of the other responses. GRPO
(group relative policy optimisation, Shao et al. 2024) gives each token the score less the mean of
its whole group, divided by the group's standard deviation, and puts the KL penalty into the loss.
Dr. GRPO (Liu et al. 2025) divides neither by the standard deviation nor by the length: that
favoured hard or easy prompts, and long wrong answers.

Where all responses to a prompt score the same, only the KL penalty acts. As in TRL, RLOO clips the
ratio of whole responses, since a batch serves for several steps; the paper takes one step and has
no ratio. Our Dr. GRPO keeps a KL penalty, which the paper leaves out. Left out: DAPO's dynamic
sampling, its two clip ranges and its mean over all tokens; GSPO's ratio.
"""

from dataclasses import dataclass

from torch import Tensor

from rlhf_lessons.lm.sampling import response_logprobs
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import RLOOConfig
from rlhf_lessons.stages.loop import backward, shuffled_rows
from rlhf_lessons.stages.rollout import Means, OnPolicy, Rollout, left_clip


@dataclass
class Groups(Rollout):
    """A rollout, and how much better each response is than others to its prompt."""

    advantages: Tensor  # (batch,)


class RLOO(OnPolicy):
    """Train `policy` by RLOO against `reward`; each item is one `PolicyStep`.

    The arguments are those of `OnPolicy`, without a critic. ValueError if a group has one response
    only, or `batch_size` is not a multiple of `group_size`.
    """

    def __init__(self, policy, tokenizer, reward, prompts, config: RLOOConfig, **more):
        size = config.group_size
        if size < 2:
            raise ValueError(f"group_size must be 2 or more, not {size}: nothing to compare with")
        if config.batch_size % size:
            raise ValueError("batch_size must be a multiple of group_size")
        super().__init__(policy, tokenizer, reward, prompts, config, **more)

    def prompt_rows(self, step: int) -> list[int]:
        config = self.config
        size = config.batch_size // config.group_size
        rows = shuffled_rows(len(self.prompts), size, step, config.seed)
        return [row for row in rows for _ in range(config.group_size)]

    def estimate(self, batch: Rollout) -> Groups:
        """Work out how much better each response is than others to its prompt."""
        return Groups(**vars(batch), advantages=self.advantages(batch, self.penalised(batch)))

    def advantages(self, batch: Rollout, scores: Tensor) -> Tensor:
        config = self.config
        kl = losses.kl_k1(batch.logprobs - batch.reference_logprobs).sum(1)
        return losses.leave_one_out(scores - config.kl_coef * kl, config.group_size)

    def minibatch(self, batch: Groups, rows: Tensor, step: int) -> dict:
        """Add up the gradients of one minibatch, of its responses' mean loss; return its metrics:
        loss and clip fraction are means over responses, the others over tokens.
        """
        config = self.config
        metrics = Means(batch.response_mask[rows].sum().item())
        self.optimisers["policy"].zero_grad()
        for place, text in batch.parts(rows):
            logprobs, logits = response_logprobs(
                self.policy, *text, config.temperature, self.suppressed
            )
            loss = self.response_losses(batch, place, logprobs).sum() / len(rows)
            backward(loss, step)
            metrics["policy_loss"] += loss.item()
            clipped = self.clipped(batch, place, logprobs)
            metrics["clip_fraction"] += clipped.float().sum().item() / len(rows)
            metrics.add(batch.response_mask[place], logprobs, batch.logprobs[place], logits)
        return metrics

    def response_losses(self, batch: Groups, place: tuple, logprobs: Tensor) -> Tensor:
        """Return the loss of each response (rows,) of a part."""
        return losses.rloo_loss(
            logprobs,
            batch.logprobs[place],
            batch.response_mask[place],
            batch.advantages[place[0]],
            self.config.clip_range,
        )

    def clipped(self, batch: Groups, place: tuple, logprobs: Tensor) -> Tensor:
        """Return for each response (rows,) whether its ratio has left the clip."""
        whole, old = logprobs.sum(1), batch.logprobs[place].sum(1)
        return left_clip(whole, old, self.config.clip_range)


class GRPO(RLOO):
    """Train `policy` by GRPO, or as its config says by Dr. GRPO; arguments are those of `RLOO`."""

    def advantages(self, batch: Rollout, scores: Tensor) -> Tensor:
        config = self.config
        return losses.group_advantages(scores, config.group_size, config.scale_rewards)

    def response_losses(self, batch: Groups, place: tuple, logprobs: Tensor) -> Tensor:
        config = self.config
        return losses.grpo_loss(
            logprobs,
            batch.logprobs[place],
            batch.reference_logprobs[place],
            batch.response_mask[place],
            batch.advantages[place[0]],
            config.clip_range,
            config.kl_coef,
            config.max_new_tokens if config.loss_type == "dr_grpo" else None,
        )

    def clipped(self, batch: Groups, place: tuple, logprobs: Tensor) -> Tensor:
        """Return for each response (rows,) the share of its tokens whose ratio left the clip."""
        mask = batch.response_mask[place]
        left = left_clip(logprobs, batch.logprobs[place], self.config.clip_range)
        return (left & mask).sum(1) / mask.sum(1)
