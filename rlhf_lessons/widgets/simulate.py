"""A simulated rater at work: it takes tasks from the ratings store and answers them, as a person would."""
import random
import zlib

from rlhf_lessons.ratings import CRITERIA, Store
from rlhf_lessons.world.answers import answer
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import parse

MUCH = 0.4  # answers whose utilities differ by this much: one is much better


def simulate(store: Store, round: str, who: Rater) -> str:
    """Let a simulated rater answer all that a round has for it, and return its id in the store.

    The same rater is the same person each time, so that it only answers what is new.
    """
    name = f"simulated {zlib.crc32(repr(who).encode()):08x}"
    known = [row["id"] for row in store.raters() if row["name"] == name and row["kind"] == "simulated"]
    rater = known[0] if known else store.add_rater(name, kind="simulated")
    while (task := store.next_task(rater, round))["state"] == "task":
        kind, payload = judgement(who, task)
        store.answer(rater, task["task"], kind, payload, id=f"{rater}{zlib.crc32(task['task'].encode()):08x}",
                     ui="simulated")
    return rater


def judgement(who: Rater, task: dict) -> tuple[str, dict]:
    """Return (kind, payload) of what a simulated rater says to a task, places as shown."""
    prompt, rng = task["prompt"], random.Random(f"{who!r}/{task['task']}")
    texts = [row["text"] for row in task["answers"]]
    if task["kind"] == "pair":
        left, right = (who.utility_of(prompt, row["text"], row["ended"]) for row in task["answers"])
        return "pair", {"choice": who.pick(left - right, rng), "strength": 2 if abs(left - right) >= MUCH else 1}
    if task["kind"] == "ranking":
        return "ranking", {"ranks": [rank + 1 for rank in who.rank(prompt, texts, rng)]}
    if task["kind"] == "scores":
        found = [judge(prompt, row["text"], row["ended"]) for row in task["answers"]]
        return "scores", {"scores": [{name: 1 + round(6 * getattr(one, name)) for name in CRITERIA} for one in found]}
    if task["kind"] == "demonstration" and (spec := parse(prompt)):
        return "demonstration", {"text": answer(spec, rng)}
    return "skip", {"reason": "I do not know how to answer this"}
