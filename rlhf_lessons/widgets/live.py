"""`rl.live_reward_model`: a reward model that learns from votes while they are cast, and says how well it knows you.

    card = rl.rate(pairs, "lesson 3")
    rl.live_reward_model(card)                                        # of one reader; it shows itself in the notebook
    rl.live_reward_model("round 1", store="class.sqlite3").watch()    # of a room: learns from everybody's votes

Every 20 votes it learns anew from all votes so far. Each training is tested on the votes that came after it, so every
vote is held out once and none is lost to testing. What it knows comes from the store: after a restart, run the cell
again.
"""

import base64
import io
import itertools
import threading
import time
from dataclasses import dataclass

import ipywidgets as w
import numpy as np
from IPython.display import display

from rlhf_lessons.checkpoints import load
from rlhf_lessons.evaluation.arena import answer_all
from rlhf_lessons.evaluation.best_of_n import best_of
from rlhf_lessons.evaluation.votes import NOTHING, decided_twice, foreseeable, share
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.personal import PersonalReward, Vote, votes_of
from rlhf_lessons.plots import COLOURS, STYLES, canvas
from rlhf_lessons.widgets.html import columns_html, escaped, said
from rlhf_lessons.widgets.rate import open_store

EVERY = 20  # votes between two trainings
SAMPLES = 128  # answers on which the reward gets mean 0 and deviation 1


@dataclass(frozen=True)
class Point:
    """How well the reward model of so many votes foresaw the next ones: figures of `ratings.stats`."""

    votes: int
    mine: dict
    others: dict


