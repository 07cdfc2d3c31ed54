"""What writers and judges of all families share: facts put into templates, and found in texts."""

import random
import re
from functools import lru_cache
from itertools import pairwise

from rlhf_lessons.world.english import KNOWN, any_of
from rlhf_lessons.world.tasks import NAMES, TEXTS, she_or_he, texts_of

KINDS = KNOWN["plots"] | KNOWN["purposes"]
PURPOSES = {kind: any_of(phrases) for kind, phrases in KINDS.items()}
NEGATION = re.compile(r"(?:\b(?:not|never|no|cannot|without)|n't)\s(?:\w+\s)?$")


def lowered(words: list[str]) -> frozenset[str]:
    """Return a set of the words in lower case."""
    return frozenset(word.lower() for word in words)


NAME_SET = lowered(NAMES)


def vague(spec: dict, parts: set) -> dict:
    """Return `spec` with a vague word for each fact that is not among the parts written."""
    words = TEXTS["writers"]["vague"]
    words = words | {"thing": texts_of(spec).get("vague", words["thing"])}
    return spec | {fact: words[fact] for fact in words if fact in spec and fact not in parts}


def filled(template: str, spec: dict, likes: set, rng: random.Random) -> str:
    """Return a template with the facts, the hero's pronouns, and an ornament or nothing."""
    ornament = " " + rng.choice(TEXTS["tastes"]["ornate"]) if "ornate" in likes else ""
    hero = f"{spec.get('title', '')} {spec.get('Name', '')}".strip()
    pronouns = TEXTS["pronouns"][she_or_he(spec)]
    return template.format(**spec, **pronouns, Hero=hero, o=ornament)


def one_mood(likes: set, texts: dict, rng: random.Random) -> str | None:
    """Return one of the moods that the writer likes and that `texts` has words for, or None."""
    weights = TEXTS["writers"]["moods"]
    moods = [mood for mood in weights if mood in likes and mood in texts]
    if moods and rng.random() < 0.85:
        return rng.choices(moods, [weights[mood] for mood in moods])[0]
    return None


@lru_cache(maxsize=4096)
def forms(word: str) -> frozenset[str]:
    """Return the words that stand for `word`: itself, its plural, its synonyms."""
    return frozenset({word, word + "s", word + "es", *KNOWN["same"].get(word, [])})


def has(words: list[str], wanted: frozenset[str]) -> bool:
    """Return whether one of the wanted words is there."""
    return not wanted.isdisjoint(words)


def words_before(words: list[str], wanted: frozenset[str]) -> list[list[str]]:
    """Return the three words that stand before each of the wanted ones."""
    return [words[max(0, i - 3) : i] for i, word in enumerate(words) if word in wanted]


def share(parts: dict[str, bool]) -> float:
    """Return the relevance of an answer in which these parts are there or not."""
    there = sum(parts.values()) / len(parts)
    return there**2 if len(parts) > 2 else there**1.15


def shows(kind: str, text: str) -> bool | None:
    """Return True where a lower-case text shows this plot or purpose, False where it denies it."""
    denials = []
    for match in PURPOSES[kind].finditer(text):
        negated = NEGATION.search(text[: match.start()][-25:])
        enough = " enough" in text[match.end() :][:30]  # cannot thank you enough
        denials.append(negated and not enough)
    return not all(denials) if denials else None


def others(spec: dict, words: list[str]) -> bool:
    """Return whether the text turns what was asked into another of its kind, or names a heap."""
    same = forms(spec["thing"])
    asked = sum(word in same for word in words)
    extra = []
    for thing in texts_of(spec)["things"]:
        if thing != spec["thing"] and has(words, forms(thing) - same):
            takes_over = ("the", thing) in pairwise(words) or words.count(thing) >= asked
            extra.append(takes_over)
    return len(extra) > 1 or any(extra)
