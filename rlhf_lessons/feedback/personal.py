"""A reader's own reward model: the shipped one, and on top of it what a few votes say about a
taste.

Sixty votes cannot train a million numbers. So the shipped reward model stays as it is, and one
weight is learned for each thing that a reader may see in an answer: that a token of the vocabulary
stands in it, that it is of the first word or of the last, and that the answer is longer than so
many words.

    reward(prompt, answer) = GAIN x shipped reward(prompt, answer) + sum of what is seen, weighted

A vote is the probability that the left answer wins: 0.98 if it is much better, 0.65 if it is
better, 0.5 for a tie. The weights minimise the cross-entropy of the Bradley-Terry model with these,
plus RIDGE / 2 times the sum of their squares, which is logistic regression with a normal prior:
convex, so it takes a moment and depends on no seed. While they are learned, the shipped reward
counts less (CREDIT) than in what PPO gets (GAIN): a reader's taste often beats quality, and weights
that had to outweigh the whole of it would grow on chance words; but PPO, which takes whatever
raises the sum, must not forget what was asked.

Left out: how often a token stands there, beside what, and what it has to do with the prompt. With
thousands of votes, train all weights instead: `stages.reward.RewardModelling`.
"""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlhf_lessons.evaluation.votes import compared, unusable
from rlhf_lessons.lm.sampling import most_tokens
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages.reward import score

CHANCES = {0: 0.5, 1: 0.65, 2: 0.98}  # strength of a preference -> P(it wins)
RIDGE = 0.2  # price of a squared weight
CREDIT = 0.5  # weight of the shipped reward while the others are learned
GAIN = 1.25  # weight of the shipped reward in the result
LENGTHS = torch.arange(8, 40, 4)  # in words; steps, so that no length is the best for ever
PLACES = ("{}", "{} at the start", "{} at the end")  # where a word may stand


@dataclass(frozen=True)
class Vote:
    """What one rater said of two answers to a prompt."""

    prompt: str
    texts: tuple[str, str]  # left and right
    ended: tuple[bool, bool]  # whether each has an end token
    left: float  # the probability that the left one wins, which the vote stands for
    rater: str = ""
    # A ranking of K gives C(K,2) votes, which together weigh K - 1, the choices it took
    weight: float = 1.0


def votes_of(answers: list[dict]) -> list[Vote]:
    """Return the comparisons in `Store.answers`, the oldest first: pairs, rankings and raised
    hands, ties among them.

    Left out: both bad, equal texts, and what no export learns from either (skips, hidden ones,
    repeats, guesses).
    """
    votes = []
    for row in answers:
        if unusable(row) or row["kind"] == "scores":
            continue
        for i, j, lead in compared(row):
            first, second = row["answers"][i], row["answers"][j]
            texts = (first["text"], second["text"])
            if lead is None or len(set(texts)) == 1:
                continue
            chance = CHANCES[min(abs(lead), 2)]
            left = chance if lead >= 0 else 1 - chance
            ended = (first["ended"], second["ended"])
            weight = 2 / len(row["answers"])
            votes.append(Vote(row["prompt"], texts, ended, left, row["rater"], weight))
    return votes


def readable(votes: list[Vote], model, tokenizer) -> list[Vote]:
    """Return the votes whose texts fit into a model's positions: it can learn from no others."""
    kept = []
    for vote in votes:
        (prompt,) = encode_prompts(tokenizer, [vote.prompt])
        completions = encode_completions(tokenizer, list(vote.texts))
        if len(prompt) + max(map(len, completions)) <= most_tokens(model):
            kept.append(vote)
    return kept


