"""Task assignment: which tasks are worth asking, and which a rater gets next."""

import random
import time
from collections import Counter, namedtuple
from itertools import chain, combinations
from statistics import median_high

from sqlalchemy import bindparam, func, select, update

from rlhf_lessons.feedback.payloads import check_number, near_identical, storable
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
# Answers that lie at least between a task and its repeat, while there is anything else to do
REPEAT_AFTER = 5
SIDES = random.SystemRandom()
RECOUNT = 1  # seconds for which a class may count on how many raters have each task


def task_row(round: str, row: dict) -> tuple[dict, dict, list[dict]]:
    """Return (task, prompt, completions) of a row of `Store.add_tasks` as they go into the tables;
    Refused where it is no task.
    """
    kind = row["kind"]
    given = row.get("completions", [])
    check_number(kind, len(given))
    prompt = {"id": key(row["prompt"]), "text": storable(row["prompt"])}
    answers = [answer_row(prompt["id"], answer) for answer in given]
    ids = [answer["id"] for answer in answers]
    task = {
        "id": key(round, kind, prompt["id"], ids),
        "round": storable(round),
        "kind": kind,
        "prompt": prompt["id"],
        "completions": ids,
        "repeat_of": None,
        "overlap": row.get("overlap", 1),
        "source": row.get("source", ""),
    }
    return task, prompt, answers


def answer_row(prompt: str, answer: dict) -> dict:
    """Return a completion of `Store.add_tasks` as it goes into its table."""
    kept = {
        "text": storable(answer["text"]),
        "ended": bool(answer.get("ended", True)),
        "model": storable(answer.get("model") or ""),
    }
    reward = answer.get("reward")
    reward = None if reward is None else float(reward)
    return {"id": key(prompt, kept), "prompt": prompt, "reward": reward, **kept}


def insert_tasks(c, round: str, rows: list[dict], repeats: float) -> list[str]:
    """Do what `Store.add_tasks` does: write tasks behind those that the round has."""
    found, asked, texts = [], [], []
    for row in rows:
        task, prompt, answers = task_row(round, row)
        if task["kind"] in ("pair", "ranking"):
            if any(near_identical(a["text"], b["text"]) for a, b in combinations(answers, 2)):
                continue
        found.append(task)
        asked.append(prompt)
        texts += answers
        draw = int(task["id"][:8], 16) / 16**8  # at random, yet the same each time
        if task["kind"] == "pair" and draw < repeats:
            of = task["id"]
            again = {"id": key(of, "repeat"), "repeat_of": of, "overlap": None, "source": "repeat"}
            found.append(task | again)
    place = c.scalar(select(func.max(tasks.c.place)).filter_by(round=round)) or 0
    insert_new(c, prompts, asked)
    insert_new(c, completions, texts)
    insert_new(c, tasks, [task | {"place": place + n} for n, task in enumerate(found, 1)])
    return [task["id"] for task in found if not task["repeat_of"]]


RATER, ROUND, NOW = (bindparam(name) for name in ("for_rater", "in_round", "now"))
GIVEN = (
    select(assignments, tasks.c.kind, tasks.c.round, events.c.ms)
    .join(tasks, tasks.c.id == assignments.c.task)
    .outerjoin(events, events.c.id == assignments.c.answer)
    .where(assignments.c.rater == RATER)
    .order_by(events.c.seq)
)
TASKS = (
    select(tasks, prompts.c.text)
    .join(prompts, prompts.c.id == tasks.c.prompt)
    .where(tasks.c.round == ROUND)
    .order_by(tasks.c.place)
)
SIZE = select(func.count()).select_from(tasks).where(tasks.c.round == ROUND)
TEXTS = select(completions).where(
    completions.c.prompt.in_(select(tasks.c.prompt).where(tasks.c.round == ROUND))
)
# How many others have answered a task or still have time to, and how many of these the latter
TAKEN = (
    select(assignments.c.task, func.count(), func.count().filter(assignments.c.lease < FOREVER))
    .join(tasks, tasks.c.id == assignments.c.task)
    .where(tasks.c.round == ROUND, assignments.c.rater != RATER, assignments.c.lease > NOW)
    .group_by(assignments.c.task)
)
LEND = assignments.insert()
# A task that a rater has: completions as shown, until when (FOREVER where it was judged), whether
# it is revealed, the task's kind and round, the answer and the time it took.
Given = namedtuple(
    "Given", "task rater shown lease revealed kind round answer ms", defaults=(None, None)
)


def given_to(c, rater: str) -> dict[str, Given]:
    """Return what a rater was given in all rounds, by task, those answered in this order."""
    if ("rater", rater) not in c.info:
        rows = c.execute(GIVEN, {"for_rater": rater})
        c.info["rater", rater] = {row.task: Given(**row._mapping) for row in rows}
    return c.info["rater", rater]


