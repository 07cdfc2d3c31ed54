"""A card for rating: two answers to one prompt, and three buttons. The keys Tab and Space work it too."""

import itertools
import random
from collections.abc import Callable

import ipywidgets as w

from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.widgets.html import columns_html, escaped
from rlhf_lessons.world.judge import judge

CHOICES = {"left": "A is better", "tie": "A tie", "right": "B is better"}


def make_pairs(
    models: dict, prompts: list[str], n: int, seed: int = 0, gap: float = 0.05
) -> list[dict]:
    """Return `n` pairs of answers, one of each of two models, with the sides drawn by lot.

    Each pair is {prompt, left, right} and, for `left_model` and `right_model`, the names of who wrote them. Answers
    whose true utilities are closer than `gap` are not offered: they would waste a reader's time. A model may
    compete with itself, as {"sft": m, "sft again": m}.
    """
    texts = {
        name: generate(*model, prompts, seed=seed + i).texts
        for i, (name, model) in enumerate(models.items())
    }
    rng, pairs = random.Random(seed), []
    for i, prompt in enumerate(prompts):
        sides = rng.sample(list(models), 2)
        left, right = (texts[name][i] for name in sides)
        if abs(judge(prompt, left).utility - judge(prompt, right).utility) >= gap:
            pairs.append(
                dict(
                    prompt=prompt, left=left, right=right, left_model=sides[0], right_model=sides[1]
                )
            )
    return list(itertools.islice(pairs, n))


class PairRater(w.VBox):
    """Shows one pair after the other; `votes` holds what the reader chose, a dictionary a pair."""

    def __init__(self, pairs: list[dict], question: str = "Which answer is better?"):
        self.pairs, self.question, self.votes = pairs, question, []
        self.card = w.HTML()
        self.buttons = {
            choice: w.Button(description=label, tooltip=f"{label}: then the next pair")
            for choice, label in CHOICES.items()
        }
        self.back = w.Button(description="Back", tooltip="Take the last choice back", disabled=True)
        for choice, button in self.buttons.items():
            button.on_click(lambda _, choice=choice: self.vote(choice))
        self.back.on_click(lambda _: self.take_back())
        super().__init__([self.card, w.HBox([*self.buttons.values(), self.back])])
        self.draw()

    def __repr__(self):
        return f"A card for rating {len(self.pairs)} pairs. It works in Jupyter; what it asks stands below."

    def vote(self, choice: str) -> None:
        """Note the choice (left, tie or right) for the pair on the card, and go on to the next."""
        if len(self.votes) < len(self.pairs):
            self.votes.append(self.pairs[len(self.votes)] | {"choice": choice, "rater": "you"})
            self.draw()

    def take_back(self) -> None:
        """Forget the last choice."""
        del self.votes[-1:]
        self.draw()

    def draw(self) -> None:
        """Show the next pair, or thanks after the last."""
        done = len(self.votes) == len(self.pairs)
        if done:
            self.card.value = (
                f"<p>Thank you: all {len(self.pairs)} pairs rated. Run the next cell.</p>"
            )
        else:
            pair = self.pairs[len(self.votes)]
            self.card.value = (
                f"<p>Pair {len(self.votes) + 1} of {len(self.pairs)}. {escaped(self.question)}</p>"
                f"<p><b>{escaped(pair['prompt'])}</b></p>"
                + columns_html({"A": pair["left"], "B": pair["right"]})
            )
        for button in self.buttons.values():
            button.disabled = done
        self.back.disabled = not self.votes

    def complete(self, choose: Callable[[dict], str]) -> list[dict]:
        """Return a vote on every pair: the reader's, and `choose(pair)` of a simulated rater for the rest."""
        rest = self.pairs[len(self.votes) :]
        return self.votes + [pair | {"choice": choose(pair), "rater": "simulated"} for pair in rest]
