"""What a rater can say, and what is refused: the payload of each kind of event, checked field by field.

Places (`left`, `right`, the first rank) are those on the rater's screen; the event keeps beside them which
completions were shown there.

    pair           {"choice": "left" | "right" | "tie" | "bad", "strength": 1 (better) or 2 (much better)}
    ranking        {"ranks": [1, 3, 2, 2]}                 1 is best, equal ranks are ties
    scores         {"scores": [{"relevance": 6, "accuracy": 4, "clarity": 7}, ...]}     1 to 7
    demonstration  {"text": "the ideal answer"}
    label          {"labels": [true]}                      thumbs up or down, as in TRL's unpaired format
    hands          {"left": 17, "right": 9, "tie": 2, "bad": 0}    a show of hands on a pair, counted by the teacher
    skip, flag     {"reason": "I know too little about it"}
"""
import difflib
import re
import uuid

CRITERIA = {
    "relevance": "Does it do what was asked?",
    "accuracy": "Is what it says right?",
    "clarity": "Does it read well?",
}
JUDGEMENTS = ("pair", "ranking", "scores", "demonstration", "label")
CHOICES = ("left", "right", "tie", "bad")
PASSES = ("skip", "flag")
LONGEST = {"name": 40, "reason": 500, "text": 5000}  # characters
LONG = 50  # words: from here on, texts that differ in fewer than one word in twenty are too alike to compare
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Refused(ValueError):
    """A request that the store does not accept. The message says why; nothing was written."""


def new_id() -> str:
    """Return an id for an event, made once by whoever sends it, so that sending it twice counts once."""
    return uuid.uuid4().hex


def checked_id(event_id: object) -> str:
    """Return the id of an event, a rater or a task; Refused where it is none."""
    if not isinstance(event_id, str) or not IDENTIFIER.fullmatch(event_id):
        raise Refused("an id has 8 to 64 letters, digits, - or _, such as a random UUID")
    return event_id


def plain(value: object, what: str, empty: bool = False) -> str:
    """Return a rater's text, trimmed; Refused where it is no text, empty, too long, or no database can hold it."""
    if not isinstance(value, str):
        raise Refused(f"the {what} must be text, not {type(value).__name__}")
    value = value.strip()
    if not value and not empty:
        raise Refused(f"the {what} is empty")
    if len(value) > LONGEST[what]:
        raise Refused(f"the {what} has {len(value)} characters; at most {LONGEST[what]} are kept: please shorten it")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise Refused(f"the {what} holds characters that are no text")
    return value


def whole(value: object, low: int, high: int, what: str) -> int:
    """Return a whole number in its range; Refused otherwise (true and false are no numbers here)."""
    if type(value) is not int or not low <= value <= high:
        raise Refused(f"{what} must be a whole number from {low} to {high}, not {value!r:.40}")
    return value


def each(payload: dict, field: str, n: int) -> list:
    """Return a list with one entry for each completion shown."""
    value = payload.get(field)
    if not isinstance(value, list) or len(value) != n:
        raise Refused(f"'{field}' must be a list of {n}, one for each answer shown")
    return value


def checked(kind: str, payload: object, n: int) -> dict:
    """Return what is kept of a payload about `n` completions; Refused, naming the field, where it does not fit."""
    if not isinstance(payload, dict):
        raise Refused(f"a {kind} must come as an object with named fields")
    if kind in PASSES:
        return {"reason": plain(payload.get("reason", ""), "reason", empty=True)}
    if kind == "demonstration":
        return {"text": plain(payload.get("text"), "text")}
    if kind == "pair":
        choice = payload.get("choice")
        if choice not in CHOICES:
            raise Refused(f"'choice' must be one of {', '.join(CHOICES)}, not {choice!r:.40}")
        decided = choice in ("left", "right")
        return {"choice": choice, "strength": whole(payload.get("strength", 1), 1, 2, "'strength'") if decided else 0}
    if kind == "ranking":
        ranks = [whole(rank, 1, n, "a rank") for rank in each(payload, "ranks", n)]
        return {"ranks": [sorted(set(ranks)).index(rank) + 1 for rank in ranks]}  # without gaps
    if kind == "label":
        labels = each(payload, "labels", n)
        if not all(isinstance(label, bool) for label in labels):
            raise Refused("each label must be true or false")
        return {"labels": labels}
    if kind == "hands":
        return {choice: whole(payload.get(choice, 0), 0, 1000, f"the hands for '{choice}'") for choice in CHOICES}
    if kind == "scores":
        rows = each(payload, "scores", n)
        if not all(isinstance(row, dict) for row in rows):
            raise Refused("each answer's scores must be an object, such as {'relevance': 6, ...}")
        return {"scores": [{name: whole(row.get(name), 1, 7, f"the score for {name}") for name in CRITERIA}
                           for row in rows]}
    raise Refused(f"there is no judgement called {kind!r:.40}; there are {', '.join(JUDGEMENTS)}, skip and flag")


def favourite(payload: dict) -> int | None:
    """Return the place of the one answer that a pair's or ranking's payload puts above all others, or None."""
    if "choice" in payload:
        return {"left": 0, "right": 1}.get(payload["choice"])
    ranks = payload.get("ranks", [])
    return ranks.index(1) if ranks.count(1) == 1 else None


def near_identical(a: str, b: str) -> bool:
    """Return whether two answers are too alike to be worth a person's time.

    They are where they differ only in spaces, quotation marks or the last full stop. Answers of 50 words and more
    also where fewer than one word in twenty differs. In short ones a single word may be what matters: `3-1 is 2`.
    """
    first, second = (re.sub(r"[ \t]+", " ", text.replace("’", "'").replace("“", '"').replace("”", '"')).strip(" \n.!")
                     for text in (a, b))
    if first == second:
        return True
    words = first.split(), second.split()
    if min(map(len, words)) < LONG:
        return False
    return difflib.SequenceMatcher(None, *words, autojunk=False).ratio() > 0.95
