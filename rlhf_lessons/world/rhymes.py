"""Which words rhyme: by a list of sounds where spelling misleads, by the letters elsewhere."""

import re
from collections import Counter, defaultdict
from functools import lru_cache

from rlhf_lessons.world.english import KNOWN

# A weak last syllable with the one before it; else the last vowel, less a silent e.
ENDINGS = (
    r"[aeiouy]+[^aeiouy]+(?:en|er|le|el|ing|y|ly|on|or|et|ow|ish|al|ions?|ers|ed)$",
    r"[aeiouy]+[^aeiouy]+e$|[aeiouy]+[^aeiouy]*$",
)


def rhymed_lines(ends: list[str]) -> float:
    """Return the share of lines, given by their last words, that rhyme: 1.0 also for A B C B."""
    match ends:
        case a, b, c, d if rhymes(b, d) and not rhymes(a, b) and not rhymes(c, d):
            return 1.0
    rhymed = 0
    for i, end in enumerate(ends):
        near = ends[max(0, i - 3) : i + 4]
        rhymed += any(rhymes(end, other) for other in near)
    return rhymed / len(ends)


def rhymes(a: str, b: str) -> bool:
    """Return whether two different words sound the same from their last stressed vowel on."""
    return a != b and not sounds(a).isdisjoint(sounds(b))


@lru_cache(maxsize=16384)
def sounds(word: str) -> set[str]:
    """Return the sounds in which a word may end: those listed, or what its spelling stands for."""
    ending = spelling(word)
    return LISTED.get(word) or SPELLED.get(ending, set()) | {ending}


def spelling(word: str) -> str:
    """Return the letters of a word from its last stressed vowel on, as well as spelling tells."""
    word = word.lstrip("y").replace("qu", "q")  # no vowels
    if re.search(r"[aeiouy].*[^td]ed$", word):
        word = word[:-2] + "d"  # smiled: no vowel is spoken in -ed
    found = [ending[0] for pattern in ENDINGS if (ending := re.search(pattern, word))]
    return found[0] if found else word


LISTED = defaultdict(set)  # the sounds of each listed word
SPELLED = defaultdict(set)  # the sounds of an ending that two listed words of a sound share
for sound, words in KNOWN["sounds"].items():
    for word in words:
        LISTED[word].add(sound)
    for ending, times in Counter(map(spelling, words)).items():
        if times > 1:
            SPELLED[ending].add(sound)
