"""Who is asked what: which tasks are worth asking, how they get into the store, and which a rater gets next."""
import random
import time
from collections.abc import Iterator

from sqlalchemy import and_, bindparam, exists, func, or_, select, update

from rlhf_lessons.ratings.judgements import JUDGEMENTS, Refused, near_identical
from rlhf_lessons.ratings.schema import FOREVER, assignments, completions, events, guidelines, key, prompts, tasks

REPEAT_AFTER = 5  # answers that lie at least between a task and its repeat, while there is anything else to do
SIDES = random.SystemRandom()
MOST = {"pair": (2, 2), "ranking": (2, 9), "scores": (1, 9), "demonstration": (0, 1), "label": (1, 9)}  # completions
RATER, ROUND, NOW = bindparam("for_rater"), bindparam("in_round"), bindparam("now")


def storable(text: str) -> str:
    """Return a model's text without what no database can hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def select_rows(rows: list[dict], uncertainty: list[float], n: int, random_share: float = 0.5,
                seed: int = 0) -> list[dict]:
    """Return `n` of the rows for `Store.add_tasks`, mixed: some drawn by lot, the others the least certain ones.

    `uncertainty` has a number a row, higher where the reward model is less sure, such as minus the distance of its
    two scores. `source` says "random" or "uncertain": only random ones are fair to measure a reward model on, and
    both together show whether choosing pays. Rows with near-identical answers are passed over.
    """
    if len(rows) != len(uncertainty) or not 0 <= random_share <= 1:
        raise ValueError("uncertainty needs one number a row, and random_share must lie between 0 and 1")
    rng = random.Random(seed)
    places = [i for i, row in enumerate(rows) if next(task_rows("", row), None)]
    rng.shuffle(places)
    by_lot = round(min(n, len(places)) * random_share)
    unsure = sorted(places[by_lot:], key=lambda i: -uncertainty[i])[:n - by_lot]
    chosen = [rows[i] | {"source": "random"} for i in places[:by_lot]] + [
        rows[i] | {"source": "uncertain"} for i in unsure]
    rng.shuffle(chosen)
    return chosen


def task_rows(round: str, row: dict, repeats: float = 0.0, alike: bool = False) -> Iterator[tuple]:
    """Yield (task, prompt, completions) of one row of `Store.add_tasks` as they go into the tables.

    Nothing for a pair or ranking with near-identical answers, unless `alike` allows them; a second task where it is
    drawn for a repeat.
    """
    kind, texts = row["kind"], [storable(answer["text"]) for answer in row.get("completions", [])]
    if kind not in JUDGEMENTS:
        raise Refused(f"there is no judgement called '{kind}'; there are {', '.join(JUDGEMENTS)}")
    least, most = MOST[kind]
    if not least <= len(texts) <= most:
        raise Refused(f"a {kind} has {least} to {most} completions, not {len(texts)}")
    compared = kind in ("pair", "ranking") and not alike
    if compared and any(near_identical(a, b) for i, a in enumerate(texts) for b in texts[:i]):
        return
    prompt = {"id": key(row["prompt"]), "text": storable(row["prompt"])}
    answers = []
    for text, answer in zip(texts, row.get("completions", [])):
        kept = dict(text=text, ended=bool(answer.get("ended", True)), model=answer.get("model") or "")
        answers.append(kept | {"id": key(prompt["id"], kept), "prompt": prompt["id"], "reward": answer.get("reward")})
    ids = [answer["id"] for answer in answers]
    gold = row.get("gold")
    task = dict(id=key(round, kind, prompt["id"], ids), round=round, kind=kind, prompt=prompt["id"], completions=ids,
                gold=gold, repeat_of=None, priority=row.get("priority", 0),
                overlap=row.get("overlap", None if gold else 1), source=row.get("source", "gold" if gold else ""))
    yield task, prompt, answers
    if kind == "pair" and int(task["id"][:8], 16) < repeats * 16**8:  # by lot, yet the same each time
        again = dict(id=key(task["id"], "repeat"), repeat_of=task["id"], overlap=None, source="repeat", gold=None)
        yield task | again, prompt, answers


def candidates() -> list:
    """Return queries for the tasks that RATER may get in ROUND at NOW: begun, due again, fresh, any to do again."""
    mine, first, others, later = (table.alias() for table in (assignments, assignments, assignments, events))
    taken = select(func.count()).where(others.c.task == tasks.c.id, others.c.rater != RATER, others.c.lease > NOW)
    free = select(tasks).where(tasks.c.round == ROUND, or_(tasks.c.overlap.is_(None),
                                                           taken.scalar_subquery() < tasks.c.overlap))
    begun = (free.join(mine, and_(mine.c.task == tasks.c.id, mine.c.rater == RATER))
             .where(mine.c.answer.is_(None)).order_by(mine.c.lease.desc()))
    untouched = ~exists().where(mine.c.task == tasks.c.id, mine.c.rater == RATER)
    order = (tasks.c.priority.desc(), tasks.c.place)
    repeat = (free.join(first, and_(first.c.task == tasks.c.repeat_of, first.c.rater == RATER))
              .join(events, events.c.id == first.c.answer).where(untouched, first.c.lease == FOREVER).order_by(*order))
    since = select(func.count()).where(later.c.rater == RATER, later.c.seq > events.c.seq,
                                       later.c.kind.in_(JUDGEMENTS))
    return [begun, repeat.where(since.scalar_subquery() >= REPEAT_AFTER),
            free.where(untouched, tasks.c.repeat_of.is_(None)).order_by(*order), repeat]


def with_others() -> object:
    """Return a query for the tasks of ROUND that RATER has not done and that are lent to others at NOW."""
    mine, theirs = assignments.alias(), assignments.alias()
    return select(tasks).where(
        tasks.c.round == ROUND, tasks.c.repeat_of.is_(None),
        ~exists().where(mine.c.task == tasks.c.id, mine.c.rater == RATER, mine.c.answer.isnot(None)),
        exists().where(theirs.c.task == tasks.c.id, theirs.c.lease > NOW, theirs.c.lease < FOREVER))


CANDIDATES, WITH_OTHERS = candidates(), with_others()  # built once: building a query takes longer than running it
SHOWN = select(assignments.c.shown).where(assignments.c.task == bindparam("of_task"), assignments.c.rater == RATER)
LEND = (update(assignments).where(assignments.c.task == bindparam("of_task"), assignments.c.rater == RATER)
        .values(lease=bindparam("until")))
TEXTS = select(completions).where(completions.c.id.in_(bindparam("ids", expanding=True)))
PROMPT = select(prompts.c.text).where(prompts.c.id == bindparam("id"))
GUIDELINE = select(guidelines).order_by(guidelines.c.time.desc()).limit(1)


def choose(c, rater: str, round: str, hidden: set[str]):
    """Yield the rows of tasks that a rater may get, the one to do now first; a task may come twice."""
    for query in CANDIDATES:
        for row in c.execute(query, {"for_rater": rater, "in_round": round, "now": time.time()}):
            if hidden.isdisjoint(row.completions):
                yield row


def lend(c, rater: str, task, until: float) -> dict:
    """Write down that a rater has this task, and in which order it is shown; return what the rater may see of it."""
    mine = {"of_task": task.id, "for_rater": rater}
    shown = c.execute(SHOWN, mine).scalar()
    if shown is None:
        before = task.repeat_of and c.execute(SHOWN, mine | {"of_task": task.repeat_of}).scalar()
        shown = before[::-1] if before else SIDES.sample(task.completions, len(task.completions))
        c.execute(assignments.insert(), dict(task=task.id, rater=rater, shown=shown, lease=until, answer=None,
                                             revealed=False))
    else:
        c.execute(LEND, mine | {"until": until})
    texts = {row.id: {"text": row.text, "ended": row.ended} for row in c.execute(TEXTS, {"ids": shown})}
    guideline = c.execute(GUIDELINE).first()
    return {"state": "task", "task": task.id, "round": task.round, "kind": task.kind,
            "prompt": c.execute(PROMPT, {"id": task.prompt}).scalar(),
            "answers": [texts[completion] for completion in shown], "guideline": guideline and guideline.text}
