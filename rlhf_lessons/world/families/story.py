"""Stories: a hero meets a thing in a plot, and it ends."""

from itertools import pairwise

from rlhf_lessons.world.english import (
    ENDS,
    FAULT,
    KNOWN,
    NO_END,
    SPLIT,
    any_of,
    prose_cost,
    words_of,
)
from rlhf_lessons.world.facts import (
    NAME_SET,
    filled,
    forms,
    has,
    lowered,
    others,
    share,
    shows,
    vague,
)
from rlhf_lessons.world.tasks import TEXTS, texts_of

ORDER = ("open", "middle", "dragon", "twist", "ending", "cheeky")
NEEDED = {"open", "ending"}
ENDS_IT = {"twist", "ending", "cheeky"}
TITLES = lowered(TEXTS["names"]["she_titles"] + TEXTS["names"]["he_titles"])
ENDING = any_of(KNOWN["ending"]["words"])


def write(spec, likes, parts, rng):
    """Opening, middle, dragon, twist, ending, wink; too long ones lose their middle.

    The hero goes by name or by title, the thing by its name or a vague word.
    """
    ending = next((mood for mood in ("happy", "tragic") if mood in likes), "twist")
    texts = texts_of(spec) | TEXTS["flourish"]
    texts["ending"] = texts[ending]
    order = [part for part in ORDER if part in likes | NEEDED]
    while len(order) > 4:
        order.remove(rng.choice([part for part in order if part not in NEEDED]))
    lines = {part: rng.choice(texts[part]) for part in order}
    if ending == "twist":
        lines.pop("twist", None)
    if "ending" not in parts:
        lines = {part: line for part, line in lines.items() if part not in ENDS_IT}
    template = " ".join(lines.values())
    if "hero" not in parts:
        title = TEXTS["writers"]["called"].get(spec["title"], spec["title"].lower())
        template = template.replace("{Hero}", f"the {title}")
    text = filled(template, vague(spec, parts), likes, rng)
    return text[0].upper() + text[1:]


def judge(spec, text):
    """Hero, thing and plot are there; no other hero, title or thing takes over; it ends."""
    words = words_of(text)
    hero = spec["Name"].lower()
    sentences = [sentence for sentence in SPLIT.split(text) if sentence]
    plot = shows(spec["plot"], text.lower())
    last = [s for s in dict.fromkeys(sentences[-3:]) if s != sentences[0]][-2:]
    ends = text[-1:] in ENDS and any(ENDING.search(s.lower()) for s in last)
    parts = {
        "Name": hero in words,
        "thing": has(words, forms(spec["thing"])),
        "plot": plot is True,
    }
    things = words
    if spec["plot"] == "learn":  # verbs: "blame the cook" is no cooking
        things = [b for a, b in pairwise(words) if a in ("to", "could", "can", "did", "learning")]
    before = list(pairwise(["", *words]))
    before_hero = {a for a, name in before if name == hero}
    before_others = {a for a, name in before if name in NAME_SET and name != hero}
    faults = {
        "another title": has(before_hero, TITLES - {spec["title"].lower()}),
        "another hero": bool(before_others - {"named", "called"}),
        "another plot": plot is False,
        "another thing": others(spec, things),
    }
    missing = 0 if ends else NO_END
    cost = prose_cost(text, sentences, 12)
    accuracy = 1 - missing - FAULT * sum(faults.values())
    return share(parts), accuracy, 1 - cost, parts | {"ending": ends}
