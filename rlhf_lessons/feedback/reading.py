"""What the store knows: all current answers, what a rater may see after answering, and the state of the room."""

import math
from collections import namedtuple
from statistics import mean

from sqlalchemy import select

from rlhf_lessons.feedback.payloads import CHOICES, CRITERIA, checked
from rlhf_lessons.feedback.schema import (
    assignments,
    completions,
    events,
    prompts,
    raters,
    tasks,
)

Room = namedtuple(
    "Room", "hidden states current"
)  # ids of hidden raters and completions, {round: state}, round

CURRENT = (
    select(events, raters.c.name, raters.c.team, raters.c.kind.label("rater_kind"))
    .join(assignments, assignments.c.answer == events.c.id)
    .join(raters, raters.c.id == events.c.rater)
)
ANSWERS = (
    CURRENT.add_columns(
        tasks.c.round,
        tasks.c.kind.label("task_kind"),
        tasks.c.source,
        tasks.c.repeat_of,
        prompts.c.text.label("prompt"),
    )
    .join(tasks, tasks.c.id == events.c.task)
    .join(prompts, prompts.c.id == tasks.c.prompt)
    .order_by(events.c.seq)
)


def sound(row) -> bool:
    """Return whether an event can be read: one that was written into the file by other ways kills no page."""
    try:
        checked(row.kind, row.payload, len(row.shown or ()))
        return math.isfinite(row.time) and (row.ms is None or 0 <= row.ms < 2**31)
    except (ValueError, TypeError, AttributeError):
        return False


def room_of(c) -> Room:
    """Return who and what is hidden, the states of the rounds, and the current round (None before the first)."""
    hidden, states, current = set(), {}, None
    said = select(events).where(events.c.kind.in_(("hide", "round"))).order_by(events.c.seq)
    for row in c.execute(said):
        if not sound(row):
            continue
        if row.kind == "round":
            current = row.payload["round"]
            states[current] = row.payload["state"]
        else:
            (hidden.add if row.payload["hidden"] else hidden.discard)(row.payload["id"])
    return Room(hidden, states, current)


def texts_of(c, ids: list[str]) -> dict:
    """Return completions' rows by id."""
    return {row.id: row for row in c.execute(select(completions).where(completions.c.id.in_(ids)))}


def read_answers(c, hidden: set[str], round: str | None, rater: str | None) -> list[dict]:
    """Return the rows of `Store.answers`."""
    query = ANSWERS
    if round is not None:
        query = query.where(tasks.c.round == round)
    if rater is not None:
        query = query.where(events.c.rater == rater)
    rows = [row._asdict() for row in c.execute(query) if sound(row)]
    fields = [getattr(completions.c, field) for field in ("id", "text", "ended", "model", "reward")]
    wanted = select(*fields)
    if rater is not None:
        wanted = wanted.where(completions.c.id.in_({id for row in rows for id in row["shown"]}))
    texts = {row.id: row._asdict() for row in c.execute(wanted)}
    rows = [row for row in rows if texts.keys() >= set(row["shown"] or ())]
    for row in rows:
        row["answers"] = [texts[i] for i in row["shown"] or ()]
        row["hidden"] = row["rater"] in hidden or not hidden.isdisjoint(row["shown"] or ())
    return rows


def hidden_side(c, given) -> dict:
    """Return what a rater sees of a task after answering: models, rewards and others of `Store.reveal`."""
    rows = texts_of(c, given.shown)
    return {
        "models": [rows[i].model for i in given.shown],
        "rewards": [rows[i].reward for i in given.shown],
        "others": others(c, given, room_of(c).hidden),
    }


def others(c, given, hidden: set[str]) -> dict:
    """Return what raters other than that of `given` (an assignment) said of its task, in the order it was shown.

    {"n": answers, "simulated": how many of them simulated raters gave}, and with it "choices": {"left", "right",
    "tie", "bad"} of a pair, "ranks": [means] of a ranking, "scores": [{criterion: mean}].
    """
    rows = c.execute(
        CURRENT.where(events.c.task == given.task, events.c.rater != given.rater)
    ).all()
    rows = [
        row
        for row in rows
        if row.rater not in hidden and row.kind in (given.kind, "hands") and sound(row)
    ]
    found = {"n": len(rows), "simulated": sum(row.rater_kind == "simulated" for row in rows)}
    if rows and given.kind == "pair":
        choices = dict.fromkeys(CHOICES, 0)
        for row in rows:
            swap = {"left": "right", "right": "left"} if row.shown != given.shown else {}
            for choice, n in (
                row.payload if row.kind == "hands" else {row.payload["choice"]: 1}
            ).items():
                choices[swap.get(choice, choice)] += n
        found |= {"n": sum(choices.values()), "choices": choices}
    elif rows and given.kind in ("ranking", "scores"):
        field = {"ranking": "ranks", "scores": "scores"}[given.kind]
        marks = [[row.payload[field][row.shown.index(id)] for row in rows] for id in given.shown]
        found[field] = [
            mean(of_one)
            if field == "ranks"
            else {name: mean(mark[name] for mark in of_one) for name in CRITERIA}
            for of_one in marks
        ]
    return found
