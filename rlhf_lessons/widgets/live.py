"""`rl.live_reward_model`: a reward model that learns from votes while they are cast, and says how well it knows you.

    card = rl.rate(pairs, "lesson 3")
    rl.live_reward_model(card)                                        # of one reader; it shows itself in the notebook
    rl.live_reward_model("round 1", store="class.sqlite3").watch()    # of a room: learns from everybody's votes

What it learns, when, and how it is tested is in `feedback.online`; here it is drawn.
"""

import base64
import io

import ipywidgets as w
import numpy as np
from IPython.display import display

from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.online import EVERY, OnlineReward, watch
from rlhf_lessons.plots import COLOURS, STYLES, canvas
from rlhf_lessons.widgets.html import columns_html, escaped, said
from rlhf_lessons.widgets.rate import open_store


class LiveRewardModel(OnlineReward, w.HTML):
    """An `OnlineReward` that shows itself as a cell's last line.

    `source` is what `rl.rate` returned, or the name of a round in `store`: then it learns from all raters of the round,
    or of one `team`.
    """

    def __init__(self, source, store=None, team: str = "", policy=None, reward_model=None):
        w.HTML.__init__(self)
        session = None if isinstance(source, str) else source.session
        if session:
            store, source = session.store, session.round
        store = store if isinstance(store, Store) else open_store(store)
        rater = session.rater if session else None
        OnlineReward.__init__(self, store, source, rater, team, policy, reward_model)
        if session:
            session.guess, session.after_vote = self.guess, self.after_vote
        self.learn()

    def __repr__(self):
        return "A reward model that learns from your votes. It works in Jupyter; what it knows stands there."

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
        """Follow the round, together with the `others` (the other team's), show what is learned, and tell the room
        what is known already, then after each training. Interrupt the cell to stop."""
        display(self, *others)
        try:
            watch([self, *others], LiveRewardModel.after_vote, minutes, pause)
        except KeyboardInterrupt:
            print("Stopped. What it learned is in `.reward`; run the cell again to go on.")

    def sentence(self) -> str:
        """Return what there is to say, in words."""
        if not self.points:
            return f"The reward model waits for your votes; after {EVERY} it begins to guess."
        point, whom = self.points[-1], "your" if self.rater else "the room's"
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
            agrees = "You agree" if self.rater else "Raters agree"
            said.append(
                f"{agrees} with {'your' if self.rater else 'them'}sel{'f' if self.rater else 'ves'} in "
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


def in_words(figure: dict) -> str:
    """Return a share with its interval."""
    return f"{figure['value']:.0%} ({figure['low']:.0%} to {figure['high']:.0%})"


def curve(live: LiveRewardModel):
    """Accuracy on held-out votes against votes learned from, with intervals."""
    figure, (axis,) = canvas(width=5.6, height=2.8)
    last, whose = live.points[-1], "your" if live.rater else "the room's"
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
