"""The flight recorder: a run of PPO, a few of its prompts kept token by token, and why each token
was to become likelier or less likely.

A token's advantage is a sum. The score at the end is carried back to it, the KL that it and later
tokens cost is taken off, the critic's expectations are the baseline, and whitening takes off the
batch's mean and divides by its deviation. GAE is linear in rewards and values, so each part is GAE
of that part alone.
"""

import torch
from torch import Tensor

from rlhf_lessons.stages import losses
from rlhf_lessons.stages.ppo import PPO, Episodes

PARTS = ("score", "kl", "baseline", "batch")  # of an advantage, in standard deviations of a batch


class RecordedPPO(PPO):
    """PPO that keeps what happens to `watched` of its prompts, in every `every`th step.

    The watched prompts take the first places of each batch, and are learned from like the others.
    The other arguments are those of `PPO`. What was kept is in `frames`, plain data.
    """

    def __init__(self, policy, tokenizer, reward, prompts, config, watched, every=2, **more):
        self.watched = list(watched)
        self.every = every
        self.frames = []
        prompts = [*self.watched, *prompts]
        super().__init__(policy, tokenizer, reward, prompts, config, **more)

    def prompt_rows(self, step: int) -> list[int]:
        n = len(self.watched)
        return [*range(n), *super().prompt_rows(step)[n:]]

    def update(self, batch: Episodes, step: int) -> dict:
        metrics = super().update(batch, step)
        if step % self.every == 0 or step == self.steps - 1:
            self.frames.append(self.frame(batch, step, metrics))
        return metrics

    def frame(self, batch: Episodes, step: int, metrics: dict) -> dict:
        """Return what happened in one step to the watched prompts' responses, as plain data."""
        config = self.config
        n = len(self.watched)
        watched = torch.arange(n, device=batch.ids.device)
        numbers = {
            "old": batch.logprobs,
            "new": self.logprobs_by(self.policy, batch, watched),
            "reference": batch.reference_logprobs,
            "value": batch.values,
            "advantage": batch.advantages,
            **parts_of(batch, self.penalised(batch), config),
        }
        responses = []
        for i in range(n):
            length = int(batch.response_mask[i].sum())
            ids = batch.tokens[i, :length].tolist()
            kept = {name: each[i, :length].tolist() for name, each in numbers.items()}
            responses.append(
                {
                    "prompt": batch.prompts[i],
                    "reward": batch.scores[i].item(),
                    "ended": bool(batch.ended[i]),
                    "tokens": [self.tokenizer.decode([id]) for id in ids],
                    **kept,
                }
            )
        return {
            "step": step,
            "learns": step >= config.critic_warmup,  # at first only the critic does
            "reward": batch.scores.mean().item(),
            "kl": (batch.logprobs - batch.reference_logprobs).sum(1).mean().item(),
            "entropy": metrics["entropy"],
            "clip_range": config.clip_range,
            "responses": responses,
        }


def parts_of(batch: Episodes, scores: Tensor, config) -> dict[str, Tensor]:
    """Return the PARTS of the advantages, each (batch, time): together they are the advantages.

    `scores` (batch,) are what the last tokens got, less the penalty of a missing end.
    """
    mask = batch.response_mask
    nothing = torch.zeros_like(batch.values)
    no_score = torch.zeros_like(batch.scores)
    logprobs, reference = batch.logprobs, batch.reference_logprobs

    def carried_back(rewards: Tensor, values: Tensor) -> Tensor:
        return losses.gae(rewards, values, mask, config.gamma, config.gae_lambda)[0]

    score = losses.token_rewards(logprobs, logprobs, mask, scores, 0.0)
    price = losses.token_rewards(logprobs, reference, mask, no_score, config.kl_coef)
    plain = (batch.returns - batch.values)[mask]  # advantages before whitening
    scale = torch.rsqrt(plain.var(unbiased=False) + 1e-8)
    return {
        "score": carried_back(score, nothing) * scale,
        "kl": carried_back(price, nothing) * scale,
        "baseline": carried_back(nothing, batch.values) * scale,
        "batch": torch.full_like(batch.values, -plain.mean() * scale),
    }