class Queue:
    """The tasks of one round as of now: who gets which, and how many are left.

    How many others have each task is counted with every request; in a class (`beyond`) once a
    second, since there it only says which task is asked first.
    """

    def __init__(self, c, round: str, beyond: bool, made_of: tuple[int, set[str]]):
        """`made_of` is the number of tasks in the round, and the ids of what is hidden."""
        self.round, self.beyond, self.made_of = round, beyond, made_of
        _, hidden = made_of
        texts = c.execute(TEXTS, {"in_round": round})
        self.texts = {row.id: {"text": row.text, "ended": row.ended} for row in texts}
        found = c.execute(TASKS, {"in_round": round}).all()
        self.tasks = {task.id: task for task in found}
        offered = self.texts.keys() - hidden
        visible = [task for task in found if offered.issuperset(task.completions)]
        self.first = [task.id for task in visible if not task.repeat_of]
        self.repeats = {task.repeat_of: task.id for task in visible if task.repeat_of}
        self.counted = float("-inf")

    def give(self, c, rater: str) -> dict:
        """Return what `Store.next_task` does for a rater who may have one."""
        mine, done = self._look(c, rater)
        begun = [
            id
            for id, row in mine.items()
            if not row.answer and (id in self.open or id in self.repeats.values())
        ]
        begun.sort(key=lambda id: -mine[id].lease)  # the last first
        due = self._repeats_of(done[:-REPEAT_AFTER], mine)
        fresh = (id for id in self.open if id not in mine)
        id = next(chain(begun, due, fresh, self._repeats_of(done, mine)), None)
        if id is None:
            answered = {id for id, row in mine.items() if row.answer}
            waiting = self.lent.intersection(self.first) - answered
            return {"state": "waiting" if waiting else "done"}
        task = self.tasks[id]
        shown = self._lend(c, rater, task, mine)
        return {
            "state": "task",
            "task": id,
            "round": self.round,
            "kind": task.kind,
            "prompt": task.text,
            "answers": [self.texts[id] for id in shown],
        }

    def progress(self, c, rater: str) -> dict:
        """Return what `Store.progress` does."""
        mine, done = self._look(c, rater)
        answered = {id for id, row in mine.items() if row.answer}
        times = [mine[id].ms / 1000 for id in done if mine[id].ms is not None]
        again = {self.repeats[id] for id in done if id in self.repeats}
        return {
            "done": len(done),
            "passed": len(answered) - len(done),
            "left": len(self.open.keys() - answered) + len(again - answered),
            "seconds": median_high(times) if times else None,
        }

    def _look(self, c, rater: str) -> tuple[dict[str, Given], list[str]]:
        """Return what this rater has of the round, by task, and the tasks judged, the oldest first.
        Before that, count who has which.
        """
        now = time.time()
        if not self.beyond or now - self.counted > RECOUNT:
            asker = "" if self.beyond else rater  # the count of a class serves all
            who = {"for_rater": asker, "in_round": self.round, "now": now}
            rows = c.execute(TAKEN, who).all()
            self.taken = Counter({task: n for task, n, _ in rows})
            self.lent = {task for task, _, n in rows if n}
            order = sorted(self.first, key=self._turns)
            # To be had by who has them not yet, in this order
            self.open = dict.fromkeys(id for id in order if self.beyond or not self._turns(id))
            self.counted = now
        given = given_to(c, rater)
        mine = {id: row for id, row in given.items() if id in self.tasks}
        return mine, [id for id, row in mine.items() if row.lease == FOREVER]

    def _turns(self, id: str) -> int:
        """Return how often as many raters as are wanted have a task; 0 where all are wanted."""
        overlap = self.tasks[id].overlap
        return self.taken[id] // overlap if overlap else 0

    def _repeats_of(self, done: list[str], mine: dict) -> list[str]:
        """Return the repeats of these tasks that the rater has not been given yet."""
        found = (self.repeats.get(id) for id in done)
        return [id for id in found if id and id not in mine]

    def _lend(self, c, rater: str, task, mine: dict[str, Given]) -> list[str]:
        """Write down that a rater has a task, and return the order in which it is shown."""
        row = mine.get(task.id)
        until = time.time() + LEASE
        if row is None:
            if task.repeat_of:
                shown = mine[task.repeat_of].shown[::-1]
            else:
                shown = SIDES.sample(task.completions, len(task.completions))
            lent = dict(task=task.id, rater=rater, shown=shown, lease=until, revealed=False)
            c.execute(LEND, lent)
            row = Given(**lent, kind=task.kind, round=self.round)
            self.taken[task.id] += 1
            if task.overlap and self.taken[task.id] % task.overlap == 0:
                self.open[task.id] = self.open.pop(task.id)  # behind those with fewer
        elif abs(until - row.lease) > LEASE / 10:  # not each time, for that writes to the disk
            renewed = update(assignments).filter_by(task=task.id, rater=rater)
            c.execute(renewed.values(lease=until))
            row = row._replace(lease=until)
        given_to(c, rater)[task.id] = row
        return row.shown
