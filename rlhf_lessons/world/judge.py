"""The true utility of a response, by the three criteria of the course's raters.

It is what Gao et al. (2023) call the gold reward: the measure that the reward model is to learn.
`judge` reads the facts in the prompt (`tasks.parse`) and looks for them in the response. It knows
synonyms, numbers in words and the shapes of English, not the templates: other words for a good
answer score as high.

- relevance: what was asked for is there; half of it is worth less than half.
- accuracy: what it says is right. Each fault that a reader would point at costs `FAULT`.
- clarity: it reads well: sentences, nothing twice, no heap of words, a sensible length, an end.
- utility: relevance x (accuracy + clarity) / 2, so that a fluent answer to something else is worth
  nothing.
- fulfils: 1.0 where a person would call it done, else 0.0.

It does not understand: it cannot see that a story makes no sense or that a poem is dull.
`families/` judges what each family of prompts asks for, `english.py` how a text reads,
`rhymes.py` what rhymes; `judge.toml` has their words.
"""

import re
from collections import namedtuple

from rlhf_lessons.world.english import CUT, FAULT, KNOWN, SPLIT, WORD, words_of
from rlhf_lessons.world.facts import words_before
from rlhf_lessons.world.families import MODULES
from rlhf_lessons.world.tasks import parse

Scores = namedtuple("Scores", "relevance accuracy clarity utility fulfils")
WORTHLESS = Scores(0.0, 0.0, 0.0, 0.0, 0.0)
LONGEST = 90  # words: more than these cost clarity
REQUEST = re.compile(
    r"(?:^|(?<=[.!?]\s))(?:please )?(?:write (?:an?|python)\b|what is \d)[^.?!\n]*[.?!]?",
    re.I | re.M,
)
FOREIGN = re.compile(
    r"^(?:Dear [A-Z][a-z]+,|To:|Subject:|Title:|for \w+ in .*:$|import \w|def \w)"
    r"|print\(|\bDear [A-Z][a-z]+,\n|\d[+-]\d (?:is|=)",
    re.M,
)
HEADERS = re.compile(r"^(?:(?:to|from|subject|date):.*\n+)+", re.I)
ARTICLES = frozenset(KNOWN["english"]["articles"])
GLUED = re.compile(r"[a-z][,.!?;:][A-Za-z]|\d[a-z]|[a-z]\d|\d[.,]\d")


def judge(prompt: str, response: str, ended: bool = True) -> Scores:
    """Return the five scores of a response, each in [0, 1], for any text whatever; never raises.

    `ended` is False for a text that ran into the length limit: less clear, and not fulfilled.
    All scores are 0 for an empty response, and for a prompt outside the toy world.
    """
    spec = parse(prompt)
    text = response[:1500].replace("’", "'").replace("−", "-").strip()
    if not spec or not text:
        return WORTHLESS
    cost = 0.0 if ended else CUT
    odd = sum(not sign.isprintable() or sign == "\ufffd" for sign in text.replace("\n", ""))
    cost += min(odd, 1) * 0.4 + 0.05 * odd
    length = len(WORD.findall(text)) if len(text) > 3 * LONGEST else 0
    if length > LONGEST:
        cost += 0.15 + 0.01 * (length - LONGEST)
    if spec["family"] != "code":
        if "  " in text:
            text = re.sub(r"[ \t]{2,}", " ", text)
        if spec["family"] == "email":
            text = HEADERS.sub("", text)
        text, requests = REQUEST.subn("", text)
        faults = requests + foreign(text, spec["family"])
        cost += FAULT * faults
        cost += CUT * text.isupper()
        cost += 0.15 * len(GLUED.findall(text)) + CUT * bare_noun(spec, text)
        for sentence in SPLIT.split(text):
            if sentence.count(" ") > 3 and sentence.strip(" .?") in prompt:  # an echo is no answer
                text = text.replace(sentence, "", 1)
    family = MODULES[spec["family"]]
    relevance, accuracy, clarity, _ = family.judge(spec, text.strip())
    scores = relevance, accuracy, clarity - cost
    relevance, accuracy, clarity = [min(1.0, max(0.0, score)) for score in scores]
    done = ended and relevance > 0.99 and accuracy > 0.99 and clarity >= 0.75
    utility = relevance * (accuracy + clarity) / 2
    return Scores(relevance, accuracy, clarity, utility, float(done))


def checklist(prompt: str, response: str) -> dict[str, bool]:
    """Return what a reader of the response looks for, in words, and whether it is there; nothing
    for a prompt outside the toy world."""
    spec = parse(prompt)
    if not spec:
        return {}
    text = REQUEST.sub("", response).strip()
    *_, parts = MODULES[spec["family"]].judge(spec, text or "?")
    return {spec.get(part, part): there for part, there in parts.items()}


def foreign(text: str, family: str) -> bool:
    """Return whether a text of one family continues as another: a story as a letter, say."""
    match = FOREIGN.search(text, 6 if family == "email" else 0)  # past an e-mail's own greeting
    return family != "maths" and match is not None or "print(" in text


def bare_noun(spec: dict, text: str) -> bool:
    """Return whether the asked thing is named, but never with an article, as in a heap of words."""
    noun = spec.get("creature", spec.get("thing"))
    if not noun or spec.get("plot") == "learn" or f"'s {noun}" in text:
        return False
    heads = words_before(words_of(text), frozenset([noun]))
    return bool(heads) and all(map(ARTICLES.isdisjoint, heads))
