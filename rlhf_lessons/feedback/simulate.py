"""Simulated raters answer through the same store and the same calls as people, so that a class can
see whether its pipeline finds a truth that is known, before it trusts it with people.
"""

import random
import zlib
from dataclasses import replace
from math import inf

from rlhf_lessons.feedback.payloads import CRITERIA, new_id
from rlhf_lessons.feedback.store import Store
from rlhf_lessons.world.answers import answer as write
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import parse

AT_ONCE = 20  # answers in one commit
SECONDS = 5.0  # about what it takes for each
MUCH = 0.4  # answers whose utilities differ by this much: one is much better


def simulate(
    store: Store,
    round: str,
    rater: Rater,
    name: str | None = None,
    seed: int = 0,
    n: float = inf,
    team: str = "",
) -> str:
    """Let a simulated rater do `n` tasks of a round, all that it gets by default, and return its
    id.

    The same name is the same person each time, who only does what is new; without a name, it is
    made of the rater. What it says to a task depends on name, seed and task alone.
    """
    # As fields were first named: a rater keeps its name in stores, and what it says in the lessons.
    made_of = repr(rater).replace("flip_rate=", "lapse=")
    name = name or f"simulated {zlib.crc32(made_of.encode()):08x}"
    who = store.reader(name, team, kind="simulated")
    done = 0
    while done < n:
        # A few at a time: each commit waits for the disk, and people want their turn
        with store.write():
            for _ in range(min(AT_ONCE, n - done)):
                task = store.next_task(who, round)
                if task["state"] != "task":
                    return who
                rng = random.Random(f"{name}/{seed}/{task['task']}")
                kind, payload = judgement(rater, task, rng)
                ms = int(1000 * SECONDS * rng.lognormvariate(0, 0.4))
                store.answer(who, task["task"], kind, payload, new_id(), ms, ui="simulated")
                done += 1
    return who


def judgement(rater: Rater, task: dict, rng: random.Random) -> tuple[str, dict]:
    """Return (kind, payload) of what a simulated rater says to a task of `Store.next_task`, places
    as shown.
    """
    prompt, kind = task["prompt"], task["kind"]
    shown = [(answer["text"], answer["ended"]) for answer in task["answers"]]
    # Chance must not hang on sides that are drawn at random
    order = sorted(range(len(shown)), key=lambda i: shown[i])
    if kind == "pair":
        first, second = (rater.utility_of(prompt, *shown[i]) for i in order)
        turned = order[0] == 1
        if turned:
            rater = replace(rater, side_bias=-rater.side_bias)
        choice = rater.pick(first - second, rng)
        if turned:
            choice = {"left": "right", "right": "left"}.get(choice, choice)
        return kind, {"choice": choice, "strength": 1 + (abs(first - second) >= MUCH)}
    if kind == "ranking":
        found = rater.rank(prompt, [shown[i] for i in order], rng)
        ranks = dict(zip(order, found, strict=True))
        return kind, {"ranks": [1 + ranks[i] for i in sorted(order)]}
    if kind == "scores":
        scores = []
        for answer in shown:
            marks = judge(prompt, *answer)
            scores.append({name: 1 + round(6 * getattr(marks, name)) for name in CRITERIA})
        return kind, {"scores": scores}
    if spec := parse(prompt):
        return kind, {"text": write(spec, rng)}
    return "skip", {"reason": "a simulated rater knows only the toy world"}
