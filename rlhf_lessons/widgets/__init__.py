"""What the reader sees and clicks: cards for rating, prompt boxes, pictures and tables. They draw;
nothing learns here.

Each name is fetched from its module when it is first used: the rater card works without loading
PyTorch.
"""

import json
from functools import cache
from importlib import import_module
from pathlib import Path

HOMES = {
    "AskBox": "ask",
    "ClippedObjective": "clip",
    "Explorer": "explorer",
    "FlightRecorder": "recorder",
    "FoolBox": "fooling",
    "MaskBox": "mask",
    "Picture": "html",
    "SideBySide": "side_by_side",
    "WhoseVote": "whose",
    "answers_table": "html",
    "coloured_words": "fooling",
    "draw_objective": "clip",
    "flight_figure": "recorder",
    "objective_in_words": "clip",
    "surprise_html": "explorer",
    "surprise_legend": "explorer",
    "table": "html",
}
__all__ = [*HOMES]


def __getattr__(name: str):
    if name not in HOMES:
        raise AttributeError(f"rlhf_lessons.widgets has no '{name}'; it has {', '.join(HOMES)}")
    return getattr(import_module(f"rlhf_lessons.widgets.{HOMES[name]}"), name)


@cache
def words() -> dict:
    """Return the words of the card and of the student's page, by section and name
    (`words.json`)."""
    return json.loads(source("words.json"))


def card_js() -> str:
    """Return the rater card as one ES module, as notebooks want it: words, judgements and the
    card itself."""
    parts = (source(name) for name in ("judgements.js", "card.js"))
    return "\n".join([f"export const WORDS = {json.dumps(words())};", *parts])


def card_css() -> str:
    """Return the rater card's style: the look that it shares with the tables, and its own."""
    return source("look.css") + source("card.css")


def source(name: str) -> str:
    """Return the text of a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
