"""Task assignment: which tasks are worth asking, and which a rater gets next."""

import random
import time
from collections import Counter, namedtuple
from collections.abc import Iterator
from itertools import combinations
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
RATER, ROUND, NOW = (bindparam(name) for name in ("for_rater", "in_round", "now"))


def texts_of(c, ids: list[str]) -> dict:
    """Return completions' rows by id."""
    return {row.id: row for row in c.execute(select(completions).where(completions.c.id.in_(ids)))}


def task_rows(round: str, row: dict, repeats: float = 0.0, alike: bool = False) -> Iterator[tuple]:
    """Yield (task, prompt, completions) of one row of `Store.add_tasks` as they go into the tables.

    Nothing for a pair or ranking with near-identical answers, unless `alike` allows them; a second
    task where it is drawn for a repeat.
    """
    kind = row["kind"]
    given = row.get("completions", [])
    check_number(kind, len(given))
    prompt = {"id": key(row["prompt"]), "text": storable(row["prompt"])}
    answers = [answer_row(prompt["id"], answer) for answer in given]
    if kind in ("pair", "ranking") and not alike:
        if any(near_identical(a["text"], b["text"]) for a, b in combinations(answers, 2)):
            return
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
    yield task, prompt, answers
    draw = int(task["id"][:8], 16) / 16**8  # at random, yet the same each time
    if kind == "pair" and draw < repeats:
        again = {
            "id": key(task["id"], "repeat"),
            "repeat_of": task["id"],
            "overlap": None,
            "source": "repeat",
        }
        yield task | again, prompt, answers


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


def insert_tasks(c, round: str, found: list[tuple]) -> None:
    """Write what `task_rows` yields into the tables, behind the tasks that the round has."""
    place = c.execute(select(func.max(tasks.c.place)).filter_by(round=round)).scalar() or 0
    insert_new(c, prompts, [prompt for _, prompt, _ in found])
    insert_new(c, completions, [answer for _, _, answers in found for answer in answers])
    insert_new(c, tasks, [task | {"place": place + n} for n, (task, _, _) in enumerate(found, 1)])


SIZE = select(func.count(), func.max(tasks.c.place)).where(tasks.c.round == ROUND)
TASKS = select(tasks).where(tasks.c.round == ROUND).order_by(tasks.c.place)
TAKEN = (
    select(assignments.c.task, func.count())
    .join(tasks, tasks.c.id == assignments.c.task)
    .where(tasks.c.round == ROUND, assignments.c.lease > NOW)
    .group_by(assignments.c.task)
)
OF_RATER = (
    select(assignments, tasks.c.kind, events.c.seq, events.c.ms)
    .join(tasks, tasks.c.id == assignments.c.task)
    .outerjoin(events, events.c.id == assignments.c.answer)
    .where(assignments.c.rater == RATER, tasks.c.round == ROUND)
)
LEND = assignments.insert()
LENT = (  # to others, who have not answered yet
    select(assignments.c.task)
    .join(tasks, tasks.c.id == assignments.c.task)
    .where(tasks.c.round == ROUND, tasks.c.repeat_of.is_(None), assignments.c.rater != RATER)
    .where(assignments.c.lease > NOW, assignments.c.lease < FOREVER)
)


# A task that a rater has: completions as shown, until when, the answer, whether it is revealed, the
# task's kind, the answer's number and time.
Assigned = namedtuple("Assigned", "task rater shown lease answer revealed kind seq ms")


