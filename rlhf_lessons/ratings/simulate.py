"""Simulated raters answer through the same store and the same calls as people, so that a class can see whether its
pipeline finds a truth that is known, before it trusts it with people."""
import random

from rlhf_lessons.ratings.judgements import CRITERIA, new_id
from rlhf_lessons.ratings.store import Store
from rlhf_lessons.world.answers import answer
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import parse


def judgement(rater: Rater, task: dict, rng: random.Random) -> tuple[str, dict]:
    """Return (kind, payload) of what a simulated rater says to a task of `Store.next_task`."""
    prompt, shown = task["prompt"], [(a["text"], a["ended"]) for a in task["answers"]]
    if task["kind"] == "pair":
        lead = rater.utility_of(prompt, *shown[0]) - rater.utility_of(prompt, *shown[1])
        return "pair", {"choice": rater.pick(lead, rng), "strength": 2 if abs(lead) > 0.5 else 1}
    if task["kind"] == "ranking":
        return "ranking", {"ranks": [rank + 1 for rank in rater.rank(prompt, [text for text, _ in shown], rng)]}
    if task["kind"] == "scores":
        marks = [judge(prompt, *one) for one in shown]
        return "scores", {"scores": [{name: 1 + round(6 * getattr(mark, name)) for name in CRITERIA} for mark in marks]}
    if task["kind"] == "demonstration" and (spec := parse(prompt)):
        return "demonstration", {"text": answer(spec, rng)}
    return "skip", {"reason": "a simulated rater knows only the toy world"}


def simulate(store: Store, round: str, rater: Rater, name: str = "simulated", seed: int = 0, n: int | None = None,
             team: str = "", seconds: float = 5.0) -> str:
    """Let a simulated rater do `n` tasks of a round (all that it gets, where None), and return its id."""
    who, rng, done = store.add_rater(name, team, kind="simulated"), random.Random(f"{name}/{seed}"), 0
    while n is None or done < n:
        with store.write():
            task = store.next_task(who, round)
            if task["state"] != "task":
                break
            kind, payload = judgement(rater, task, rng)
            store.answer(who, task["task"], kind, payload, new_id(), round_ms(rng, seconds), ui="simulated")
        done += 1
    return who


def round_ms(rng: random.Random, seconds: float) -> int:
    """Return a plausible time in milliseconds around `seconds`."""
    return int(1000 * seconds * rng.lognormvariate(0, 0.4))
