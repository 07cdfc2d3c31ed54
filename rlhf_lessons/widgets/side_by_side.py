"""Answers of several models beside each other, with the look of the rater card: what was asked is
marked, and what an answer lacks is named below it."""

import re

from jinja2 import Template
from markupsafe import Markup

from rlhf_lessons.widgets import source
from rlhf_lessons.widgets.html import escaped, said
from rlhf_lessons.world.judge import checklist

LAYOUT = Template(source("side_by_side.html.jinja"), autoescape=True, trim_blocks=True)


class SideBySide:
    """A table of prompts, each with an answer of every model below it.

    `answers` maps a model's name to its answers, one a prompt. With `checked=False` nothing is
    marked, and readers judge for themselves. On a narrow screen the answers stand one below the
    other. It prints as plain text.
    """

    def __init__(self, prompts: list[str], answers: dict[str, list[str]], checked: bool = True):
        self.names = list(answers)
        self.rows = list(zip(prompts, zip(*answers.values(), strict=True), strict=True))
        self.checked = checked

    def __repr__(self):
        lines = ""
        for prompt, texts in self.rows:
            lines += f"{prompt}\n"
            for name, text in zip(self.names, texts):
                lines += f"  {name}: {said(text)}\n"
        return lines

    def _repr_html_(self) -> str:
        helpers = {"checklist": checklist, "marked": marked, "said": said}
        return LAYOUT.render(vars(self) | helpers, style=Markup(source("look.css")))


def marked(text: str, parts: list[str]) -> Markup:
    """Return text as HTML in which the words for these parts are marked."""
    words = "|".join(re.escape(part.split()[0]) for part in parts)  # of "4-2 = 2" the sum
    found = rf"(?i)\b((?:{words or '(?!)'})(?:s|e?d|ing)?)\b"
    pieces = [*map(escaped, re.split(found, text))]
    pieces[1::2] = [f"<mark>{piece}</mark>" for piece in pieces[1::2]]
    return Markup("".join(pieces))
