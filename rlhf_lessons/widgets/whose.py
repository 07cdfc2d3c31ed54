"""Whose vote was it? Answers ranked by a reward model, the votes that moved one of them most, and
the ranking without these votes."""

from collections import Counter
from string import ascii_uppercase as LETTERS

import ipywidgets as w
from jinja2 import Template

from rlhf_lessons.feedback.influence import anonymous, influences
from rlhf_lessons.feedback.online import OnlineReward
from rlhf_lessons.widgets import source
from rlhf_lessons.widgets.html import Box, control, said

LAYOUT = Template(source("whose.html.jinja"), autoescape=True, trim_blocks=True)
MOST = 3  # votes shown for an answer


class WhoseVote(Box):
    """Shows itself as a cell's last line, for answers to a prompt; `ended` says which of the texts
    have an end token.

    `live` is what `rl.live_reward_model` returned, of one reader or of a room: no name is shown,
    and equal votes are one, with their number. A vote is taken back from the reward model here,
    never from the store. ValueError where there is no vote yet.
    """

    def __init__(self, live: OnlineReward, prompt: str, texts: list[str], ended: list[bool]):
        votes = live.votes()[0]
        if not votes:
            raise ValueError("there is no vote yet: rate some pairs, then run this cell again")
        if live.untrained is None:
            live.learn()
        self.fit = live.untrained.fit
        self.votes = Counter(map(anonymous, votes))
        self.fitted = self.fit([*self.votes.elements()])
        answers = [prompt] * len(texts), texts, ended
        ranked = zip(self.fitted(*answers).tolist(), *answers, strict=True)
        self.rewards, *self.answers = zip(*sorted(ranked, reverse=True), strict=True)
        self.influences = influences(self.fitted, self.votes, *self.answers)
        self.taken = [set() for _ in texts]  # of the votes shown for each answer
        options = [*zip(LETTERS, range(len(texts)))]
        self.answer = control(w.RadioButtons, "Answer", options=options, orientation="horizontal")
        self.view = w.HTML()
        self.buttons = []
        for place in range(min(MOST, len(self.votes))):
            button = self.button_for("", "Fit anew, and rank", lambda place=place: self.turn(place))
            self.buttons.append(button)
        super().__init__(
            "Answers ranked by a reward model, and the votes that moved them. It works in Jupyter.",
            self.answer,
            self.view,
            w.HBox(self.buttons),
            self.note,
            controls=[self.answer],
        )

    def _repr_mimebundle_(self, **which) -> dict:
        """Return what Jupyter shows, and for pages without a kernel what stands in it."""
        return super()._repr_mimebundle_(**which) | {"text/html": self.view.value}

    def turn(self, place: int) -> None:
        """Take back the vote that stands there, or give it again."""
        self.taken[self.answer.value] ^= {place}
        self.show()

    def show(self) -> None:
        """Fit without the votes that were taken back; show the ranking, and what moved the chosen
        answer."""
        moving = self.influences[self.answer.value][:MOST]
        taken = self.taken[self.answer.value]
        left = self.votes - Counter(moving[place][0] for place in taken)
        fitted = self.fit([*left.elements()])
        fitted.mean, fitted.deviation = self.fitted.mean, self.fitted.deviation
        rewards = fitted(*self.answers).tolist()
        ranked = sorted(enumerate(rewards), key=lambda row: -row[1])
        self.view.value = LAYOUT.render(
            box=self, moving=moving, taken=taken, ranked=ranked, said=said
        )
        for place, button in enumerate(self.buttons):
            act = "Give vote {} again" if place in taken else "Take vote {} back"
            button.description = act.format(place + 1)
