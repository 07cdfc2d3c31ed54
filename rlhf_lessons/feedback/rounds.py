"""One round of the loop: PPO on a reader's reward, from the policy of the round before, with what a
reader wants to see of it.
"""

import copy

from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.rollout import Rollout


class RoundPPO(PPO):
    """PPO whose items are dictionaries: what a `PPOStep` says, and two things more.

    `kl_before` is the KL from the policy as this round found it, nats a response, beside `kl`, that
    from the `reference`. `in_taste` is the share of answers of which the function `shows(text)` is
    true. The other arguments are those of `PPO`.
    """

    def __init__(self, policy, *arguments, shows, **more):
        super().__init__(policy, *arguments, **more)
        self.shows = shows
        self.before = copy.deepcopy(policy).eval()

    def collect(self, step: int) -> Rollout:
        batch = super().collect(step)
        before = self.logprobs_by(self.before, batch)
        shown = [self.shows(text) for text in batch.texts]
        self.seen = {
            "kl_before": (batch.logprobs - before).sum(1).mean().item(),
            "in_taste": sum(shown) / len(shown),
        }
        return batch

    def train_step(self, step: int) -> dict:
        return vars(super().train_step(step)) | self.seen
