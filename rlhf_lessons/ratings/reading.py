"""What was said: all current answers, and what other raters said of one task."""
from statistics import mean

from sqlalchemy import select

from rlhf_lessons.ratings.judgements import CHOICES, PASSES
from rlhf_lessons.ratings.schema import assignments, completions, events, prompts, raters, tasks

ANSWERS = (select(events, tasks.c.round, tasks.c.kind.label("task_kind"), tasks.c.source, tasks.c.gold,
                  tasks.c.repeat_of, tasks.c.completions, prompts.c.text.label("prompt"), raters.c.name, raters.c.team,
                  raters.c.kind.label("rater_kind"))
           .join(assignments, assignments.c.answer == events.c.id).join(tasks, tasks.c.id == events.c.task)
           .join(prompts, prompts.c.id == tasks.c.prompt).join(raters, raters.c.id == events.c.rater)
           .order_by(events.c.seq))


def read_answers(c, hidden: set[str], round: str | None) -> list[dict]:
    """Return the rows of `Store.answers`."""
    query = ANSWERS if round is None else ANSWERS.where(tasks.c.round == round)
    fields = ("id", "text", "ended", "model", "reward")
    texts = {row.id: {field: getattr(row, field) for field in fields} for row in c.execute(select(completions))}
    rows = [row._asdict() for row in c.execute(query)]
    for row in rows:
        row["answers"] = [texts[i] for i in row["shown"]]
        row["hidden"] = row["rater"] in hidden or not hidden.isdisjoint(row["shown"])
    return rows


def others(c, given, hidden: set[str]) -> dict:
    """Return what raters other than that of `given` (an assignment) said of its task, in the order it was shown.

    {"n": answers}, and with it "choices": {"left", "right", "tie", "bad"} of a pair, "ranks": [means] of a ranking,
    "scores": [{criterion: mean}].
    """
    rows = c.execute(select(events.c.kind, events.c.payload, events.c.shown, events.c.rater)
                     .join(assignments, assignments.c.answer == events.c.id)
                     .where(events.c.task == given.task, events.c.rater != given.rater)).all()
    rows = [row for row in rows if row.rater not in hidden and row.kind not in PASSES]
    found, choices, marks = {"n": len(rows)}, dict.fromkeys(CHOICES, 0), {"ranks": {}, "scores": {}}
    for kind, payload, shown, _ in rows:
        swap = {"left": "right", "right": "left"} if shown != given.shown else {}
        for choice, n in ({payload["choice"]: 1} if kind == "pair" else payload if kind == "hands" else {}).items():
            choices[swap.get(choice, choice)] += n
        for field in marks.keys() & payload.keys():
            for completion, mark in zip(shown, payload[field], strict=True):
                marks[field].setdefault(completion, []).append(mark)
    if any(row.kind in ("pair", "hands") for row in rows):
        found |= {"n": sum(choices.values()), "choices": choices}
    if ranks := marks["ranks"]:
        found["ranks"] = [mean(ranks[i]) for i in given.shown]
    if scores := marks["scores"]:
        found["scores"] = [{name: mean(row[name] for row in scores[i]) for name in scores[i][0]} for i in given.shown]
    return found
