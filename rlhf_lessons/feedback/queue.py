"""Who is asked what: which tasks are worth asking, how they get into the store, and which a rater gets next."""

import random
import time
from collections.abc import Iterator

from sqlalchemy import Text, and_, bindparam, cast, exists, func, or_, select, update

from rlhf_lessons.feedback.payloads import (
    JUDGEMENTS,
    PASSES,
    Refused,
    fit,
    near_identical,
    storable,
)
from rlhf_lessons.feedback.reading import texts_of
from rlhf_lessons.feedback.schema import (
    FOREVER,
    assignments,
    completions,
    events,
    insert_new,
    key,
    prompts,
    tasks,
)

LEASE = 300  # seconds for which a task waits for the rater who was given it
REPEAT_AFTER = (
    5  # answers that lie at least between a task and its repeat, while there is anything else to do
)
SIDES = random.SystemRandom()
MOST = {"pair": (2, 2), "ranking": (2, 9), "scores": (1, 9), "demonstration": (0, 1)}  # completions
RATER, ROUND, NOW, AFTER = (bindparam(name) for name in ("for_rater", "in_round", "now", "after"))


def task_rows(round: str, row: dict, repeats: float = 0.0, alike: bool = False) -> Iterator[tuple]:
    """Yield (task, prompt, completions) of one row of `Store.add_tasks` as they go into the tables.

    Nothing for a pair or ranking with near-identical answers, unless `alike` allows them; a second task where it is
    drawn for a repeat.
    """
    kind, given = fit(row["kind"], JUDGEMENTS, "kind"), row.get("completions", [])
    least, most = MOST[kind]
    if not least <= len(given) <= most:
        raise Refused(f"a {kind} has {least} to {most} completions, not {len(given)}")
    prompt, answers = {"id": key(row["prompt"]), "text": storable(row["prompt"])}, []
    for answer in given:
        kept = dict(
            text=storable(answer["text"]),
            ended=bool(answer.get("ended", True)),
            model=storable(answer.get("model") or ""),
        )
        reward = answer.get("reward")
        answers.append(
            kept
            | {
                "id": key(prompt["id"], kept),
                "prompt": prompt["id"],
                "reward": None if reward is None else float(reward),
            }
        )
    texts, ids = [answer["text"] for answer in answers], [answer["id"] for answer in answers]
    if (
        kind in ("pair", "ranking")
        and not alike
        and any(near_identical(a, b) for i, a in enumerate(texts) for b in texts[:i])
    ):
        return
    task = dict(
        id=key(round, kind, prompt["id"], ids),
        round=storable(round),
        kind=kind,
        prompt=prompt["id"],
        completions=ids,
        repeat_of=None,
        overlap=row.get("overlap", 1),
        source=row.get("source", ""),
    )
    yield task, prompt, answers
    if (
        kind == "pair" and int(task["id"][:8], 16) < repeats * 16**8
    ):  # by lot, yet the same each time
        again = dict(
            id=key(task["id"], "repeat"),
            repeat_of=task["id"],
            overlap=None,
            source="repeat",
        )
        yield task | again, prompt, answers


def insert_tasks(c, round: str, found: list[tuple]) -> None:
    """Write what `task_rows` yields into the tables, behind the tasks that the round has."""
    place = c.execute(select(func.max(tasks.c.place)).filter_by(round=round)).scalar() or 0
    insert_new(c, prompts, [prompt for _, prompt, _ in found])
    insert_new(c, completions, [answer for _, _, answers in found for answer in answers])
    insert_new(c, tasks, [task | {"place": place + n} for n, (task, _, _) in enumerate(found, 1)])


def open_tasks() -> tuple:
    """Return queries for the tasks of ROUND that RATER may get at NOW: begun, fresh, to do again.

    One is to do again AFTER so many other judgements. A query is built once: that takes longer than running it.
    """
    mine, first, theirs, then = (
        assignments.alias(),
        assignments.alias(),
        assignments.alias(),
        events.alias(),
    )
    taken = select(func.count()).where(
        theirs.c.task == tasks.c.id, theirs.c.rater != RATER, theirs.c.lease > NOW
    )
    free = select(tasks).where(
        tasks.c.round == ROUND,
        or_(tasks.c.overlap.is_(None), taken.scalar_subquery() < tasks.c.overlap),
    )
    new = free.where(~exists().where(mine.c.task == tasks.c.id, mine.c.rater == RATER))
    since = select(func.count()).where(
        events.c.rater == RATER, events.c.seq > then.c.seq, events.c.kind.in_(JUDGEMENTS)
    )
    again = (
        new.join(first, and_(first.c.task == tasks.c.repeat_of, first.c.rater == RATER))
        .join(then, then.c.id == first.c.answer)
        .order_by(then.c.seq)
        .where(
            tasks.c.repeat_of.isnot(None),
            first.c.lease == FOREVER,
            since.scalar_subquery() >= AFTER,
        )
    )
    begun = free.join(mine, and_(mine.c.task == tasks.c.id, mine.c.rater == RATER)).where(
        mine.c.answer.is_(None)
    )
    return (
        begun.order_by(mine.c.lease.desc()),
        new.where(tasks.c.repeat_of.is_(None)).order_by(tasks.c.place),
        again,
    )


