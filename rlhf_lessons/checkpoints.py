"""Finished models: the four that ship in `data/checkpoints/`, and the reader's own in `runs/`.

`load("sft")` gives the model that the reader trained from the terminal, where it is finished and
about as good as the shipped one on validation prompts, and the shipped one otherwise; it says
which, and why. A stopped run, or one broken on purpose, has no finished checkpoint under these
names and never becomes a default.

What the reader makes in a lesson, `keep` puts into `runs/mine/`, for the next one to start from:
`load("sft", "mine")`. Such a model is measured by nobody, and so never a default either.
"""

from pathlib import Path

from rlhf_lessons import paths
from rlhf_lessons.data import printable
from rlhf_lessons.lm.models import NO_CARD, CheckpointError, load_card, load_model, save_model

COMMANDS = {"base": "pretrain", "sft": "sft", "reward": "reward", "ppo": "ppo"}  # that make each
STAGES = tuple(COMMANDS)  # lessons 1 to 4 make one each
TOLERANCE = {"base": 0.05, "sft": 0.08, "reward": 0.05, "ppo": 0.08}
QUALITY = {
    "base": "minus the validation loss, nats per token",
    "sft": "mean utility on validation prompts",
    "reward": "agreement with true utility on validation pairs",
    "ppo": "mean utility on validation prompts",
    "first_reward": "agreement with true utility on validation pairs",
    "first": "mean utility on validation prompts",
}


def shipped(name: str) -> Path:
    """Return the folder of a shipped checkpoint."""
    return paths.DATA / "checkpoints" / name


def mine(name: str) -> Path | None:
    """Return the folder of the reader's own: what a lesson kept or the terminal trained, the newer
    of the two; None where there is neither."""
    found = filter(Path.is_dir, (paths.RUNS / "mine" / name, paths.RUNS / name))
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def choose(name: str, source: str = "best") -> tuple[Path, str]:
    """Return the folder of a stage's checkpoint and one sentence that says why this one.

    `source` is `best` (the rule above), `shipped`, or `mine`. CheckpointError where there is no
    such model, or no finished one of the reader's own.
    """
    if name not in STAGES:
        raise CheckpointError(f"there is no model '{name}'; there are {', '.join(STAGES)}")
    if source not in ("best", "mine", "shipped"):
        raise CheckpointError(f"source must be 'best', 'mine' or 'shipped', not '{source}'")
    if source == "mine":
        folder = mine(name)
        if folder is None:
            raise CheckpointError(
                f"you have no {name} model of your own yet: lesson {STAGES.index(name) + 1} keeps "
                f"one, and `python -m rlhf_lessons {COMMANDS[name]}` trains one. With the source "
                "'shipped' you get the course's"
            )
        about = load_card(folder).get("about", "")
        return folder, printable(f"{name}: your own model. {about!s:.200}")
    own = paths.RUNS / name
    if source == "shipped" or not own.is_dir():
        return shipped(name), f"{name}: the shipped model."
    try:
        got = quality(own)
    except CheckpointError as error:
        return unusable(name, error)
    try:
        needed = quality(shipped(name)) - TOLERANCE[name]
    except CheckpointError as error:
        return own, f"{name}: your own model. The shipped one cannot be used: {error}."
    if got >= needed:
        return own, f"{name}: your own model, at {got:.3f} (needed {needed:.3f}; {QUALITY[name]})."
    return shipped(name), (
        f"{name}: the shipped model. Yours reaches {got:.3f} and needs {needed:.3f} "
        f"({QUALITY[name]}); load it all the same with source='mine'."
    )


def unusable(name: str, error: CheckpointError) -> tuple[Path, str]:
    """Return the shipped model and what is wrong with the reader's own."""
    return shipped(name), f"{name}: the shipped model. Yours cannot be used: {error}."


def quality(folder: Path) -> float:
    """Return the number by which checkpoints are compared; CheckpointError if the card has none."""
    card = load_card(folder)
    found = card.get("quality")
    if card.get("about") == NO_CARD:
        raise CheckpointError(f"{folder}: its quality was never measured. {NO_CARD}")
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise CheckpointError(
            f"{folder / 'card.json'}: 'quality' is {found!r}, where a number was expected"
        )
    return float(found)


def load(name: str, source: str = "best", say=print, tokenizer=None):
    """Return (model, tokenizer) of a stage: base, sft, reward or ppo, in eval mode.

    A damaged model of the reader's own is skipped with a warning, unless `source` is `mine`.
    `tokenizer` is that of another model, with which this one is to be used. CheckpointError names
    what is wrong, also where the two know different tokens.
    """
    path, reason = choose(name, source)
    try:
        found = load_model(path)
    except CheckpointError as error:
        if source != "best" or path == shipped(name):
            raise
        path, reason = unusable(name, error)
        found = load_model(path)
    if tokenizer and tokenizer.get_vocab() != found[1].get_vocab():
        raise CheckpointError(
            f"{path}: its tokenizer is not that of the model before it, so they cannot read each "
            "other's texts. Take both from one source, or make yours anew, each from the other"
        )
    say(reason)
    return found


def keep(model, tokenizer, name: str, about: str, source: str = "shipped") -> None:
    """Keep a model made in a lesson: `load(name, "mine")` gives it from then on.

    `about` says how it was made, `source` where the models came from that it was made of. A model
    that cannot be written, or holds numbers that are not finite, is not kept: that is said, the one
    kept before stays, and the lesson goes on. ValueError where `name` is no stage's.
    """
    about = f"Lesson {STAGES.index(name) + 1}: {about}"
    card = {"stage": name, "about": about, "source": source}
    try:
        if not all(weights.isfinite().all() for weights in model.parameters()):
            raise ValueError("some of its numbers are not finite")
        save_model(model, tokenizer, paths.RUNS / "mine" / name, card)
    except (OSError, ValueError) as error:
        print(f"{name}: not kept ({error}). What was kept before stays.")
    else:
        use = "Lesson 6 shows it beside the shipped ones."
        if name != "ppo":
            use = "To start the next lesson from it, set SOURCE = 'mine'."
        print(f"{name}: kept in runs/mine. {use}")