class PersonalReward:
    """A function (prompts, completions, ended) -> rewards (batch,), as `PPO` takes one. `fit` gives
    one that learned.

    `normalisation_set` is (prompts, completions, ended) of some samples of the SFT policy: on these
    the reward has mean 0 and deviation 1 after each `fit`, so that a KL coefficient means the same
    for each reader.
    """

    def __init__(self, reward_model, tokenizer, normalisation_set: tuple):
        self.model, self.tokenizer = reward_model, tokenizer
        self.normalisation_set = normalisation_set
        self.weights = torch.zeros(len(PLACES) * len(tokenizer) + len(LENGTHS))
        # (prompt, completion, ended) -> the shipped model's reward: asked once for each
        self.shipped = {}
        self.normalise()

    def fit(self, votes: list[Vote]) -> "PersonalReward":
        """Return a copy whose weights come from these votes alone."""
        learned = copy.copy(self)
        lead, seen = self.leads(votes)
        target = torch.tensor([vote.left for vote in votes])
        weight = torch.tensor([vote.weight for vote in votes])
        learned.weights = ridge_logistic(seen, CREDIT * lead, target, weight, RIDGE)
        learned.normalise()
        return learned

    def normalise(self) -> None:
        """Measure mean and deviation of the reward on the normalisation set."""
        self.mean, self.deviation = 0.0, 1.0
        rewards = self(*self.normalisation_set)
        self.mean = rewards.mean().item()
        self.deviation = max(rewards.std().item(), 1e-6)

    def __call__(self, prompts: list[str], completions: list[str], ended) -> Tensor:
        shipped, seen = self.features(prompts, completions, ended)
        rewards = GAIN * shipped + seen @ self.weights
        return (rewards - self.mean) / self.deviation

    def chances(self, votes: list[Vote]) -> Tensor:
        """P(left wins) of each vote's answers (votes,); the votes themselves are not looked at."""
        lead, seen = self.leads(votes)
        return (CREDIT * lead + seen @ self.weights).sigmoid()

    def leads(self, votes: list[Vote]) -> tuple[Tensor, Tensor]:
        """By how much the left answer leads: in the shipped reward (votes,), and in what is seen
        (votes, features).
        """
        prompts = [vote.prompt for vote in votes]
        sides = []
        for side in (0, 1):
            texts = [vote.texts[side] for vote in votes]
            sides.append(self.features(prompts, texts, [vote.ended[side] for vote in votes]))
        (left, left_seen), (right, right_seen) = sides
        return left - right, left_seen - right_seen

    def features(self, prompts: list[str], completions: list[str], ended) -> tuple[Tensor, Tensor]:
        """The shipped model's reward of each completion (batch,), for which it is asked once, and
        what is seen in it (batch, features).
        """
        rows = list(zip(prompts, completions, map(bool, ended), strict=True))
        new = [row for row in dict.fromkeys(rows) if row not in self.shipped]
        if new:
            found = score(self.model, self.tokenizer, *map(list, zip(*new, strict=True)))
            self.shipped |= zip(new, found.tolist(), strict=True)
        return torch.tensor([self.shipped[row] for row in rows]), self.seen(completions)

    def seen(self, completions: list[str]) -> Tensor:
        """1 where something is seen in a completion, else 0 (batch, features): a token anywhere, in
        the first word, in the last word; more words than each of LENGTHS.
        """
        words = [text.split() or [""] for text in completions]
        places = completions, [f" {row[0]}" for row in words], [f" {row[-1]}" for row in words]
        columns = []
        for texts in places:
            tokens = torch.zeros(len(texts), len(self.tokenizer))
            for row, ids in enumerate(encode_completions(self.tokenizer, texts, False)):
                tokens[row, ids] = 1.0
            columns.append(tokens)
        longer = torch.tensor([len(row) for row in words]).view(-1, 1) > LENGTHS
        return torch.cat([*columns, longer.float()], 1)

    def words(self, n: int = 6) -> tuple[list, list]:
        """Return, in words, the `n` things that raise the reward most, and those that lower it
        most, each with its weight.
        """
        found = []
        for feature in (self.weights.abs() > 0.01).nonzero()[:, 0].tolist():
            place, token = divmod(feature, len(self.tokenizer))
            if place == len(PLACES):
                name = f"more than {LENGTHS[token]} words"
            else:
                word = self.tokenizer.decode([token])
                # A token with its space before it is a whole word
                if word[:1] != " " or not word[1:].isalpha() or len(word) < 4:
                    continue
                name = PLACES[place].format(word[1:])
            found.append((name, self.weights[feature].item()))
        raising = sorted((row for row in found if row[1] > 0), key=lambda row: -row[1])
        lowering = sorted((row for row in found if row[1] < 0), key=lambda row: row[1])
        return raising[:n], lowering[:n]


def ridge_logistic(
    x: Tensor, offset: Tensor, target: Tensor, weight: Tensor, ridge: float
) -> Tensor:
    """The w (features,) that minimises the cross-entropy of sigmoid(x w + offset) with `target`
    (rows,), the rows weighted, plus ridge/2 |w|^2.
    """
    x = x.double()
    w = torch.zeros(x.shape[1], dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([w], max_iter=500, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        logits = x @ w + offset
        surprise = F.binary_cross_entropy_with_logits(
            logits, target.double(), weight.double(), reduction="sum"
        )
        total = surprise + ridge / 2 * w @ w
        total.backward()
        return total

    optimiser.step(loss)
    return w.detach().float()
