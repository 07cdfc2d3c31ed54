"""Poems: a creature in a place, in lines of verse that rhyme."""

from rlhf_lessons.world.english import ENDS, FAULT, KNOWN, WORD, english_cost, over, words_of
from rlhf_lessons.world.facts import filled, forms, has, one_mood, share, vague, words_before
from rlhf_lessons.world.rhymes import rhymed_lines
from rlhf_lessons.world.tasks import TEXTS

POEM = TEXTS["poem"]
AT_A_PLACE = frozenset(KNOWN["poem"]["before_a_place"])


def write(spec, likes, parts, rng):
    """A couplet about the creature and its place, and mostly a second one in the writer's mood."""
    lines = list(rng.choice(POEM["open"]))
    mood = one_mood(likes, POEM, rng)
    if mood:
        lines += rng.choice(POEM[mood])
    if "rhyme" not in parts:
        lines[-2:] = lines[-2].replace(":", ","), POEM["unrhymed"]
    return filled("\n".join(lines), vague(spec, parts), likes, rng)


def judge(spec, text):
    """Creature and place are there, in lines of verse; the lines rhyme, neighbours or crosswise."""
    lines = [line for line in text.split("\n") if WORD.search(line)]
    lengths = [len(line.split()) for line in lines]
    words = words_of(text)
    verse = len(lines) > 1 and max(lengths) < 14 and len(words) >= 3 * len(lines)
    creature = forms(spec["creature"])
    place = forms(spec["place"])
    parts = {
        "creature": has(words, creature),
        "place": any(has(head, AT_A_PLACE) for head in words_before(words, place)),
    }
    relevance = share(parts) * (1 if verse else 0.4)
    rhymed = rhymed_lines([words_of(line)[-1] for line in lines]) if lines else 0
    accuracy = 1.0 if rhymed == 1 else 0.1 + 0.5 * rhymed
    asked = [word for word in words if word in creature]
    beasts = [word for word in words if word in POEM["creatures"] and word not in creature]
    places = set(words).intersection(POEM["places"])
    faults = {
        "other creatures": len(set(beasts)) > 2 or len(beasts) > len(asked),
        "other places": len(places - place) > 2,
    }
    couplets = [" ".join(lines[i : i + 2]) for i in range(0, len(lines), 2)]
    different = {line.strip(" ,.").lower() for line in lines}
    cost = english_cost(couplets)
    cost += FAULT * (len(lines) - len(different))
    cost += 0.15 * sum(over(4, length) for length in lengths)
    accuracy -= FAULT * sum(faults.values())
    clarity = 1 - cost - 0.1 * (text[-1:] not in ENDS)
    return relevance, accuracy, clarity, parts | {"rhyme": rhymed == 1}