class Queue:
    """The tasks of one round: who gets which, and how many are left.

    Tasks and texts never change, so they are read once. How many raters have each task is counted
    with every request; in a class (`beyond`) once a second, since there it only says which task is
    asked first.
    """

    def __init__(self, round: str):
        self.round = round
        self.size = (0, None)  # of the round, when `tasks` was read
        self.tasks = {}  # by id, in their order
        self.repeats = {}  # {task: its repeat}
        self.taken = Counter()  # {task: raters who have answered it, or still have time to}
        self.fewest = 0  # turns of the first in that order, as of the last count
        self.order = {}  # in which `first` are given, as of the last count
        self.counted = float("-inf")
        self.hidden = None  # the completions for which `visible` was made
        self.visible = {}
        self.first = {}  # of the visible ones, those that are no repeats
        self.texts = {}  # of prompts and completions, by id

    def give(self, c, rater: str, hidden: set[str], beyond: bool = False) -> dict:
        """Return what `Store.next_task` does for a rater who may have one."""
        now = time.time()
        until = now + LEASE
        self._read(c, hidden, now, beyond)
        mine = self._of(c, rater)
        found = (
            self._unanswered(mine, now, beyond)
            or self._repeats_of(mine, REPEAT_AFTER)
            or self._fresh(mine, beyond)
            or self._repeats_of(mine, 0)
        )
        if not found:
            who = {"for_rater": rater, "in_round": self.round, "now": now}
            lent = [] if beyond else c.scalars(LENT, who)
            waiting = any(id not in mine or not mine[id].answer for id in lent)
            return {"state": "waiting" if waiting else "done"}
        task = found[0]
        row = mine.get(task.id)
        if row is None:
            row = self._lend(c, rater, task, mine, until)
            mine[task.id] = row
        elif abs(until - row.lease) > LEASE / 10:  # not each time, for that writes to the disk
            lent = update(assignments).filter_by(task=task.id, rater=rater)
            c.execute(lent.values(lease=until))
            mine[task.id] = row._replace(lease=until)
        return self._shown(c, task, row.shown)

    def progress(self, c, rater: str, hidden: set[str], beyond: bool = False) -> dict:
        """Return what `Store.progress` does."""
        now = time.time()
        self._read(c, hidden, now, beyond)
        mine = self._of(c, rater)
        done = done_of(mine)
        answered = sum(row.answer is not None for row in mine.values())
        times = [row.ms / 1000 for row in done if row.ms is not None]
        if beyond:
            fresh = len(self.first) - sum(id in self.first for id in mine)
        else:
            fresh = sum(id not in mine and self._wanted(id, beyond) for id in self.first)
        begun = len(self._unanswered(mine, now, beyond)) + len(self._repeats_of(mine, 0))
        return {
            "done": len(done),
            "passed": answered - len(done),
            "left": begun + fresh,
            "seconds": median_high(times) if times else None,
        }

    def _read(self, c, hidden: set[str], now: float, beyond: bool) -> None:
        """Bring what is kept up to date."""
        size = c.info.get(("size", self.round))
        if size is None:
            size = tuple(c.execute(SIZE, {"in_round": self.round}).one())
            c.info["size", self.round] = size
        if size != self.size:
            found = c.execute(TASKS, {"in_round": self.round}).all()
            self.tasks = {task.id: task for task in found}
            self.repeats = {task.repeat_of: task for task in found if task.repeat_of}
            self.size, self.hidden = size, None
        if hidden != self.hidden:
            self.hidden = set(hidden)
            self.visible = {
                id: task
                for id, task in self.tasks.items()
                if not self.hidden.intersection(task.completions)
            }
            self.first = {id: task for id, task in self.visible.items() if not task.repeat_of}
            self.counted = float("-inf")
        if not beyond or now - self.counted > RECOUNT:
            rows = c.execute(TAKEN, {"in_round": self.round, "now": now}).all()
            self.taken = Counter(dict(rows))
            order = sorted(self.first, key=self._turns) if beyond else self.first
            self.order = dict.fromkeys(order)
            self.fewest = self._turns(order[0]) if beyond and order else 0
            self.counted = now

    def _of(self, c, rater: str) -> dict[str, Assigned]:
        """Return what this rater has of the round, by task."""
        rounds = c.info.setdefault(("rater", rater), {})
        if self.round not in rounds:
            rows = c.execute(OF_RATER, {"for_rater": rater, "in_round": self.round})
            rounds[self.round] = {row.task: Assigned(**row._mapping) for row in rows}
        return rounds[self.round]

    def _turns(self, id: str) -> int:
        """Return how often as many raters as are wanted have a task."""
        return self.taken[id] // (self.tasks[id].overlap or 1)

    def _wanted(self, id: str, beyond: bool, of_mine: int = 0) -> bool:
        """Return whether a task is to be had, `of_mine` raters of those who have it not counted."""
        overlap = self.tasks[id].overlap
        return beyond or overlap is None or self.taken[id] - of_mine < overlap

    def _unanswered(self, mine: dict, now: float, beyond: bool) -> list:
        """Return the tasks that were given to a rater and not answered, the last first."""
        begun = [row for row in mine.values() if row.task in self.visible and not row.answer]
        begun = [row for row in begun if self._wanted(row.task, beyond, of_mine=row.lease > now)]
        begun.sort(key=lambda row: row.lease, reverse=True)
        return [self.visible[row.task] for row in begun]

    def _fresh(self, mine: dict, beyond: bool) -> list:
        """Return the next task that a rater has not seen; in a class, one that fewest have."""
        best, least = [], float("inf")
        for id in self.order:
            if id in mine or not self._wanted(id, beyond):
                continue
            turns = self._turns(id) if beyond else 0
            if turns < least:
                best, least = [self.tasks[id]], turns
            if least <= self.fewest:
                return best
        self.fewest = least  # until the next count: all others were given meanwhile
        return best

    def _repeats_of(self, mine: dict, after: int) -> list:
        """Return the repeats due after so many answers, that of the oldest answer first."""
        done = sorted(done_of(mine), key=lambda row: row.seq)
        found = []
        for row in done[: max(len(done) - after, 0)]:
            again = self.repeats.get(row.task)
            if again and again.id not in mine and again.id in self.visible:
                found.append(again)
        return found

    def _lend(self, c, rater: str, task, mine: dict, until: float):
        """Write down that a rater has this task, and the order in which it is shown."""
        if task.repeat_of:
            shown = mine[task.repeat_of].shown[::-1]
        else:
            shown = SIDES.sample(task.completions, len(task.completions))
        row = {"task": task.id, "rater": rater, "shown": shown, "lease": until, "revealed": False}
        c.execute(LEND, row)
        turns = self._turns(task.id)
        self.taken[task.id] += 1
        if self._turns(task.id) > turns and task.id in self.order:  # behind those with fewer
            self.order[task.id] = self.order.pop(task.id)
        return Assigned(**row, answer=None, kind=task.kind, seq=None, ms=None)

    def _shown(self, c, task, shown: list[str]) -> dict:
        """Return what a rater may see of a task."""
        if not self.texts.keys() >= {task.prompt, *shown}:
            prompt = select(prompts.c.text).filter_by(id=task.prompt)
            self.texts |= texts_of(c, shown) | {task.prompt: c.execute(prompt).scalar()}
        answers = map(self.texts.get, shown)
        return {
            "state": "task",
            "task": task.id,
            "round": task.round,
            "kind": task.kind,
            "prompt": self.texts[task.prompt],
            "answers": [{"text": answer.text, "ended": answer.ended} for answer in answers],
        }


def done_of(mine: dict) -> list:
    """Return what a rater has judged, skips and flags left out."""
    return [row for row in mine.values() if row.answer and row.lease == FOREVER]
