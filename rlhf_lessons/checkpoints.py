"""Finished models: the four that ship in `data/checkpoints/`, and the reader's own runs under `runs/`.

`load("sft")` gives the reader's own model where it finished and is about as good as the shipped one on validation
prompts, and the shipped one otherwise; it says which, and why. A stopped run, or one broken on purpose, has no
finished checkpoint under these names and so never becomes anybody's default.
"""

from pathlib import Path

from rlhf_lessons import paths
from rlhf_lessons.data import FOLDER
from rlhf_lessons.lm.models import CheckpointError, load_card, load_model

STAGES = ("base", "sft", "reward", "ppo")
SHIPPED = FOLDER / "checkpoints"
MINE = paths.RUNS
TOLERANCE = {"base": 0.05, "sft": 0.08, "reward": 0.05, "ppo": 0.08}
QUALITY = {
    "base": "minus the validation loss, nats per token",
    "sft": "mean utility on validation prompts",
    "reward": "agreement with true utility on validation pairs",
    "ppo": "mean utility on validation prompts",
}
TRAIN = {
    "base": "pretrain",
    "sft": "sft",
    "reward": "reward",
    "ppo": "ppo",
}  # the command that makes each


def choose(name: str, source: str = "best") -> tuple[Path, str]:
    """Return the folder of a stage's checkpoint and one sentence that says why this one.

    `source` is `best` (the rule above), `shipped`, or `mine` (CheckpointError where there is no finished one).
    """
    if name not in STAGES:
        raise CheckpointError(f"there is no model '{name}'; there are {', '.join(STAGES)}")
    if source not in ("best", "mine", "shipped"):
        raise CheckpointError(f"source must be 'best', 'mine' or 'shipped', not '{source}'")
    shipped, mine = SHIPPED / name, MINE / name
    if source == "shipped" or source == "best" and not mine.is_dir():
        return shipped, f"{name}: the shipped model."
    if not mine.is_dir():
        raise CheckpointError(
            f"{mine}: you have no finished model here; train one with "
            f"`python -m rlhf_lessons {TRAIN[name]}`, or load the shipped one"
        )
    if source == "mine":
        return mine, f"{name}: your own model, since you insist."
    try:
        got = quality(mine)
    except CheckpointError as error:
        return shipped, f"{name}: the shipped model. Yours cannot be used: {error}."
    try:
        return gate(name, got, quality(shipped) - TOLERANCE[name])
    except CheckpointError as error:
        return mine, f"{name}: your own model. The shipped one cannot be used: {error}."


def gate(name: str, mine: float, needed: float) -> tuple[Path, str]:
    """Let the reader's own model of quality `mine` through where it reaches what is needed."""
    if mine >= needed:
        return (
            MINE / name,
            f"{name}: your own model, at {mine:.3f} (needed {needed:.3f}; {QUALITY[name]}).",
        )
    return SHIPPED / name, (
        f"{name}: the shipped model. Yours reaches {mine:.3f} and needs {needed:.3f} "
        f"({QUALITY[name]}); load it all the same with source='mine'."
    )


def quality(folder: Path) -> float:
    """Return the number by which a checkpoint is compared; CheckpointError where its card has none."""
    found = load_card(folder).get("quality")
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise CheckpointError(
            f"{folder / 'card.json'}: 'quality' is {found!r}, where a number was expected"
        )
    return float(found)


def load(name: str, source: str = "best", say=print):
    """Return (model, tokenizer) of a stage: base, sft, reward or ppo. CheckpointError names what is wrong.

    A damaged model of the reader's own is passed over with a word, unless `source` is `mine`.
    """
    path, reason = choose(name, source)
    try:
        found = load_model(path)
    except CheckpointError as error:
        if source != "best" or path != MINE / name:
            raise
        found, reason = (
            load_model(SHIPPED / name),
            f"{name}: the shipped model. Yours cannot be used: {error}.",
        )
    say(reason)
    return found
