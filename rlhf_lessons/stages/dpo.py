"""DPO, direct preference optimisation: learn from comparisons with no reward model and no sampling.

The policy that is best for a reward r less beta times KL is the reference times exp(r / beta), up
to a constant of the prompt; so r is beta log(policy / reference), up to another. DPO puts that
implicit reward into the Bradley-Terry loss and trains the policy itself (Rafailov et al. 2023).

Comparisons are those that the reward model learns from, read by the same code; of an answer that
did not end, the log-probability is that of a beginning. Left out: label smoothing, IPO, other
divergences, an SFT loss beside.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlhf_lessons.lm import processes
from rlhf_lessons.lm.sampling import (
    check_lengths,
    check_model,
    micro_batches,
    pad,
    response_logprobs,
)
from rlhf_lessons.lm.tokenizer import Rows, encode_completions, encode_prompts
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import DPOConfig
from rlhf_lessons.stages.loop import RowStage, Step
from rlhf_lessons.stages.reward import flat_pairs, to_rankings


@dataclass
class DPOStep(Step):
    """What one step gives, before learning from its batch."""

    accuracy: float  # share of pairs in the labelled order by the implicit reward; at first all tie
    chosen: float  # log(policy / reference) of the chosen responses, mean in nats
    rejected: float  # the same of the rejected ones


class DPO(RowStage):
    """Train `policy` on comparisons; each item is one `DPOStep`.

    `reference` is the model whose distance costs; None takes a frozen copy of the policy as it
    comes. Both are in eval mode: nothing runs with dropout. ValueError, naming the comparison,
    where there is nothing to learn from or a text is longer than the model's positions.
    """

    def __init__(
        self, policy, tokenizer, comparisons: list[dict], config: DPOConfig, reference=None
    ):
        rankings = to_rankings(tokenizer, comparisons)
        self.reference = (reference or copy.deepcopy(policy)).eval()
        check_model(self.reference, tokenizer)
        for ranking in rankings:
            what = f"comparison {ranking.first}: prompt with answer"
            check_lengths(policy, ranking.rows, what)
            check_lengths(self.reference, ranking.rows, what)
        lengths = [max(map(len, ranking.rows)) for ranking in rankings]
        super().__init__(policy, tokenizer, config, rankings, lengths)
        self.models = nn.ModuleDict({"policy": policy, "reference": self.reference})

    def train_step(self, step: int) -> DPOStep:
        rankings = self.batch(step)
        rows, better, worse, weight = flat_pairs(rankings)
        starts = [ranking.prompt_length for ranking in rankings for _ in ranking.rows]
        logratios = self.logratios(rows, starts)
        chosen = logratios[better]
        rejected = logratios[worse]
        beta = self.config.beta
        loss = losses.ranking_loss(beta * chosen, beta * rejected, weight.to(chosen.device))
        return DPOStep(
            accuracy=processes.mean(chosen > rejected),
            chosen=processes.mean(chosen.detach()),
            rejected=processes.mean(rejected.detach()),
            **self.descend(loss, weight.sum().item(), step),
        )

    def logratios(self, rows: Rows, starts: list[int]) -> Tensor:
        """Return log(policy / reference), in nats, of each row from its place in `starts` on."""
        policy = response_totals(self.model, rows, starts, self.pad_id)
        with torch.no_grad():
            reference = response_totals(self.reference, rows, starts, self.pad_id)
        return policy - reference


def response_totals(model, rows: Rows, starts: list[int], pad_id: int) -> Tensor:
    """Return the log-probability (batch,) of each row's ids from its place in `starts` on."""
    ids, attention_mask = pad(rows, pad_id, device=model.device)
    first = min(starts)  # no logits for what is prompt in every row
    logprobs, _ = response_logprobs(model, ids, attention_mask, ids.shape[1] - first)
    places = torch.arange(first, ids.shape[1], device=ids.device)
    in_prompt = places < torch.tensor(starts, device=ids.device)[:, None]
    return logprobs.masked_fill(in_prompt, 0.0).sum(1)


@torch.no_grad()
def implicit_rewards(
    policy,
    reference,
    tokenizer,
    prompts: list[str],
    completions: list[str],
    ended: bool | list[bool] = True,
    beta: float = DPOConfig.beta,
) -> Tensor:
    """Return beta log(policy / reference) of completions (batch,), on the CPU: a reward that can
    be compared within a prompt only. Both models are put into eval mode, and stay in it.
    """
    prompt_ids = encode_prompts(tokenizer, prompts)
    answers = encode_completions(tokenizer, completions, ended)
    rows = [prompt + answer for prompt, answer in zip(prompt_ids, answers, strict=True)]
    for model in (policy.eval(), reference.eval()):
        check_model(model, tokenizer)
        check_lengths(model, rows, "row")
    starts = torch.tensor([len(prompt) for prompt in prompt_ids])
    _, attention_mask = pad(rows, tokenizer.pad_token_id)
    rewards = torch.zeros(len(rows))
    for part, _ in micro_batches(attention_mask):
        some = [rows[i] for i in part.tolist()], starts[part].tolist(), tokenizer.pad_token_id
        lead = response_totals(policy, *some) - response_totals(reference, *some)
        rewards[part] = beta * lead.cpu()
    return processes.total(rewards)
