"""How well a text reads from outside: sentences, repetitions, heaps of words, odd words and signs.

Costs are what a fault takes off the judge's clarity. Nothing here knows prompts or templates.
"""

import re
import tomllib
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

KNOWN = tomllib.loads(Path(__file__).with_name("judge.toml").read_text(encoding="utf-8"))
FAULT = 0.45  # what a fault of accuracy costs, or a repetition
NO_END = 0.9  # what it costs in accuracy that a story has no ending, or an e-mail no sign-off
CUT = 0.3  # what a text costs that breaks off
KINDS = {kind: frozenset(words) for kind, words in KNOWN["english"].items()}
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")
SPLIT = re.compile(r"(?<=[.!?…])[\"”')]*\s+(?=[\"“'(]?[A-Z\d])|\n+")
LOWER_START = re.compile(r"[^.][.!?]\s+[a-z]")
ENDS = tuple(".!?…\"”')")
ODD = re.compile(r"(.)\1\1|[^\Waeiouy\d_']{6}|.{17}")
VOWEL = re.compile(r"[^\x00-\x7f]|[aeiouy\d]")


def over(count: int, limit: int) -> int:
    """Return by how many a count lies over a limit."""
    return max(0, count - limit)


def any_of(phrases: list[str]) -> re.Pattern:
    """Return a pattern for any of the phrases, a star standing for any ending."""
    choices = "|".join(re.escape(phrase).replace(r"\*", r"\w*") for phrase in phrases)
    return re.compile(rf"\b(?:{choices})\b")


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, without a possessive `'s`."""
    words = WORD.findall(text.lower())
    if "'s" not in text:
        return words
    return [w if w in ("it's", "that's", "who's") else w.removesuffix("'s") for w in words]


@lru_cache(maxsize=16384)
def odd_word(word: str) -> bool:
    """Return whether a word looks like no English one: no vowel, too long, a letter three times."""
    without_vowel = len(word) > 1 and not VOWEL.search(word) and word not in KINDS["no_vowels"]
    return without_vowel or bool(ODD.search(word))


def english_cost(sentences: list[str]) -> float:
    """Return what odd words, heaps of words and repetitions cost a text in clarity."""
    heap = 0  # words in sentences that are mere heaps of words
    total = 0
    fragments = 0
    cost = 0.0
    seen = set()
    grams = set()
    for words in map(words_of, sentences):
        n = len(words)
        total += n
        fragments += n < 3
        if tuple(words) in seen:
            cost += FAULT * (n > 1)
            continue
        seen.add(tuple(words))
        if n > 3:
            glue = sum(word in KINDS["function"] for word in words) / n
            if not 0.12 < glue < 0.9:
                heap += n
            elif n > 5 and not has_verb(words):
                heap += n / 2
        odd = sum(map(odd_word, words))
        joined = n > 0 and words[-1] in KINDS["joiners"]
        cost += 0.2 * joined + 0.15 * odd + 0.5 * (odd > n / 2)
        clashes = 0
        for a, b in pairwise(words):
            doubled = a == b and a not in KINDS["doubles"]
            clashes += doubled or a in KINDS["determiners"] and b in KINDS["after"]
        repeated = 0
        for i in range(n - 3):
            four = tuple(words[i : i + 4])
            repeated += four in grams
            grams.add(four)
        cost += 0.2 * clashes
        cost += 0.12 * repeated
    return cost + 0.7 * heap / max(total, 1) + 0.15 * over(fragments, 2)


def has_verb(words: list[str]) -> bool:
    """Return whether some word is a verb in a form that can carry a sentence."""
    return not KINDS["verbs"].isdisjoint(words) or any(word.endswith("ed") for word in words)


def prose_cost(text: str, sentences: list[str], shortest: int) -> float:
    """Return what faults of prose cost in clarity.

    They are those of English, sentences without a beginning or an end, and too few words.
    """
    cost = english_cost(sentences) + CUT * (text[-1:] not in ENDS)
    first, *others = text.split("\n")[:-1] or [""]
    endless = sum(line[-1:] not in ENDS for line in others if line)
    cost += 0.15 * (endless + (". " in first and first[-1:] not in ENDS))
    begins_low = not text[:1].isupper() and text[:1] not in "\"“'("
    cost += 0.2 * begins_low + 0.15 * len(LOWER_START.findall(text))
    return cost + 0.06 * over(shortest, len(text.split()))
