"""What a good answer is: the demonstrations' writers, their tastes, and the faults of hurried ones.

`answer(spec, rng)` writes an ideal answer to a task. With `hurried=0.3`, three answers in ten come
from a writer in a hurry, who makes one fault that a reader can see: another hero, one sum of two,
no ending, no rhyme. People's demonstrations are like that, and it is what reinforcement learning
from human feedback can fix: whoever writes badly can still tell which of two answers is better.
Each answer also has its tastes (happy, tragic, twist, cheeky, ornate, dragon, short), none of them
right or wrong.
"""

import random

from rlhf_lessons.world.english import any_of
from rlhf_lessons.world.families import MODULES
from rlhf_lessons.world.tasks import TEXTS, a_to_an, mistaken

HABITS = TEXTS["writers"]
TASTES = (*TEXTS["tastes"], "short")
MARKERS = {taste: any_of(words) for taste, words in TEXTS["tastes"].items()}


def tastes(family: str, text: str) -> set[str]:
    """Return the tastes in a text: those whose words occur, and `short` by the family's length."""
    lower = text.lower()
    found = {taste for taste, pattern in MARKERS.items() if pattern.search(lower)}
    if len(text.split()) <= HABITS["short"][family]:
        found.add("short")
    return found


def answer(spec: dict, rng: random.Random, hurried: float = 0.0) -> str:
    """Return an answer of at most 60 tokens, which has a fault with probability `hurried`.

    A fault named as a fact gets that fact wrong; of the others each family knows its own.
    """
    family = spec["family"]
    fault = ""
    if rng.random() < hurried:
        faults = HABITS["faults"][family]
        fault = rng.choice([fault for fault in faults if fault != "day" or "day" in spec])
    likes = {flavour for flavour, share in HABITS["flavours"].items() if rng.random() < share}
    likes.add(rng.choices(["happy", "tragic", "neither"], [0.46, 0.36, 0.18])[0])
    if rng.random() < 0.22:
        likes -= {"twist", "dragon", "cheeky", "middle"}
    if fault in spec:
        spec = mistaken(spec, fault, rng)
    return a_to_an(MODULES[family].write(spec, likes, fault, rng)).strip()
