"""Which words rhyme: by a list of sounds where spelling misleads, by the letters elsewhere."""

import re
from collections import Counter, defaultdict
from functools import lru_cache

from rlhf_lessons.world.english import KNOWN


def rhymed_lines(ends: list[str]) -> float:
    """Return the share of lines, given by their last words, that rhyme: 1.0 also for A B C B."""
    n = len(ends)
    if n == 4 and rhymes(ends[1], ends[3]):
        if not rhymes(ends[0], ends[1]) and not rhymes(ends[2], ends[3]):
            return 1.0
    rhymed = 0
    for i, end in enumerate(ends):
        near = ends[max(0, i - 3) : i + 4]
        rhymed += any(rhymes(end, other) for other in near)
    return rhymed / n


def rhymes(a: str, b: str) -> bool:
    """Return whether two different words sound the same from their last stressed vowel on."""
    return a != b and not sounds(a).isdisjoint(sounds(b))


@lru_cache(maxsize=16384)
def sounds(word: str) -> set[str]:
    """Return the sounds in which a word may end: those listed, or what its spelling stands for."""
    if word in LISTED:
        return LISTED[word]
    ending = spelling(word)
    return SPELLED.get(ending, set()) | {ending}


def spelling(word: str) -> str:
    """Return the letters of a word from its last stressed vowel on, as well as spelling tells."""
    word = word.lstrip("y").replace("qu", "q")  # no vowels
    if re.search(r"[aeiouy].*[^td]ed$", word):
        word = word[:-2] + "d"  # smiled: no vowel is spoken in -ed
    weak = re.search(
        r"[aeiouy]+[^aeiouy]+(?:en|er|le|el|ing|y|ly|on|or|et|ow|ish|al|ions?|ers|ed)$", word
    )
    found = weak or re.search(r"[aeiouy]+[^aeiouy]+e$|[aeiouy]+[^aeiouy]*$", word)
    return found[0] if found else word


def spelled_sounds() -> dict[str, set[str]]:
    """Return which listed sounds a spelling stands for: those with two words or more spelled so."""
    found = defaultdict(set)
    for sound, words in KNOWN["sounds"].items():
        endings = Counter(map(spelling, words))
        for ending in endings:
            if endings[ending] > 1:
                found[ending].add(sound)
    return found


def listed_sounds() -> dict[str, set[str]]:
    """Return the sounds that are listed for each word."""
    found = defaultdict(set)
    for sound, words in KNOWN["sounds"].items():
        for word in words:
            found[word].add(sound)
    return found


LISTED = listed_sounds()
SPELLED = spelled_sounds()
