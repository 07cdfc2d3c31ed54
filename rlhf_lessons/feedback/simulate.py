"""Simulated raters answer through the same store and the same calls as people, so that a class can
see whether its pipeline finds a truth that is known, before it trusts it with people.
"""

import random
import zlib
from dataclasses import replace

from rlhf_lessons.feedback.payloads import CRITERIA, new_id
from rlhf_lessons.feedback.store import Store
from rlhf_lessons.world.answers import answer
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import parse

AT_ONCE = 20  # answers in one commit
MUCH = 0.4  # answers whose utilities differ by this much: one is much better


def simulate(
    store: Store,
    round: str,
    rater: Rater,
    name: str | None = None,
    seed: int = 0,
    n: int | None = None,
    team: str = "",
    seconds: float = 5.0,
) -> str:
    """Let a simulated rater do `n` tasks of a round (all that it gets, where None), and return its
    id.

    The same name is the same person each time, who only does what is new; without a name, it is
    made of the rater. What it says to a task depends on name, seed and task alone. `seconds` is
    about what it takes for each.
    """
    # As fields were first named: a rater keeps its name in stores, and what it says in the lessons.
    made_of = repr(rater).replace("flip_rate=", "lapse=")
    name = name or f"simulated {zlib.crc32(made_of.encode()):08x}"
    who, done = store.reader(name, team, kind="simulated"), 0
    while n is None or done < n:
        with (
            store.write()
        ):  # a few at a time: each commit waits for the disk, and people want their turn
            for _ in range(AT_ONCE if n is None else min(AT_ONCE, n - done)):
                task = store.next_task(who, round)
                if task["state"] != "task":
                    return who
                rng = random.Random(f"{name}/{seed}/{task['task']}")
                kind, payload = judgement(rater, task, rng)
                ms = int(1000 * seconds * rng.lognormvariate(0, 0.4))
                store.answer(who, task["task"], kind, payload, new_id(), ms, ui="simulated")
                done += 1
    return who


def judgement(rater: Rater, task: dict, rng: random.Random) -> tuple[str, dict]:
    """Return (kind, payload) of what a simulated rater says to a task of `Store.next_task`, places
    as shown.
    """
    prompt, kind, shown = (
        task["prompt"],
        task["kind"],
        [(a["text"], a["ended"]) for a in task["answers"]],
    )
    order = sorted(
        range(len(shown)), key=lambda i: shown[i]
    )  # chance must not hang on sides that are drawn at random
    if kind == "pair":
        first, second = (rater.utility_of(prompt, *shown[i]) for i in order)
        turned = order[0] == 1
        seen = replace(rater, side_bias=-rater.side_bias) if turned else rater
        choice = seen.pick(first - second, rng)
        other = {"left": "right", "right": "left"} if turned else {}
        return kind, {
            "choice": other.get(choice, choice),
            "strength": 2 if abs(first - second) >= MUCH else 1,
        }
    if kind == "ranking":
        ranks = dict(zip(order, rater.rank(prompt, [shown[i][0] for i in order], rng), strict=True))
        return kind, {"ranks": [ranks[i] + 1 for i in range(len(shown))]}
    if kind == "scores":
        marks = [judge(prompt, *one) for one in shown]
        return kind, {
            "scores": [
                {name: 1 + round(6 * getattr(mark, name)) for name in CRITERIA} for mark in marks
            ]
        }
    if spec := parse(prompt):
        return kind, {"text": answer(spec, rng)}
    return "skip", {"reason": "a simulated rater knows only the toy world"}
