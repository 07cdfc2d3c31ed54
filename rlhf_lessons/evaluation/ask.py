"""One prompt to several models: what they answer, and a notice where the toy world ends."""

from pathlib import Path

from rlhf_lessons.checkpoints import STAGES, load
from rlhf_lessons.data import printable, tasks
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.world.tasks import parse

WRITERS = ("base", "sft", "ppo")  # the models that write; the reward model only scores
MOST = 200  # answers of one model at a time


def load_writers(names: list[str], source: str = "best", say=print) -> dict:
    """Return {name: (model, tokenizer)}; a name may also be a model's folder, whoever made it.

    ValueError for a name that is not that of a model that writes.
    """
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise ValueError(f"name at least one model: {', '.join(WRITERS)}")
    return {name: load_writer(name, source, say) for name in names}


def load_writer(name: str, source: str, say) -> tuple:
    """Return (model, tokenizer) of one of WRITERS, or of a folder."""
    if name in WRITERS:
        return load(name, source, say)
    scores = f"'{name}' scores answers and writes none; choose from {', '.join(WRITERS)}"
    if name in STAGES:
        raise ValueError(scores)
    if not Path(name).is_dir():
        raise ValueError(
            f"'{name}' is not one of our models; choose from {', '.join(WRITERS)}, or name a folder"
        )
    found = load_model(name)
    if hasattr(found[0], "score"):
        raise ValueError(scores)
    say(printable(f"{name}: {load_card(name).get('about', '')!s:.200}"))
    return found


def ask(
    prompt: str,
    models: dict | tuple[str, ...] = WRITERS,
    n: int = 3,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Return `n` answers of each model to a prompt: name to texts. Temperature 0 is greedy.

    `models` are names, or name to (model, tokenizer) where they are loaded already. ValueError
    where the prompt is empty or too long, or a number is out of range.
    """
    if not prompt.strip():
        raise ValueError("the prompt is empty; ask for something")
    if not 1 <= n <= MOST:
        raise ValueError(f"n must lie between 1 and {MOST}, not {n}")
    if not isinstance(models, dict):
        models = load_writers(list(models))
    samples = {}
    for name, (model, tokenizer) in models.items():
        found = generate(model, tokenizer, [prompt] * n, temperature=temperature, seed=seed)
        samples[name] = found.texts
    return samples


def out_of_world_notice(prompt: str) -> str | None:
    """Return what to tell someone whose prompt the models cannot know, or None where they can."""
    if parse(prompt):
        return None
    examples = {task.family: task.prompt for task in tasks("heldout")}
    notice = (
        "This prompt lies outside the small world that these models know, so expect nonsense, and "
        "no fault of yours. They have learned prompts such as:"
    )
    return "\n  ".join([notice, *examples.values()])
