"""How well a text reads, judged by its outside: sentences, repetitions, heaps of words, odd words and signs.

Costs are what a fault takes off the judge's clarity. Nothing here knows the prompt or the templates.
"""

import re
import tomllib
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

KNOWN = tomllib.loads(Path(__file__).with_name("judge.toml").read_text(encoding="utf-8"))
SLIP, CUT = (
    0.45,
    0.3,
)  # what a slip costs: one fault of accuracy, or a repetition; and a text that breaks off
KINDS = ("function", "verbs", "joiners", "doubles", "determiners", "after")
FUNCTION, VERBS, JOINERS, DOUBLES, DETERMINERS, AFTER = (
    frozenset(KNOWN["english"][kind]) for kind in KINDS
)
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+")
SPLIT = re.compile(r"(?<=[.!?…])[\"”')]*\s+(?=[\"“'(]?[A-Z\d])|\n+")
LOWER_START = re.compile(r"[^.][.!?]\s+[a-z]")
ENDS = tuple(".!?…\"”')")
ODD = re.compile(r"(.)\1\1|[^\Waeiouy\d_']{6}|.{17}")
VOWEL = re.compile(r"[^\x00-\x7f]|[aeiouy\d]")
NO_VOWELS = ("hmm", "mr", "mrs", "dr", "brr", "shh")


def any_of(phrases: list[str]) -> re.Pattern:
    """Return a pattern for any of the phrases, a star standing for any ending."""
    return re.compile(
        r"\b(?:" + "|".join(re.escape(p).replace(r"\*", r"\w*") for p in phrases) + r")\b"
    )


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, without a possessive `'s`."""
    words = WORD.findall(text.lower())
    if "'s" not in text:
        return words
    return [
        w[:-2] if w.endswith("'s") and w[:-2] not in ("it", "that", "who") else w for w in words
    ]


@lru_cache(maxsize=16384)
def odd_word(word: str) -> bool:
    """Return whether a word looks like no English one: no vowel, too long, a letter three times."""
    return bool(
        ODD.search(word) or len(word) > 1 and not VOWEL.search(word) and word not in NO_VOWELS
    )


def english_cost(sentences: list[str]) -> float:
    """Return what odd words, heaps of words and repetitions cost a text in clarity."""
    heap, total, cost, seen, grams, fragments = 0, 0, 0.0, set(), set(), 0
    for words in map(words_of, sentences):
        n, whole = len(words), tuple(words)
        total += n
        fragments += n < 3
        if whole in seen:
            cost += SLIP * (n > 1)
            continue
        seen.add(whole)
        if n > 3:
            glue = sum(map(FUNCTION.__contains__, words)) / n
            heap += n if not 0.12 < glue < 0.9 else n / 2 * (n > 5 and not has_verb(words))
        odd = sum(map(odd_word, words))
        cost += 0.2 * (n > 0 and words[-1] in JOINERS) + 0.15 * odd + 0.5 * (odd > n / 2)
        cost += 0.2 * sum(
            a == b and a not in DOUBLES or a in DETERMINERS and b in AFTER
            for a, b in pairwise(words)
        )
        fours = list(zip(words, words[1:], words[2:], words[3:], strict=False))
        cost += 0.12 * (sum(map(grams.__contains__, fours)) + len(fours) - len(set(fours)))
        grams.update(fours)
    return cost + 0.7 * heap / max(total, 1) + 0.15 * max(0, fragments - 2)


def has_verb(words: list[str]) -> bool:
    """Return whether some word is a verb in a form that can carry a sentence."""
    return not VERBS.isdisjoint(words) or any(word.endswith("ed") for word in words)


def prose_cost(text: str, sentences: list[str], shortest: int) -> float:
    """Return what faults of prose cost in clarity: those of English, of sentences without a beginning or end,
    and of a text with fewer words than `shortest`."""
    cost = english_cost(sentences) + CUT * (text[-1:] not in ENDS)
    lines = text.split("\n")[:-1]
    cost += 0.15 * sum(
        line[-1:] not in ENDS and (i > 0 or ". " in line) for i, line in enumerate(lines) if line
    )
    cost += 0.2 * (not text[:1].isupper() and text[:1] not in "\"“'(") + 0.15 * len(
        LOWER_START.findall(text)
    )
    return cost + 0.06 * max(0, shortest - len(text.split()))
