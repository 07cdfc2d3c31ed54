"""Predict, then run: the reader commits to a guess before the cell that tells."""

import ipywidgets as w

from rlhf_lessons.widgets.html import Box, escaped


class Guess(Box):
    """A question with a few choices, none of them chosen yet.

    guess = rl.Guess("Will the true utility follow the reward?", "yes", "for a while", "no")
    guess.compare("yes")     # in a later cell: prints the guess beside what came out, and locks it
    """

    def __init__(self, question: str, *choices: str):
        layout = {"width": "max-content"}
        self.choices = w.RadioButtons(options=choices, value=None, layout=layout)
        super().__init__(
            f"{question} {' / '.join(choices)}? (In Jupyter you click your guess.)",
            w.HTML(f"<b>Guess first.</b> {escaped(question)}"),
            self.choices,
        )

    def compare(self, truth: str) -> None:
        """Print what was guessed beside what came out. ValueError where `truth` is none of the
        choices."""
        if truth not in self.choices.options:
            raise ValueError(f"'{truth}' is none of the choices: {', '.join(self.choices.options)}")
        self.choices.disabled, guessed = True, self.choices.value
        told = "" if guessed is None else f" (you guessed: {guessed})"
        print(f"It came out: {truth}{told}.")
