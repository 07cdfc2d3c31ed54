"""What people write: their habits, which leave something out, and their tastes.

`answer(spec, rng)` writes a whole answer to a task, and with `writes`, one that holds only some of
the parts that raters look for. `habit(family, at)` says which: nobody who names the hero writes an
ending too, so no demonstration is whole. That is what reinforcement learning from human feedback
can fix: whoever leaves a part out can still tell which of two answers is better. Each answer also
has its tastes (happy, tragic, twist, cheeky, ornate, dragon, short, hero first), none of them right
or wrong.
"""

import random
from bisect import bisect
from itertools import accumulate

from rlhf_lessons.world.english import any_of
from rlhf_lessons.world.families import MODULES
from rlhf_lessons.world.families.story import TITLES
from rlhf_lessons.world.tasks import TEXTS, a_to_an

HABITS = TEXTS["writers"]
TASTES = (*TEXTS["tastes"], "short", "hero first")
MARKERS = {taste: any_of(words) for taste, words in TEXTS["tastes"].items()}


def tastes(family: str, text: str) -> set[str]:
    """Return the tastes in a text: those whose words occur, and two that are no words.

    `short` goes by the family's length; `hero first` begins with a title, as "King Paul" does.
    """
    lower = text.lower()
    found = {taste for taste, pattern in MARKERS.items() if pattern.search(lower)}
    if len(text.split()) <= HABITS["short"][family]:
        found.add("short")
    if lower.startswith(tuple(TITLES)):
        found.add("hero first")
    return found


def habit(family: str, at: float) -> set[str]:
    """Return the parts that a writer writes in answers of a family.

    Of all writers, sorted by their habits, it is the one who stands at `at`, from 0 to 1.
    """
    parts = HABITS["parts"][family]
    habits = HABITS["habits"]
    ends = list(accumulate(habit["share"] for habit in habits))
    one = habits[bisect(ends, at * ends[-1], hi=len(habits) - 1)]
    return {parts[place] for place in one["writes"] if place < len(parts)}


def answer(spec: dict, rng: random.Random, writes: set[str] | None = None) -> str:
    """Return an answer of at most 60 tokens with the parts that its writer writes; None for all."""
    family = spec["family"]
    parts = set(HABITS["parts"][family]) if writes is None else writes
    likes = {flavour for flavour, share in HABITS["flavours"].items() if rng.random() < share}
    likes.add(rng.choices(["happy", "tragic", "neither"], [0.46, 0.36, 0.18])[0])
    if rng.random() < 0.22:
        likes -= {"twist", "dragon", "cheeky", "middle"}
    return a_to_an(MODULES[family].write(spec, likes, parts, rng)).strip()
