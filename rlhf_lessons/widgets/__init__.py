"""What the reader sees and clicks: a prompt box, cards for rating, pictures and tables.

Each name is fetched from its module when it is first used: the rater card works without loading PyTorch.
"""

from importlib import import_module
from pathlib import Path

HOMES = {
    "AskBox": "ask",
    "Explorer": "explorer",
    "PairRater": "pairs",
    "make_pairs": "pairs",
    "Picture": "html",
    "answers_table": "html",
    "table": "html",
}
__all__ = [*HOMES]


def __getattr__(name: str):
    if name not in HOMES:
        raise AttributeError(f"rlhf_lessons.widgets has no '{name}'; it has {', '.join(HOMES)}")
    return getattr(import_module(f"rlhf_lessons.widgets.{HOMES[name]}"), name)


def card_js() -> str:
    """Return the rater card as one ES module, as notebooks want it: its judgements, then the card itself."""
    parts = [Path(__file__).with_name(name) for name in ("judgements.js", "card.js")]
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)