BEGUN, FRESH, AGAIN = open_tasks()
COUNTS = [query.with_only_columns(func.count()).order_by(None) for query in (BEGUN, FRESH, AGAIN)]
MINE, THEIRS = assignments.alias(), assignments.alias()
WITH_OTHERS = select(tasks.c.id).where(  # not done by RATER, and lent to others
    tasks.c.round == ROUND,
    tasks.c.repeat_of.is_(None),
    ~exists().where(MINE.c.task == tasks.c.id, MINE.c.rater == RATER, MINE.c.answer.isnot(None)),
    exists().where(THEIRS.c.task == tasks.c.id, THEIRS.c.lease > NOW, THEIRS.c.lease < FOREVER),
)


def visible(query, hidden: set[str]):
    """Return a query for tasks without those that show a hidden completion."""
    texts = cast(tasks.c.completions, Text)
    return (
        query.where(*(~texts.contains(id, autoescape=True) for id in hidden)) if hidden else query
    )


def progress_of(c, rater: str, round: str, hidden: set[str]) -> dict:
    """Return what `Store.progress` does."""
    rows = c.execute(
        select(assignments.c.lease, events.c.ms)
        .join(events, events.c.id == assignments.c.answer)
        .join(tasks, tasks.c.id == assignments.c.task)
        .where(tasks.c.round == round, assignments.c.rater == rater)
    ).all()
    done = [ms for lease, ms in rows if lease == FOREVER]
    times = sorted(ms / 1000 for ms in done if ms is not None)
    who = {"for_rater": rater, "in_round": round, "now": time.time(), "after": 0}
    return {
        "done": len(done),
        "passed": len(rows) - len(done),
        "left": sum(c.execute(visible(query, hidden), who).scalar() for query in COUNTS),
        "seconds": times[len(times) // 2] if times else None,
    }


def give(c, rater: str, round: str, hidden: set[str], lease: float) -> dict:
    """Return what `Store.next_task` does for a rater who may go on."""
    who = {"for_rater": rater, "in_round": round, "now": time.time()}
    for query, after in ((BEGUN, 0), (AGAIN, REPEAT_AFTER), (FRESH, 0), (AGAIN, 0)):
        if task := c.execute(visible(query, hidden), who | {"after": after}).first():
            return lend(c, rater, task, who["now"] + lease)
    return {"state": "waiting" if c.execute(visible(WITH_OTHERS, hidden), who).first() else "done"}


def lend(c, rater: str, task, until: float) -> dict:
    """Write down that a rater has this task, and in which order it is shown; return what the rater may see of it."""

    def shown_of(task: str) -> list[str] | None:
        return c.execute(select(assignments.c.shown).filter_by(task=task, rater=rater)).scalar()

    shown = shown_of(task.id)
    if shown is None:
        shown = (
            shown_of(task.repeat_of)[::-1]
            if task.repeat_of
            else SIDES.sample(task.completions, len(task.completions))
        )
        c.execute(
            assignments.insert(),
            dict(task=task.id, rater=rater, shown=shown, lease=until, revealed=False),
        )
    else:
        c.execute(update(assignments).filter_by(task=task.id, rater=rater).values(lease=until))
    texts = texts_of(c, shown)
    return {
        "state": "task",
        "task": task.id,
        "round": task.round,
        "kind": task.kind,
        "prompt": c.execute(select(prompts.c.text).filter_by(id=task.prompt)).scalar(),
        "answers": [{"text": texts[i].text, "ended": texts[i].ended} for i in shown],
    }


def follow(c, event: dict) -> None:
    """Bring the assignment of an event's task and rater up to date.

    Of two answers to one task, from two copies of a file, the first stands: an answer counts where it replaces the
    current one, or where there is none.
    """
    mine = update(assignments).filter_by(task=event["task"], rater=event["rater"])
    if event["kind"] == "reveal":
        c.execute(mine.values(revealed=True))
    elif event["kind"] != "seal":
        undone = event["kind"] == "undo"
        lease = event["time"] + LEASE if undone else 0.0 if event["kind"] in PASSES else FOREVER
        c.execute(
            mine.where(assignments.c.answer.is_not_distinct_from(event["replaces"])).values(
                answer=None if undone else event["id"], shown=event["shown"], lease=lease
            )
        )
