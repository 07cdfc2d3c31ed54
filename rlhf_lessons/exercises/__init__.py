"""Exercises with checks that name the likely mistake, and bugs to break a stage with on purpose."""

import tomllib
from functools import cache
from pathlib import Path

HINTS = Path(__file__).parent / "hints"


@cache
def hints(lesson: str) -> dict:
    """Return what `hints/LESSON.toml` says, or {} where there is no such file:
    {exercise: {mistake: {"hint": ..., "instead_of": ..., "wrote": ...}}}, and {"core": exercises of
    the core}."""
    file = HINTS / f"{lesson}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def catalogue() -> dict[str, dict[str, bool]]:
    """Return the exercises of each lesson in their order, and whether they belong to the core:
    {"lesson0": {"who_wrote": True, ...}, ...}."""
    found = {}
    for file in sorted(HINTS.glob("lesson*.toml")):
        said = hints(file.stem)
        found[file.stem] = {name: name in said["core"] for name in said if name != "core"}
    return found
