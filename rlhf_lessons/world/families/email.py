"""E-mails: a greeting, a purpose with its thing and perhaps a day, and a sign-off."""

import re

from rlhf_lessons.world.english import FAULT, KNOWN, NO_END, SPLIT, prose_cost, words_of
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

DAYS = lowered(TEXTS["names"]["days"])
POSTSCRIPT = re.compile(r"\s*\bP\.? ?S\.?[:,]?\s")
GREETING = re.compile(
    r"(?:(?:my )?dear(?:est)?|hi|hello|hey|greetings|good \w+)\b([^,\n:!.]{0,40})[,\n:!.]"
    r"|([a-z]+)[,:!]\s",
    re.I,
)
SIGN_OFFS = sorted(KNOWN["email"]["signoffs"], key=len, reverse=True)
SIGN_OFF = re.compile(
    rf"(?:^|\n|(?<=[.!?])\s)[ \t]*(?:(?i:{'|'.join(SIGN_OFFS)}"
    r")[ \t]*[,.!–—-]*\s*(?:(?i:from),?\s)?(?:[A-Z]\w+ )?|[–—-]+\s*|(?<=\n))([A-Z]\w+)[.!]?\s*$"
)


def write(spec, likes, parts, rng):
    """Greeting, by name or not, purpose, one or two more sentences, sign-off, and a postscript."""
    texts = texts_of(spec)
    flavour = TEXTS["email"]["flavour"]
    lines = [rng.choice(texts["body"])]
    if "middle" in likes:
        lines.append(rng.choice(texts["more"]))
    for mood in ("happy", "tragic"):
        if mood in likes and rng.random() < 0.8:
            lines.append(rng.choice(flavour[mood]))
    for flourish in ("dragon", "cheeky"):
        if flourish in likes:
            lines.append(rng.choice(TEXTS["flourish"][flourish]))
    greeting = "Dear {Name}," if "name" in parts else "Hello!"
    text = greeting + "\n" + " ".join(lines[:4])
    if "signoff" in parts:
        text += f"\n{rng.choice(flavour['signoff'])}, {rng.choice(TEXTS['names']['senders'])}"
    if "twist" in likes and "signoff" in parts:
        text += "\n" + rng.choice(flavour["twist"])
    return filled(text, vague(spec, parts), likes, rng)


def judge(spec, text):
    """Name, purpose, thing and day are there, and no others; it greets and signs off."""
    main, *postscript = POSTSCRIPT.split(text, maxsplit=1)
    greeting = GREETING.match(main)
    signed = SIGN_OFF.search(main)
    if signed and signed[1].lower() in SIGN_OFFS:
        signed = None
    sender = signed and signed[1].lower()
    addressed = words_of(greeting[1] or greeting[2] or "") if greeting else []
    start = greeting and greeting.end()
    end = signed and signed.start()
    body = main[start:end].strip()
    words = words_of(body)
    name = spec["Name"].lower()
    purpose = shows(spec["kind"], body.lower())
    parts = {
        "Name": name in addressed,
        "thing": has(words, forms(spec["thing"])),
        "kind": purpose is True,
    }
    faults = {
        "no greeting": not greeting,
        "another name": has(addressed, NAME_SET - {name}),
        "another purpose": purpose is False,
        "another thing": others(spec, words),
        "signed by the addressee": sender == name,
    }
    if "day" in spec:
        day = spec["day"].lower()
        parts["day"] = day in words
        faults["another day"] = has(words, DAYS - {day})
    relevance = share(parts) * (1 if greeting or signed else 0.5)
    texts = [part for part in (body, *postscript) if part]
    cost = sum(prose_cost(part, SPLIT.split(part), 4) for part in texts) if texts else 1.0
    if postscript and ("\n" in postscript[0] or postscript[0].count(" ") > 15):
        cost += FAULT  # something else begins after the postscript
    missing = 0 if signed else NO_END
    parts |= {"greeting": greeting is not None, "sign-off": signed is not None}
    return relevance, 1 - missing - FAULT * sum(faults.values()), 1 - cost, parts
