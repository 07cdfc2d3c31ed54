"""Stories: a hero meets a thing in a plot, and it ends."""

from itertools import pairwise

from rlhf_lessons.world.english import ENDS, FAULT, KNOWN, SPLIT, any_of, prose_cost, words_of
from rlhf_lessons.world.facts import NAME_SET, filled, forms, has, lowered, others, share, shows
from rlhf_lessons.world.tasks import TEXTS, texts_of

ORDER = ("open", "middle", "dragon", "twist", "ending", "cheeky")
NEEDED = {"open", "ending"}
TITLES = lowered(TEXTS["names"]["she_titles"] + TEXTS["names"]["he_titles"])
ENDING = any_of(KNOWN["ending"]["words"])


def write(spec, likes, fault, rng):
    """Opening, middle, dragon, twist, ending, wink; too long ones lose their middle."""
    ending = next((mood for mood in ("happy", "tragic") if mood in likes), "twist")
    texts = texts_of(spec) | TEXTS["flourish"]
    texts["ending"] = texts[ending]
    parts = [part for part in ORDER if part in likes | NEEDED]
    while len(parts) > 4:
        parts.remove(rng.choice([part for part in parts if part not in NEEDED]))
    lines = {part: rng.choice(texts[part]) for part in parts}
    if ending == "twist":
        lines.pop("twist", None)
    if fault == "twice":
        lines["ending"] = lines["open"]
    template = " ".join(lines.values())
    text = filled(template, spec, likes, rng)
    if fault == "cut":
        end = rng.randint(len(text) // 3, len(text) * 3 // 4)
        text = text[:end].rsplit(" ", 1)[0]
    return text


def judge(spec, text):
    """Hero, thing and plot are there; no other hero, title or thing takes over; it ends."""
    words = words_of(text)
    hero = spec["Name"].lower()
    sentences = [sentence for sentence in SPLIT.split(text) if sentence]
    plot = shows(spec["plot"], text.lower())
    parts = {
        "hero": hero in words,
        "thing": has(words, forms(spec["thing"])),
        "plot": plot is True,
    }
    things = words
    if spec["plot"] == "learn":  # verbs: "blame the cook" is no cooking
        things = [b for a, b in pairwise(words) if a in ("to", "could", "can", "did", "learning")]
    before = list(pairwise(["", *words]))
    before_hero = {a for a, name in before if name == hero}
    before_others = {a for a, name in before if name in NAME_SET and name != hero}
    last = [s for s in dict.fromkeys(sentences[-3:]) if s != sentences[0]][-2:]
    ends = text[-1:] in ENDS and any(ENDING.search(s.lower()) for s in last)
    faults = {
        "another title": has(before_hero, TITLES - {spec["title"].lower()}),
        "another hero": bool(before_others - {"named", "called"}),
        "another plot": plot is False,
        "another thing": others(spec, things),
        "no ending": not ends,
    }
    cost = prose_cost(text, sentences, 12)
    return share(parts), 1 - FAULT * sum(faults.values()), 1 - cost
