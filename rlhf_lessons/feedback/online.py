"""A reward model that learns from votes while they are cast: when it learns, from whom, and how
well it predicts.

Every 20 votes it learns anew from all votes so far. Each training is tested on the votes that came
after it, so every vote is held out once and none is lost to testing. What it knows comes from the
store, so it outlives a restart.
"""

import threading
import time
from typing import NamedTuple

from rlhf_lessons.checkpoints import load
from rlhf_lessons.evaluation.best_of_n import best_of
from rlhf_lessons.evaluation.votes import NOTHING, Outcomes, decided_twice, predictable, share
from rlhf_lessons.feedback.personal import PersonalReward, Vote, votes_of
from rlhf_lessons.feedback.store import Store
from rlhf_lessons.lm.sampling import generate

EVERY = 20  # votes between two trainings
SAMPLES = 128  # answers on which the reward gets mean 0 and deviation 1


class Point(NamedTuple):
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
        self.untrained = self.reward = self.best = None
        self.points = []
        self.seen = 0  # votes from which `reward` learned
        self.steady = self.ceiling = NOTHING
        self.tested = {}
        self.one_at_a_time = threading.Lock()

    def guess(self, prompt: str, left: str, right: str) -> float | None:
        """Return P(the reader prefers the left answer); None before it learned from as many votes
        as it takes.
        """
        if self.seen < EVERY:
            return None
        asked = Vote(prompt, (left, right), (True, True), 0.5)
        return self.reward.chances([asked]).item()

    def after_vote(self, n: int = 0) -> bool:
        """Learn where enough votes are new, and return whether they were. The card calls this in a
        thread of its own.
        """
        due = len(self.votes()[0]) >= self.seen + EVERY
        if due:
            self.learn()
        return due

    def votes(self) -> tuple[list[Vote], list[Vote], list[dict]]:
        """Return the votes to learn from, the oldest first, those of the others, and the answers
        behind the first.

        For a reader: the reader's own, or where there are none those of the simulated rater that
        filled in.
        """
        rows = self.store.answers(self.round)
        if self.rater is None:
            whose = {row["rater"] for row in rows if self.team in ("", row["team"])}
        elif any(row["rater"] == self.rater for row in rows):
            whose = {self.rater}
        else:
            simulated = [row["rater"] for row in rows if row["rater_kind"] == "simulated"]
            whose = set(simulated[:1])
        mine = [row for row in rows if row["rater"] in whose]
        others = [row for row in rows if row["rater"] not in whose]
        return votes_of(mine), votes_of(others), mine

    def learn(self) -> None:
        """Learn from all votes so far, and test each earlier training on the votes after it."""
        with self.one_at_a_time:
            mine, others, rows = self.votes()
            self.steady = decided_twice(rows)
            self.ceiling = predictable(self.steady)
            if not mine:
                return
            if self.untrained is None:
                asked = list(dict.fromkeys(vote.prompt for vote in mine))
                prompts = (asked * SAMPLES)[:SAMPLES]
                samples = generate(*self.policy, prompts)
                normalisation_set = (prompts, samples.texts, samples.ended.tolist())
                self.untrained = PersonalReward(self.shipped, self.policy[1], normalisation_set)
            self.points = [
                self.test(mine[:start], mine[start:end], others) for start, end in blocks(len(mine))
            ]
            self.reward = self.untrained.fit(mine)
            self.seen = len(mine)
            prompt = mine[-1].prompt
            self.best = (prompt, *best_of(*self.policy, self.reward, prompt, seed=self.seen))

    def test(self, before: list[Vote], new: list[Vote], others: list[Vote]) -> Point:
        """Train on the votes before, test on the new ones; a test that was made already is looked
        up.
        """
        key = (tuple(before), tuple(new), len(others) // (5 * EVERY))
        if key not in self.tested:
            reward = self.untrained.fit(before)
            found = [share(predictions(reward, votes)) for votes in (new, others)]
            self.tested[key] = Point(len(before), *found)
        return self.tested[key]

    def report(self) -> None:
        """Tell the class page, through the store, what was tested; nothing where no vote chose a
        side yet.
        """
        points = [point for point in self.points if point.mine["n"]]
        if not points:
            return
        prompt, plain, best = self.best
        ends = ("value", "low", "high")
        curve = [[point.votes, *map(point.mine.get, ends)] for point in points]
        votes, accuracy, low, high = curve[-1]
        self.store.say(
            "report",
            round=self.round,
            team=self.team,
            votes=votes,
            held_out=points[-1].mine["n"],
            accuracy=accuracy,
            low=low,
            high=high,
            ceiling=self.ceiling["value"],
            samples=[{"prompt": prompt, "plain": plain, "best": best, "n": 16}],
            curve=curve,
        )

    def watch(self, *others: "OnlineReward", minutes: float = 60, pause: float = 2.0) -> None:
        """Follow the round, together with the `others` (the other team's): tell the class page what
        is known already, then each training.
        """
        until = time.monotonic() + 60 * minutes
        last = None
        while time.monotonic() < until:
            now = self.store.last()
            for learner in (self, *others) if now != last else ():
                if learner.after_vote() or last is None:
                    learner.report()
            last = now
            time.sleep(pause)


def blocks(n: int) -> list[tuple[int, int]]:
    """Return (first, beyond the last) vote of each test: `EVERY` votes each, and longer ones where
    there are many, since each test takes a training.
    """
    starts = [0]
    while (end := starts[-1] + max(EVERY, starts[-1] // 4)) < n:
        starts.append(end)
    return list(zip(starts, [*starts[1:], n], strict=True))


def predictions(reward: PersonalReward, votes: list[Vote]) -> Outcomes:
    """Return whether a reward model predicts each vote that chose a side."""
    decided = [vote for vote in votes if vote.left != 0.5]
    outcomes = []
    for vote, chance in zip(decided, reward.chances(decided).tolist(), strict=True):
        outcomes.append((vote.rater, (chance > 0.5) == (vote.left > 0.5)))
    return outcomes
