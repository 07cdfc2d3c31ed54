"""A reward model that learns from votes while they are cast: when it learns, from whom, and how
well it predicts.

Every 20 votes it learns anew from all votes so far. Each training is tested on the votes that came
after it, so every vote is held out once and none is lost to testing. What it knows comes from the
store, so it outlives a restart.
"""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rlhf_lessons.checkpoints import load
from rlhf_lessons.evaluation.arena import answer_all
from rlhf_lessons.evaluation.best_of_n import best_of
from rlhf_lessons.evaluation.votes import NOTHING, decided_twice, predictable, share
from rlhf_lessons.feedback.personal import PersonalReward, Vote, votes_of
from rlhf_lessons.feedback.store import Store

EVERY = 20  # votes between two trainings
SAMPLES = 128  # answers on which the reward gets mean 0 and deviation 1


@dataclass(frozen=True)
class Point:
    """How well the reward model of so many votes predicted the next ones: figures of
    `evaluation.votes`.
    """

    votes: int
    mine: dict
    others: dict


class OnlineReward:
    """The reward model of one `rater`, or of all raters of a round, or of those of one `team`.

    `policy`, as (model, tokenizer), writes the best-of-16 samples; where it or the `reward_model`
    is not given, it is the shipped one. `.reward` is the newest, a function that `PPO` takes; None
    before the first votes.
    """

    def __init__(
        self,
        store: Store,
        round: str,
        rater: str | None = None,
        team: str = "",
        policy: tuple | None = None,
        reward_model=None,
    ):
        self.store, self.round = store, round
        self.rater, self.team = rater, team
        self.policy = policy or load("sft", "shipped", say=str)
        self.shipped = reward_model or load("reward", "shipped", say=str)[0]
        self.untrained, self.reward, self.best = None, None, None
        self.points, self.seen = [], 0
        self.steady = self.ceiling = NOTHING
        self.tested, self.one_at_a_time = {}, threading.Lock()

    def guess(self, prompt: str, left: str, right: str) -> float | None:
        """Return P(the reader prefers the left answer); None before it learned from as many votes
        as it takes.
        """
        if self.seen < EVERY:
            return None
        return self.reward.chances([Vote(prompt, (left, right), (True, True), 0.5)]).item()

    def is_due(self) -> bool:
        """Return whether there are enough new votes to learn anew."""
        return len(self.votes()[0]) >= self.seen + EVERY

    def votes(self) -> tuple[list[Vote], list[Vote], list[dict]]:
        """Return the votes to learn from, the oldest first, those of the others, and the answers
        behind the first.

        For a reader: the reader's own, or where there are none those of the simulated rater that
        filled in.
        """
        rows = self.store.answers(self.round)
        if self.rater is None:
            mine = [row for row in rows if self.team in ("", row["team"])]
        else:
            simulated = [row["rater"] for row in rows if row["rater_kind"] == "simulated"]
            voted = {row["rater"] for row in rows}
            who = next((rater for rater in (self.rater, *simulated) if rater in voted), None)
            mine = [row for row in rows if row["rater"] == who]
        own = {row["seq"] for row in mine}
        return votes_of(mine), votes_of([row for row in rows if row["seq"] not in own]), mine

    def learn(self) -> None:
        """Learn from all votes so far, and test each earlier training on the votes after it."""
        with self.one_at_a_time:
            mine, others, rows = self.votes()
            if mine:
                if self.untrained is None:
                    samples = self.normalisation_set(mine)
                    self.untrained = PersonalReward(self.shipped, self.policy[1], samples)
                self.points = [
                    self.test(mine[:a], mine[a:b], others) for a, b in blocks(len(mine), EVERY)
                ]
                self.reward, self.seen = self.untrained.fit(mine), len(mine)
                prompt = mine[-1].prompt
                self.best = (prompt, *best_of(*self.policy, self.reward, prompt, seed=self.seen))
            self.steady = decided_twice(rows)
            self.ceiling = predictable(self.steady)

    def test(self, before: list[Vote], new: list[Vote], others: list[Vote]) -> Point:
        """Train on the votes before, test on the new ones; a test that was made already is looked
        up.
        """
        key = (tuple(before), tuple(new), len(others) // (5 * EVERY))
        if key not in self.tested:
            reward = self.untrained.fit(before) if before else self.untrained
            self.tested[key] = Point(len(before), accuracy(reward, new), accuracy(reward, others))
        return self.tested[key]

    def normalisation_set(self, votes: list[Vote]) -> tuple[list[str], list[str], list[bool]]:
        """Return samples of the policy for the prompts of these votes: prompts, texts, and whether
        each ended.
        """
        asked = itertools.cycle(dict.fromkeys(vote.prompt for vote in votes))
        prompts = list(itertools.islice(asked, SAMPLES))
        texts, ended = answer_all(*self.policy, prompts, 1)
        return prompts, [row[0] for row in texts], [row[0] for row in ended]

    def report(self) -> None:
        """Tell the class page, through the store, what was tested; nothing where no vote chose a
        side yet.
        """
        points = [point for point in self.points if point.mine["n"]]
        if not points:
            return
        (prompt, plain, best), newest = self.best, points[-1]
        self.store.say(
            "report",
            round=self.round,
            team=self.team,
            votes=newest.votes,
            held_out=newest.mine["n"],
            accuracy=newest.mine["value"],
            low=newest.mine["low"],
            high=newest.mine["high"],
            ceiling=self.ceiling["value"],
            samples=[{"prompt": prompt, "plain": plain, "best": best, "n": 16}],
            curve=[[p.votes, p.mine["value"], p.mine["low"], p.mine["high"]] for p in points],
        )


def watch(learners: list, look: Callable, minutes: float = 60, pause: float = 2.0) -> None:
    """Follow a round: `look(learner)` after each vote in it, and report each training to the class
    page.

    What is known already is told at once. Interrupt it to stop.
    """
    until, last, told = time.monotonic() + 60 * minutes, None, {}
    first = learners[0]
    while time.monotonic() < until:
        now = first.store.last(first.round)
        if now != last:
            last = now
            for learner in learners:
                look(learner)
                if learner.seen != told.get(learner.team, 0):
                    told[learner.team] = learner.seen
                    learner.report()
        time.sleep(pause)


def blocks(n: int, every: int) -> list[tuple[int, int]]:
    """Return (first, beyond the last) vote of each test: `every` votes each, and longer ones where
    there are many, since each test takes a training.
    """
    starts = [0]
    while (end := starts[-1] + max(every, starts[-1] // 4)) < n:
        starts.append(end)
    return list(zip(starts, [*starts[1:], n], strict=True))


def accuracy(reward: PersonalReward, votes: list[Vote]) -> dict:
    """Return the share of decided votes that a reward model predicts, as a figure."""
    decided = [vote for vote in votes if vote.left != 0.5]
    if not decided:
        return NOTHING
    chances = reward.chances(decided).tolist()
    return share(
        [
            (vote.rater, (chance > 0.5) == (vote.left > 0.5))
            for vote, chance in zip(decided, chances, strict=True)
        ]
    )
