"""`rl.live_reward_model`: a reward model that learns from votes while they are cast, and says how
well it knows you.

    card = rl.rate(pairs, "lesson 3")
    rl.live_reward_model(card)                 # of one reader; it shows itself in the notebook
    rl.live_reward_model("round 1", store="class.sqlite3").watch()    # of a room, all its votes

What it learns, when, and how it is tested is in `feedback.online`; here it is drawn.
"""

import ipywidgets as w
from IPython.display import display

from rlhf_lessons.feedback.online import EVERY, OnlineReward, Point
from rlhf_lessons.plots import COLOURS, canvas, line
from rlhf_lessons.widgets.html import aloud, escaped, figure_html
from rlhf_lessons.widgets.rate import open_store
from rlhf_lessons.widgets.side_by_side import SideBySide


class LiveRewardModel(OnlineReward, w.HTML):
    """An `OnlineReward` that shows itself as a cell's last line.

    `source` is what `rl.rate` returned, or the name of a round in `store`: then it learns from all
    raters of the round, or of one `team`.
    """

    def __init__(self, source, store=None, team: str = "", policy=None, reward_model=None):
        w.HTML.__init__(self)
        if isinstance(source, str):
            votes = open_store(store), source, None
        else:
            session = source.session
            votes = session.store, session.round, session.rater
            session.guess, session.after_vote = self.guess, self.after_vote
        OnlineReward.__init__(self, *votes, team, policy, reward_model)
        self.learn()

    def __repr__(self):
        where = "It works in Jupyter; what it knows stands there."
        return f"A reward model that learns from your votes. {where}"

    def learn(self) -> "LiveRewardModel":
        """Learn from all votes so far, and show what came out."""
        super().learn()
        self.value = self.page()
        return self

    def watch(self, *others: "LiveRewardModel", minutes: float = 60, pause: float = 2.0) -> None:
        """Follow the round as `OnlineReward.watch` does, and show what is learned. Interrupt the
        cell to stop."""
        display(self, *others)
        try:
            super().watch(*others, minutes=minutes, pause=pause)
        except KeyboardInterrupt:
            print("Stopped. What it learned is in `.reward`; run the cell again to go on.")

    def sentence(self) -> str:
        """Return what there is to say, in words."""
        if not self.points:
            return f"The reward model waits for your votes; after {EVERY} it begins to guess."
        votes, mine, others = self.points[-1]
        whom = "your" if self.rater else "the room's"
        if not mine["n"]:
            told = f"None of {whom} votes after the first {votes} chooses a side."
        elif votes:
            told = f"After {votes} votes it predicted {in_words(mine)} of {whom} next {mine['n']}."
        else:
            told = "Before it learned from votes, it predicted "
            told += f"{in_words(mine)} of {whom} first {mine['n']}."
        if others["n"]:
            told += f" Of {others['n']} votes of the others it predicts {in_words(others)}."
        if self.steady["n"]:
            agree = "You agree with yourself" if self.rater else "Raters agree with themselves"
            told += (
                f" {agree} in {in_words(self.steady)} of {self.steady['n']} repeats, ties apart."
                f" If the rest are slips, a perfect model would predict {in_words(self.ceiling)}: "
                "it does not slip."
            )
        return told

    def page(self) -> str:
        """Return the HTML of what it shows: the words, the curve, the best of 16."""
        if not self.points:
            return aloud(self.sentence())
        page = figure_html(curve(self.points, self.ceiling, bool(self.rater)), self.sentence())
        if self.seen >= EVERY:
            raising, lowering = map(listed, self.reward.words())
            prompt, plain, best = self.best
            page += (
                f"<p style='line-height:1.5'>It has learned from {self.seen} votes. Words that "
                f"raise the reward: {raising}. Words that lower it: {lowering}.</p>"
            )
            texts = {"a plain sample": [plain], "the best of 16 by this reward model": [best]}
            page += SideBySide([prompt], texts)._repr_html_()
        return page


def listed(words: list[tuple[str, float]]) -> str:
    """Return words with their weights as HTML."""
    return escaped(", ".join(f"{word} {weight:+.1f}" for word, weight in words))


def in_words(figure: dict) -> str:
    """Return a share with its interval."""
    return f"{figure['value']:.0%} ({figure['low']:.0%} to {figure['high']:.0%})"


def curve(points: list[Point], ceiling: dict, of_a_reader: bool = True):
    """Return the figure of accuracy on held-out votes against votes learned from, with
    intervals."""
    figure, (axis,) = canvas(width=5.6, height=2.8)
    axis.axhline(0.5, color="lightgrey", linewidth=1, zorder=0, label="a coin")
    if ceiling["n"]:
        label = "the most that can be predicted"
        axis.axhline(ceiling["value"], color="grey", linestyle=":", label=label)
    whose = "your next votes" if of_a_reader else "the room's next votes"
    for i, (part, label) in enumerate({"mine": whose, "others": "votes of the others"}.items()):
        shares = {point.votes + 0.6 * i: getattr(point, part) for point in points}  # side by side
        tested = [
            (at, share["value"], share["low"], share["high"])
            for at, share in shares.items()
            if share["n"]
        ]
        if tested:
            at, value, low, high = zip(*tested, strict=True)
            axis.plot(at, value, **line(i), marker="os"[i], label=f"{label}, 95 % interval")
            axis.vlines(at, low, high, color=COLOURS[i])
    votes, mine, _ = points[-1]
    margin = 0.3 * EVERY
    axis.set(xlabel="votes learned from", xlim=(-margin, max(votes, 2 * EVERY) + margin))
    axis.set(ylabel="share predicted", ylim=(0, 1.05))
    axis.locator_params("x", integer=True)
    when = f"After {votes} votes" if votes else "Before it learned"
    title = f"{when}: {in_words(mine)} predicted" if mine["n"] else "Not tested yet"
    axis.set_title(title, loc="left")
    axis.legend(loc="lower right", fontsize=8)
    return figure


live_reward_model = LiveRewardModel  # as the lessons call it