class LiveRewardModel(w.HTML):
    """Shows itself as a cell's last line. `.reward` is the newest reward model, a function that `PPO` takes; None
    before the first votes.

    `source` is what `rl.rate` returned, or the name of a round in `store`: then it learns from all raters of the round,
    or of one `team`. `policy`, as (model, tokenizer), writes the best-of-16 samples; where it or the `reward_model` is
    not given, it is the shipped one.
    """

    def __init__(self, source, store=None, team: str = "", policy=None, reward_model=None):
        self.session = None if isinstance(source, str) else source.session
        store = self.session.store if self.session else store
        self.round = self.session.round if self.session else source
        self.store = store if isinstance(store, Store) else open_store(store)
        self.team, self.policy = team, policy or load("sft", "shipped", say=str)
        self.shipped = reward_model or load("reward", "shipped", say=str)[0]
        self.untrained, self.reward, self.points, self.seen, self.best = None, None, [], 0, None
        self.tested, self.one_at_a_time = {}, threading.Lock()
        super().__init__()
        if self.session:
            self.session.guess, self.session.after_vote = self.guess, self.after_vote
        self.learn()

    def __repr__(self):
        return "A reward model that learns from your votes. It works in Jupyter; what it knows stands there."

    # What the card asks

    def guess(self, prompt: str, left: str, right: str) -> float | None:
        """Return P(the reader prefers the left answer); None before it learned from as many votes as it takes."""
        if self.seen < EVERY:
            return None
        return self.reward.chances([Vote(prompt, (left, right), (True, True), 0.5)]).item()

    def after_vote(self, n: int = 0) -> None:
        """Learn, where enough votes are new. The card calls this in a thread of its own."""
        if len(self.votes()[0]) >= self.seen + EVERY:
            self.learn()

    def watch(self, *others: "LiveRewardModel", minutes: float = 60, pause: float = 2.0) -> None:
        """Follow the round, together with the `others` (the other team's), show what is learned, and tell the room
        what is known already, then after each training. Interrupt the cell to stop."""
        display(self, *others)
        until, last, told = time.monotonic() + 60 * minutes, None, {}
        try:
            while time.monotonic() < until:
                if (now := self.store.last(self.round)) != last:
                    last = now
                    for live in (self, *others):
                        live.after_vote()
                        if live.seen != told.get(live.team, 0):
                            told[live.team] = live.seen
                            live.tell_room()
                time.sleep(pause)
        except KeyboardInterrupt:
            print("Stopped. What it learned is in `.reward`; run the cell again to go on.")

    # Learning

    def votes(self) -> tuple[list[Vote], list[Vote], list[dict]]:
        """Return the votes to learn from, the oldest first, those of the others, and the answers behind the first.

        For a reader: the reader's own, or where there are none those of the simulated rater that filled in.
        """
        rows = self.store.answers(self.round)
        if not self.session:
            mine = [row for row in rows if self.team in ("", row["team"])]
        else:
            who = [
                self.session.rater,
                *(row["rater"] for row in rows if row["rater_kind"] == "simulated"),
            ]
            mine = next(
                (
                    found
                    for rater in who
                    if (found := [row for row in rows if row["rater"] == rater])
                ),
                [],
            )
        own = {row["seq"] for row in mine}
        return votes_of(mine), votes_of([row for row in rows if row["seq"] not in own]), mine

    def learn(self) -> "LiveRewardModel":
        """Learn from all votes so far, test each earlier training on the votes after it, and show what came out."""
        with self.one_at_a_time:
            mine, others, rows = self.votes()
            if mine:
                self.untrained = self.untrained or PersonalReward(
                    self.shipped, self.policy[1], self.yardstick(mine)
                )
                self.points = [
                    self.test(mine[:a], mine[a:b], others) for a, b in blocks(len(mine), EVERY)
                ]
                self.reward, self.seen = self.untrained.fit(mine), len(mine)
                self.best = (
                    mine[-1].prompt,
                    *best_of(*self.policy, self.reward, mine[-1].prompt, seed=self.seen),
                )
            self.steady = decided_twice(rows)
            self.ceiling = foreseeable(self.steady)
            self.value = self.page()
        return self

    def test(self, before: list[Vote], new: list[Vote], others: list[Vote]) -> Point:
        """Train on the votes before, test on the new ones; a test that was made already is looked up."""
        key = (tuple(before), tuple(new), len(others) // (5 * EVERY))
        if key not in self.tested:
            reward = self.untrained.fit(before) if before else self.untrained
            self.tested[key] = Point(len(before), accuracy(reward, new), accuracy(reward, others))
        return self.tested[key]

    def yardstick(self, votes: list[Vote]) -> tuple[list[str], list[str], list[bool]]:
        """Return samples of the policy for the prompts of these votes: prompts, texts, and whether each ended."""
        prompts = list(
            itertools.islice(itertools.cycle(dict.fromkeys(vote.prompt for vote in votes)), SAMPLES)
        )
        texts, ended = answer_all(*self.policy, prompts, 1)
        return prompts, [row[0] for row in texts], [row[0] for row in ended]

    # What it shows

    def sentence(self) -> str:
        """Return what there is to say, in words."""
        if not self.points:
            return f"The reward model waits for your votes; after {EVERY} it begins to guess."
        point, whom = self.points[-1], "your" if self.session else "the room's"
        when, which = f"After {point.votes} votes it", "next"
        if not point.votes:
            when, which = "Before it learned from votes, it", "first"
        said = [
            f"{when} foresaw {in_words(point.mine)} of {whom} {which} {point.mine['n']}."
            if point.mine["n"]
            else f"None of {whom} votes after the first {point.votes} chooses a side."
        ]
        if point.others["n"]:
            said.append(
                f"Of {point.others['n']} votes of the others it foresees {in_words(point.others)}."
            )
        if self.steady["n"]:
            agrees = "You agree" if self.session else "Raters agree"
            said.append(
                f"{agrees} with {'your' if self.session else 'them'}sel{'f' if self.session else 'ves'} in "
                f"{in_words(self.steady)} of {self.steady['n']} repeats, ties apart. If the rest are slips, a "
                f"perfect model would foresee {in_words(self.ceiling)}: it does not slip."
            )
        return " ".join(said)

    def page(self) -> str:
        """Return the HTML of what it shows: the curve, the words, the best of 16."""
        html = f"<p aria-live='polite'>{escaped(self.sentence())}</p>"
        if self.points:
            html += f"<img alt='{escaped(self.sentence())}' src='data:image/png;base64,{png(curve(self))}'>"
        if self.seen >= EVERY:
            liked, disliked = (
                ", ".join(f"{word} {weight:+.1f}" for word, weight in words)
                for words in self.reward.words()
            )
            prompt, plain, best = self.best
            html += f"<p>It has learned from {self.seen} votes. Words that raise the reward: {escaped(liked)}. "
            html += f"Words that lower it: {escaped(disliked)}.</p><p><b>{escaped(prompt)}</b></p>"
            html += columns_html(
                {"a plain sample": said(plain), "the best of 16 by this reward model": said(best)}
            )
        return html

    def tell_room(self) -> None:
        """Report to the class page, through the store, what was tested; nothing where no vote chose a side yet."""
        points, (prompt, plain, best) = (
            [point for point in self.points if point.mine["n"]],
            self.best,
        )
        if not points:
            return
        point = points[-1]
        self.store.report(
            {
                "round": self.round,
                "team": self.team,
                "votes": point.votes,
                "held_out": point.mine["n"],
                "accuracy": point.mine["value"],
                "low": point.mine["low"],
                "high": point.mine["high"],
                "ceiling": self.ceiling["value"],
                "samples": [{"prompt": prompt, "plain": plain, "best": best, "n": 16}],
                "curve": [
                    [p.votes, p.mine["value"], p.mine["low"], p.mine["high"]] for p in points
                ],
            }
        )


def blocks(n: int, every: int) -> list[tuple[int, int]]:
    """Return (first, beyond the last) vote of each test: `every` votes each, and longer ones where there are many,
    since each test takes a training."""
    ends, starts = [], [0]
    while (end := starts[-1] + max(every, starts[-1] // 4)) < n:
        ends.append(end)
        starts.append(end)
    return list(zip(starts, [*ends, n], strict=True))


def accuracy(reward: PersonalReward, votes: list[Vote]) -> dict:
    """Return the share of decided votes that a reward model foresees, as a figure of `ratings.stats`."""
    decided = [vote for vote in votes if vote.left != 0.5]
    if not decided:
        return NOTHING
    chances = reward.chances(decided).tolist()
    return share(
        [
            (v.rater, (chance > 0.5) == (v.left > 0.5))
            for v, chance in zip(decided, chances, strict=True)
        ]
    )


def in_words(figure: dict) -> str:
    """Return a share with its interval."""
    return f"{figure['value']:.0%} ({figure['low']:.0%} to {figure['high']:.0%})"


def curve(live: LiveRewardModel):
    """Accuracy on held-out votes against votes learned from, with intervals."""
    figure, (axis,) = canvas(width=5.6, height=2.8)
    last, whose = live.points[-1], "your" if live.session else "the room's"
    lines = [("mine", f"{whose} next votes"), ("others", "votes of the others")]
    for i, (name, label) in enumerate(lines):
        points = [(p.votes, getattr(p, name)) for p in live.points if getattr(p, name)["n"]]
        if points:
            at, mean = (
                [votes + 0.6 * i for votes, _ in points],
                [found["value"] for _, found in points],
            )
            error = np.abs([[f["value"] - f[end] for _, f in points] for end in ("low", "high")])
            axis.errorbar(
                at,
                mean,
                error,
                color=COLOURS[i],
                linestyle=STYLES[i],
                marker="os"[i],
                capsize=3,
                label=f"{label}, 95 % interval",
            )
    if live.ceiling["n"]:
        axis.axhline(
            live.ceiling["value"],
            color="grey",
            linestyle=STYLES[3],
            label="the most that can be foreseen",
        )
    axis.axhline(0.5, color="lightgrey", linewidth=1, zorder=0)
    axis.set(
        xlabel="votes learned from",
        ylabel="share foreseen",
        ylim=(0, 1.05),
        xlim=(-0.3 * EVERY, max(last.votes, 2 * EVERY) + 0.3 * EVERY),
    )
    axis.xaxis.get_major_locator().set_params(integer=True)
    when = f"After {last.votes} votes" if last.votes else "Before it learned"
    axis.set_title(
        f"{when}: {in_words(last.mine)} foreseen" if last.mine["n"] else "Not tested yet",
        loc="left",
    )
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right", fontsize=8)
    return figure


def png(figure) -> str:
    """Return a figure as PNG in base64."""
    file = io.BytesIO()
    figure.savefig(file, dpi=90)
    return base64.b64encode(file.getvalue()).decode()


live_reward_model = LiveRewardModel  # as the lessons call it
