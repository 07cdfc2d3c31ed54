"""`rl.live_reward_model`: a reward model that learns from votes while they are cast, and says how
well it knows you.

    card = rl.rate(pairs, "lesson 3")
    rl.live_reward_model(card)                 # of one reader; it shows itself in the notebook
    rl.live_reward_model("round 1", store="class.sqlite3").watch()    # of a room, all its votes

What it learns, when, and how it is tested is in `feedback.online`; here it is drawn.
"""

import ipywidgets as w
import numpy as np
from IPython.display import display

from rlhf_lessons.feedback.online import EVERY, OnlineReward, Point, watch
from rlhf_lessons.plots import COLOURS, STYLES, canvas
from rlhf_lessons.widgets.html import columns_html, escaped, figure_html, said
from rlhf_lessons.widgets.rate import open_store


class LiveRewardModel(OnlineReward, w.HTML):
    """An `OnlineReward` that shows itself as a cell's last line.

    `source` is what `rl.rate` returned, or the name of a round in `store`: then it learns from all
    raters of the round, or of one `team`.
    """

    def __init__(self, source, store=None, team: str = "", policy=None, reward_model=None):
        w.HTML.__init__(self)
        session = None if isinstance(source, str) else source.session
        if session:
            store, source = session.store, session.round
        store = open_store(store)
        rater = session.rater if session else None
        OnlineReward.__init__(self, store, source, rater, team, policy, reward_model)
        if session:
            session.guess, session.after_vote = self.guess, self.after_vote
        self.learn()

    def __repr__(self):
        where = "It works in Jupyter; what it knows stands there."
        return f"A reward model that learns from your votes. {where}"

    def after_vote(self, n: int = 0) -> None:
        """Learn, where enough votes are new. The card calls this in a thread of its own."""
        if self.is_due():
            self.learn()

    def learn(self) -> "LiveRewardModel":
        """Learn from all votes so far, and show what came out."""
        super().learn()
        self.value = self.page()
        return self

    def watch(self, *others: "LiveRewardModel", minutes: float = 60, pause: float = 2.0) -> None:
        """Follow the round, together with the `others` (the other team's), show what is learned,
        and tell the room what is known already, then after each training. Interrupt the cell to
        stop."""
        display(self, *others)
        try:
            watch([self, *others], LiveRewardModel.after_vote, minutes, pause)
        except KeyboardInterrupt:
            print("Stopped. What it learned is in `.reward`; run the cell again to go on.")

    def sentence(self) -> str:
        """Return what there is to say, in words."""
        if not self.points:
            return f"The reward model waits for your votes; after {EVERY} it begins to guess."
        newest, whom = self.points[-1], "your" if self.rater else "the room's"
        when, which = f"After {newest.votes} votes it", "next"
        if not newest.votes:
            when, which = "Before it learned from votes, it", "first"
        told = f"None of {whom} votes after the first {newest.votes} chooses a side."
        if newest.mine["n"]:
            told = f"{when} predicted {in_words(newest.mine)} of {whom} {which} {newest.mine['n']}."
        if newest.others["n"]:
            others = newest.others
            told += f" Of {others['n']} votes of the others it predicts {in_words(others)}."
        if self.steady["n"]:
            agree = "You agree with yourself" if self.rater else "Raters agree with themselves"
            told += (
                f" {agree} in {in_words(self.steady)} of {self.steady['n']} repeats, ties apart."
            )
            told += " If the rest are slips, a perfect model would predict"
            told += f" {in_words(self.ceiling)}: it does not slip."
        return told

    def page(self) -> str:
        """Return the HTML of what it shows: the words, the curve, the best of 16."""
        if not self.points:
            return f"<p aria-live='polite'>{escaped(self.sentence())}</p>"
        html = figure_html(curve(self.points, self.ceiling, bool(self.rater)), self.sentence())
        if self.seen >= EVERY:
            raising, lowering = (
                escaped(", ".join(f"{word} {weight:+.1f}" for word, weight in words))
                for words in self.reward.words()
            )
            prompt, plain, best = self.best
            html += f"<p>It has learned from {self.seen} votes. Words that raise the reward:"
            html += (
                f" {raising}. Words that lower it: {lowering}.</p><p><b>{escaped(prompt)}</b></p>"
            )
            texts = {"a plain sample": plain, "the best of 16 by this reward model": best}
            html += columns_html({name: said(text) for name, text in texts.items()})
        return html


def in_words(figure: dict) -> str:
    """Return a share with its interval."""
    return f"{figure['value']:.0%} ({figure['low']:.0%} to {figure['high']:.0%})"


def curve(points: list[Point], ceiling: dict, of_a_reader: bool = True):
    """Return the figure of accuracy on held-out votes against votes learned from, with
    intervals."""
    figure, (axis,) = canvas(width=5.6, height=2.8)
    labels = {
        "mine": "your next votes" if of_a_reader else "the room's next votes",
        "others": "votes of the others",
    }
    for i, (whose, label) in enumerate(labels.items()):
        tested = [(point.votes, getattr(point, whose)) for point in points]
        tested = [(votes, found) for votes, found in tested if found["n"]]
        if not tested:
            continue
        at, found = zip(*tested, strict=True)
        mean = np.array([share["value"] for share in found])
        ends = [[share[end] for share in found] for end in ("low", "high")]
        axis.errorbar(
            np.array(at) + 0.6 * i,
            mean,
            np.abs(mean - ends),  # a bound may lie beyond the mean by a rounding error
            color=COLOURS[i],
            linestyle=STYLES[i],
            marker="os"[i],
            capsize=3,
            label=f"{label}, 95 % interval",
        )
    if ceiling["n"]:
        label = "the most that can be predicted"
        axis.axhline(ceiling["value"], color="grey", linestyle=STYLES[3], label=label)
    axis.axhline(0.5, color="lightgrey", linewidth=1, zorder=0)
    last = points[-1]
    end = max(last.votes, 2 * EVERY) + 0.3 * EVERY
    axis.set(xlabel="votes learned from", ylabel="share predicted")
    axis.set(ylim=(0, 1.05), xlim=(-0.3 * EVERY, end))
    axis.xaxis.get_major_locator().set_params(integer=True)
    when = f"After {last.votes} votes" if last.votes else "Before it learned"
    title = f"{when}: {in_words(last.mine)} predicted" if last.mine["n"] else "Not tested yet"
    axis.set_title(title, loc="left")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="lower right", fontsize=8)
    return figure


live_reward_model = LiveRewardModel  # as the lessons call it
