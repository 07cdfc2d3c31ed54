"""Reading the answers that stand: all, or what others said of one task."""

from statistics import mean

from sqlalchemy import select

from rlhf_lessons.feedback.payloads import CHOICES, CRITERIA, sound
from rlhf_lessons.feedback.queue import texts_of
from rlhf_lessons.feedback.schema import assignments, completions, events, prompts, raters, tasks

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


def of_round(query, round: str | None):
    """Return a query of events, only those on a round's tasks where one is named."""
    if round is None:
        return query
    return query.join(tasks, tasks.c.id == events.c.task).where(tasks.c.round == round)


def read_answers(c, hidden: set[str], round: str | None, rater: str | None) -> list[dict]:
    """Return the rows of `Store.answers`."""
    query = ANSWERS
    if round is not None:
        query = query.where(tasks.c.round == round)
    if rater is not None:
        query = query.where(events.c.rater == rater)
    rows = [row._asdict() for row in c.execute(query) if sound(row)]
    fields = ("id", "text", "ended", "model", "reward")
    wanted = select(*(completions.c[field] for field in fields))
    if rater is not None:
        wanted = wanted.where(completions.c.id.in_({id for row in rows for id in row["shown"]}))
    texts = {row.id: row._asdict() for row in c.execute(wanted)}
    rows = [row for row in rows if texts.keys() >= set(row["shown"] or ())]
    for row in rows:
        row["answers"] = [texts[i] for i in row["shown"] or ()]
        row["hidden"] = row["rater"] in hidden or not hidden.isdisjoint(row["shown"] or ())
    return rows


def hidden_side(c, given, hidden: set[str]) -> dict:
    """Return what a rater sees of a task after answering: models, rewards and others of
    `Store.reveal`.
    """
    rows = texts_of(c, given.shown)
    return {
        "models": [rows[i].model for i in given.shown],
        "rewards": [rows[i].reward for i in given.shown],
        "others": others(c, given, hidden),
    }


def others(c, given, hidden: set[str]) -> dict:
    """Return what raters other than that of `given` (an assignment) said of its task, in the order
    it was shown.

    {"n": answers, "simulated": how many of them simulated raters gave}, and with it "choices":
    {"left", "right", "tie", "bad"} of a pair, "ranks": [means] of a ranking, "scores": [{criterion:
    mean}].
    """
    theirs = CURRENT.where(events.c.task == given.task, events.c.rater != given.rater)
    rows = [
        row
        for row in c.execute(theirs)
        if row.rater not in hidden and row.kind in (given.kind, "hands") and sound(row)
    ]
    found = {"n": len(rows), "simulated": sum(row.rater_kind == "simulated" for row in rows)}
    if not rows:
        return found
    if given.kind == "pair":
        choices = dict.fromkeys(CHOICES, 0)
        for row in rows:
            hands = row.payload if row.kind == "hands" else {row.payload["choice"]: 1}
            swap = {"left": "right", "right": "left"} if row.shown != given.shown else {}
            for choice, n in hands.items():
                choices[swap.get(choice, choice)] += n
        found |= {"n": sum(choices.values()), "choices": choices}
    elif given.kind == "ranking":
        found["ranks"] = [mean(marks) for marks in by_text(rows, "ranks", given.shown)]
    elif given.kind == "scores":
        found["scores"] = [
            {name: mean(mark[name] for mark in marks) for name in CRITERIA}
            for marks in by_text(rows, "scores", given.shown)
        ]
    return found


def by_text(rows: list, field: str, shown: list[str]) -> list[list]:
    """Return what all said of each text, in the order `shown`."""
    return [[row.payload[field][row.shown.index(id)] for row in rows] for id in shown]
