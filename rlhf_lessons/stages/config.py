"""The settings of all stages: flag, help text and documentation at once, without torch."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class PretrainConfig:
    steps: int = 4000
    """How many batches to train on."""
    batch_size: int = 16
    """Windows of text in a batch; small batches learn more from each token here."""
    context: int = 128
    """Tokens in a window: how far back the model learns to look."""
    layers: int = 4
    """Layers of the new model."""
    width: int = 128
    """Numbers that stand for a token inside the model: a multiple of 32, one head for each 32."""
    lr: float = 3e-3
    """Highest learning rate; it falls linearly to zero."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.1
    """Pull of all weights towards zero."""
    validate_every: int = 250
    """Steps between two measurements of the validation loss."""
    seed: int = 0
    """Decides the order of the windows."""


@dataclass(frozen=True)
class SFTConfig:
    epochs: int = 3
    """How often each demonstration is seen."""
    batch_size: int = 16
    """Demonstrations in a batch."""
    lr: float = 1e-3
    """Highest learning rate; it falls linearly to zero."""
    warmup: int = 10
    """Steps over which the learning rate rises."""
    seed: int = 0
    """Decides the order of the demonstrations."""


@dataclass(frozen=True)
class RewardConfig:
    epochs: int = 2
    """How often each comparison is seen; a reward model soon overfits its labels."""
    batch_size: int = 16
    """Prompts in a batch; all pairs of a prompt are in the same batch."""
    lr: float = 1e-3
    """Highest learning rate; it falls linearly to zero."""
    warmup: int = 60
    """Steps over which the learning rate rises."""
    keep_layers: int | None = None
    """How many layers of the language model to keep, from the lowest; None keeps all."""
    head_scale: float = 1.0
    """Deviation of the first scores, before any learning; a small one suits few votes."""
    seed: int = 0
    """Decides the first weights of the head and the order of the prompts."""


@dataclass(frozen=True)
class OnPolicyConfig:
    steps: int = 40
    """How many times to sample a batch of responses and learn from it."""
    batch_size: int = 512
    """Responses in a batch."""
    num_minibatches: int = 2
    """Parts of the batch; each gives one step of the optimisers."""
    update_epochs: int = 2
    """Passes over the batch before new responses are sampled."""
    lr: float = 8e-4
    """The policy's learning rate at the start; it falls linearly to zero."""
    kl_coef: float = 0.05
    """KL penalty: the price of one nat from the reference, the SFT model."""
    missing_eos_penalty: float = 1.0
    """Reward that a response without an end token loses."""
    clip_range: float = 0.2
    """How far a probability ratio may move from 1 before its token, or response, stops counting."""
    target_kl: float = 0.05
    """Leave the batch once the policy is this many nats a token from the one that sampled it."""
    temperature: float = 1.0
    """Temperature of sampling; log-probs are of the same distribution."""
    max_new_tokens: int = 60
    """Tokens in the longest response."""
    max_grad_norm: float = 1.0
    """Longer gradients are shortened to this."""
    seed: int = 0
    """Decides the order of prompts, the samples and the minibatches."""


@dataclass(frozen=True)
class PPOConfig(OnPolicyConfig):
    critic_lr: float = 1.6e-3
    """The critic's learning rate at the start; it falls linearly to zero."""
    critic_warmup: int = 4
    """Steps at first in which only the critic learns; an ignorant one misleads the policy."""
    gamma: float = 1.0
    """Discount a token; 1 since a response is as good as its last token says."""
    gae_lambda: float = 0.95
    """Lambda of GAE: 1 trusts only the returns seen, 0 only the critic."""
    clip_range_value: float = 0.2
    """How far a value may move from its old one before the move stops counting."""


@dataclass(frozen=True)
class RLOOConfig(OnPolicyConfig):
    group_size: int = 8
    """Responses to a prompt, from which each one's baseline comes."""


@dataclass(frozen=True)
class GRPOConfig(RLOOConfig):
    scale_rewards: bool = True
    """Divide advantages by their group's standard deviation; Dr. GRPO does not."""
    loss_type: Literal["grpo", "dr_grpo"] = "grpo"
    """A response's loss: the mean of its tokens', or with Dr. GRPO their sum over a constant."""


@dataclass(frozen=True)
class DPOConfig:
    beta: float = 0.3
    """KL penalty: the implicit reward is beta times the log-ratio."""
    epochs: int = 2
    """How often each comparison is seen."""
    batch_size: int = 16
    """Prompts in a batch; all pairs of a prompt are in the same batch."""
    lr: float = 5e-4
    """Highest learning rate; it falls linearly to zero."""
    warmup: int = 30
    """Steps over which the learning rate rises."""
    seed: int = 0
    """Decides the order of the prompts."""


# The settings of the shipped checkpoints, which the command line begins from.
PRETRAIN = PretrainConfig(steps=3000)
SFT_RECIPE = SFTConfig(epochs=2, lr=5e-4)
REWARD = RewardConfig(epochs=3)
SAMPLED = {"steps": 32, "batch_size": 384, "num_minibatches": 4, "lr": 5e-4}
PPO_RECIPE = PPOConfig(**SAMPLED, critic_lr=1e-3)
PPO_FIRST = replace(PPO_RECIPE, steps=24)  # a first round, for its answers
# Beyond PPO; those that sample have as many answers and steps as PPO has.
RLOO_RECIPE = RLOOConfig(**SAMPLED)
GRPO_RECIPE = GRPOConfig(**SAMPLED)
DR_GRPO_RECIPE = replace(GRPO_RECIPE, scale_rewards=False, loss_type="dr_grpo")
DPO_RECIPE = DPOConfig()
