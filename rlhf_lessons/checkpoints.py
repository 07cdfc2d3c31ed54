"""Finished models: the four that ship in `data/checkpoints/`, and the reader's own in `runs/`.

`load("sft")` gives the reader's own model where it is finished and about as good as the shipped
one on validation prompts, and the shipped one otherwise; it says which, and why. A stopped run,
or one broken on purpose, has no finished checkpoint under these names and never becomes a default.
"""

from pathlib import Path

from rlhf_lessons import paths
from rlhf_lessons.lm.models import CheckpointError, load_card, load_model

COMMANDS = {"base": "pretrain", "sft": "sft", "reward": "reward", "ppo": "ppo"}  # that make each
STAGES = tuple(COMMANDS)
TOLERANCE = {"base": 0.05, "sft": 0.08, "reward": 0.05, "ppo": 0.08}
QUALITY = {
    "base": "minus the validation loss, nats per token",
    "sft": "mean utility on validation prompts",
    "reward": "agreement with true utility on validation pairs",
    "ppo": "mean utility on validation prompts",
    "first": "mean utility on validation prompts",
}


def shipped(name: str) -> Path:
    """Return the folder of a shipped checkpoint."""
    return paths.DATA / "checkpoints" / name


def choose(name: str, source: str = "best") -> tuple[Path, str]:
    """Return the folder of a stage's checkpoint and one sentence that says why this one.

    `source` is `best` (the rule above), `shipped`, or `mine`. CheckpointError where there is no
    such model, or no finished one of the reader's own.
    """
    if name not in STAGES:
        raise CheckpointError(f"there is no model '{name}'; there are {', '.join(STAGES)}")
    if source not in ("best", "mine", "shipped"):
        raise CheckpointError(f"source must be 'best', 'mine' or 'shipped', not '{source}'")
    mine = paths.RUNS / name
    if source == "shipped" or source == "best" and not mine.is_dir():
        return shipped(name), f"{name}: the shipped model."
    if not mine.is_dir():
        raise CheckpointError(
            f"{mine}: you have no finished model here; train one with "
            f"`python -m rlhf_lessons {COMMANDS[name]}`, or load the shipped one"
        )
    if source == "mine":
        return mine, f"{name}: your own model (source='mine')."
    try:
        got = quality(mine)
    except CheckpointError as error:
        return unusable(name, error)
    try:
        needed = quality(shipped(name)) - TOLERANCE[name]
    except CheckpointError as error:
        return mine, f"{name}: your own model. The shipped one cannot be used: {error}."
    if got >= needed:
        return mine, f"{name}: your own model, at {got:.3f} (needed {needed:.3f}; {QUALITY[name]})."
    return shipped(name), (
        f"{name}: the shipped model. Yours reaches {got:.3f} and needs {needed:.3f} "
        f"({QUALITY[name]}); load it all the same with source='mine'."
    )


def unusable(name: str, error: CheckpointError) -> tuple[Path, str]:
    """Return the shipped model and what is wrong with the reader's own."""
    return shipped(name), f"{name}: the shipped model. Yours cannot be used: {error}."


def quality(folder: Path) -> float:
    """Return the number by which checkpoints are compared; CheckpointError if the card has none."""
    found = load_card(folder).get("quality")
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise CheckpointError(
            f"{folder / 'card.json'}: 'quality' is {found!r}, where a number was expected"
        )
    return float(found)


def load(name: str, source: str = "best", say=print):
    """Return (model, tokenizer) of a stage: base, sft, reward or ppo, in eval mode.

    A damaged model of the reader's own is skipped with a warning, unless `source` is `mine`.
    CheckpointError names what is wrong.
    """
    path, reason = choose(name, source)
    try:
        found = load_model(path)
    except CheckpointError as error:
        if source != "best" or path == shipped(name):
            raise
        path, reason = unusable(name, error)
        found = load_model(path)
    say(reason)
    return found
