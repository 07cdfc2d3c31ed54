"""The ratings store: who is asked what, and every answer, kept so that none is lost and none counts
twice.

Each method is one transaction. It returns after the commit is on the disk, or raises and has
written nothing: `Refused` where the request does not fit, OSError where the database failed. All
may be called from any thread and from many processes on one database.
"""

import os
import threading
import time
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.exc import DBAPIError

from rlhf_lessons import paths
from rlhf_lessons.feedback.payloads import (
    PASSES,
    Refused,
    Room,
    checked,
    checked_id,
    free_name,
    new_id,
    nickname,
    others,
    room_of,
    sound,
)
from rlhf_lessons.feedback.queue import LEASE, SIZE, Given, Queue, given_to, insert_tasks
from rlhf_lessons.feedback.schema import (
    BEGIN,
    FOREVER,
    assignments,
    completions,
    current_answers,
    events,
    in_short,
    open_engine,
    raters,
    shown,
)

DEFAULT = paths.RUNS / "ratings.sqlite3"
OF_RATER = (
    assignments.c.task == bindparam("of_task"),
    assignments.c.rater == bindparam("of_rater"),
)
ANSWERED = update(assignments).where(
    *OF_RATER, assignments.c.answer.is_not_distinct_from(bindparam("before"))
)
REVEALED = update(assignments).where(*OF_RATER)
SAY = events.insert()
EVENT = select(events).where(events.c.id == bindparam("event"))


def follow(c, *rows: dict) -> None:
    """Bring the assignments of these events' tasks and raters up to date.

    Of two answers to one task, from two copies of a file, the first stands: an answer counts where
    it replaces the current one, or where there is none.
    """
    answered = []
    for event in rows:
        changed = changes(event)
        of = {"of_task": event["task"], "of_rater": event["rater"], **changed}
        if "answer" in changed:
            answered.append(of | {"before": event["replaces"]})
        elif changed:
            c.execute(REVEALED, of)
    if answered:
        c.execute(ANSWERED, answered)


def changes(event: dict) -> dict:
    """Return the fields of an assignment that an event about its task and rater sets."""
    kind = event["kind"]
    if kind == "seal":
        return {}
    if kind == "reveal":
        return {"revealed": True}
    answer, until = event["id"], FOREVER
    if kind == "undo":
        answer, until = None, event["time"] + LEASE
    elif kind in PASSES:
        until = 0.0
    return {"answer": answer, "shown": event["shown"], "lease": until}


class Store:
    """A ratings database: a file's path, or a URL of SQLite or PostgreSQL. Its tables are made
    where there are none.

    With `readonly` it must be there, and can be counted and exported from a disk that cannot be
    written to.
    """

    def __init__(self, where: str | Path = DEFAULT, readonly: bool = False):
        self.where, self.readonly = where, readonly
        self.engine = open_engine(where, readonly)
        self.pid = os.getpid()
        self.local = threading.local()

    @contextmanager
    def _transaction(self, write: bool):
        if outer := getattr(self.local, "connection", None):
            yield outer
            return
        if self.pid != os.getpid():  # a forked process must not touch its parent's connections
            self.inherited = self.engine
            self.pid = os.getpid()
            self.engine = open_engine(self.where, self.readonly)
        try:
            with self.engine.connect() as c:
                # A writer takes the lock at once: if it read first, and the file then changed,
                # SQLite would refuse it without waiting, and its votes would be lost.
                c.exec_driver_sql(BEGIN[c.dialect.name][write])
                version = None
                if c.dialect.name == "sqlite":
                    version = write and c.exec_driver_sql("PRAGMA data_version").scalar()
                # Only SQLite tells whether others have changed anything since, and only who writes
                # can be sure that none does meanwhile: else what was read may no longer hold.
                info = c.info  # a lost connection would not give it
                if not version or version != info.get("version"):
                    queues = info.get("queues", {})  # see `_queue`
                    info.clear()
                    info["queues"] = queues
                info["version"] = version
                self.local.connection = c if write else None
                try:
                    yield c
                    c.commit()
                except BaseException:
                    info.clear()  # it may hold what was not committed
                    raise
        except (DBAPIError, JSONDecodeError) as error:
            raise OSError(
                f"{shown(self.where)}: the database failed ({in_short(error)})"
            ) from error
        finally:
            self.local.connection = None

    def write(self):
        """A transaction that writes: one at a time in all processes; the others wait.

        Calls inside `with store.write():` share it: one commit for all, such as an answer and the
        next task. What was read stays in the connection's `info`, as long as it holds.
        """
        return self._transaction(write=True)

    def read(self):
        """A transaction that sees one moment of the database, whatever others write meanwhile."""
        return self._transaction(write=False)

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()

    # Raters

    def add_rater(self, name: str, team: str = "", kind: str = "person") -> str:
        """Add a rater and return the id. A second Alice of the same kind is called `Alice 2`."""
        name, team = nickname(name), nickname(team, "team", empty=True)
        with self.write() as c:
            free = free_name(name, c.scalars(select(raters.c.name).filter_by(kind=kind)))
            row = dict(id=new_id(), name=free, team=team, kind=kind)
            c.execute(raters.insert(), row)
        return row["id"]

    def reader(self, name: str = "you", team: str = "", kind: str = "person") -> str:
        """Return the id of the one rater of this name and kind, added where there is none: for a
        notebook.
        """
        with self.write() as c:
            found = select(raters.c.id).filter_by(name=nickname(name), kind=kind)
            return c.scalar(found) or self.add_rater(name, team, kind)

    def raters(self, **only: str) -> list[dict]:
        """Return all raters, or `only` those of an id or kind: id, name, team, kind, hidden."""
        hidden = self.room().hidden
        with self.read() as c:
            rows = c.execute(select(raters).filter_by(**only)).all()
        return [row._asdict() | {"hidden": row.id in hidden} for row in rows]

    # Tasks

    def add_tasks(self, round: str, rows: list[dict], repeats: float = 0.0) -> list[str]:
        """Add tasks to a round and return their ids; the same tasks added again change nothing.

        A row is {"kind", "prompt", "completions": [{"text", "ended", "model", "reward"}, ...]}; of
        a completion only the text is needed. Beside them, where wanted: "overlap" (raters wanted,
        None for all; 1 by default), "source" (why it was chosen). Pairs and rankings with
        near-identical answers are left out. A share `repeats` of the pairs comes again later, sides
        swapped.
        """
        with self.write() as c:
            return insert_tasks(c, round, rows, repeats)

    def next_task(self, rater: str, round: str, beyond: bool = False) -> dict:
        """Return the task that this rater is to do now, and keep it for the rater for some minutes.

        {"state": "task", "task": id, "round", "kind", "prompt", "answers": [{"text", "ended"}] in
        the order to show them}; or only a state: "paused" by the teacher, "removed" (this rater),
        "waiting" (what is left is with others, who may not come back: ask again in some seconds),
        "done". Asked again before the answer, it returns the same task in the same order. In a
        class, `beyond`, tasks that have all the raters wanted are given too, once there are no
        others, so that nobody runs out.
        """
        with self.write() as c:
            if not given_to(c, checked_id(rater)):
                if not c.scalar(select(raters.c.id).filter_by(id=rater)):
                    raise Refused("this store knows no such rater: join again")
            room = self.room()
            if rater in room.hidden:
                return {"state": "removed"}
            if room.states.get(round) == "paused":
                return {"state": "paused"}
            return self._queue(c, round, beyond).give(c, rater)

    def _queue(self, c, round: str, beyond: bool) -> Queue:
        """Return a round's tasks, read again if others have added some or hidden a text."""
        if ("made of", round) not in c.info:
            n = c.scalar(SIZE, {"in_round": round})
            c.info["made of", round] = n, self.room().hidden
        made_of, of = c.info["made of", round], (round, beyond)
        queues = c.info.setdefault("queues", {})
        if of not in queues or queues[of].made_of != made_of:
            queues[of] = Queue(c, *of, made_of)
        return queues[of]

    # Answers

    def answer(
        self,
        rater: str,
        task: str,
        kind: str,
        payload: dict,
        id: str,
        ms: int | None = None,
        replaces: str | None = None,
        ui: str = "",
    ) -> int:
        """Record a vote (a judgement, "skip" or "flag"); return its number once it is on the disk.

        `kind` and `payload` are those of `payloads`, places as shown. `id` is made once by the
        sender: the same call again returns the same number. `ms` is the time from showing to
        answering. To change an answer that is not revealed, name its id in `replaces`. Refused
        where the task was never given to this rater, was answered already, or was revealed.
        """
        with self.write() as c:
            if before := self._before(c, id, rater, kind, task):
                return before
            given = self._given(c, rater, task)
            if kind not in (given.kind, *PASSES) and (kind, given.kind) != ("hands", "pair"):
                raise Refused(f"this task asks for a {given.kind}, not for a {kind}")
            kept = checked(kind, payload, len(given.shown))
            if rater in self.room().hidden:
                raise Refused(
                    "the teacher has removed you from this class, so this answer was not recorded"
                )
            if given.revealed:
                raise Refused("this task was revealed, so its answer can no longer be changed")
            if given.answer != replaces:
                raise Refused(
                    "you have answered this task already: undo that answer or change it"
                    if given.answer
                    else "the answer that this one replaces was undone, or was never given"
                )
            if ms is not None and ms not in range(2**31):
                raise Refused(f"'ms' must be a whole number of milliseconds, not {ms!r:.40}")
            return self._record(c, kind, id, kept, given, ms=ms, replaces=replaces, ui=ui)

    def undo(self, rater: str, round: str, id: str) -> int:
        """Take back the rater's last answer in a round; the task comes again. Refused once it is
        revealed.
        """
        with self.write() as c:
            if before := self._before(c, id, rater, "undo"):
                return before
            found = reversed(given_to(c, checked_id(rater)).values())
            last = next((row for row in found if row.answer and row.round == round), None)
            if not last:
                raise Refused("there is nothing to undo")
            if last.revealed:
                raise Refused("your last answer was revealed, so it can no longer be undone")
            return self._record(c, "undo", id, {}, last, replaces=last.answer)

    def reveal(self, rater: str, task: str, id: str) -> dict:
        """Lock the rater's answer and return what was hidden until now, in the order shown.

        {"seq", "models": [names], "rewards": [numbers or None], "others": what other raters said
        (`payloads.others`)}.
        """
        with self.write() as c:
            before = self._before(c, id, rater, "reveal", task)
            given = self._given(c, rater, task)
            said = self.answers(task=task)
            mine = next((row for row in said if row["rater"] == rater), None)
            if not mine:
                raise Refused("answer first: the models are shown after that")
            return {
                "seq": before or self._record(c, "reveal", id, {}, given),
                "models": [one["model"] for one in mine["answers"]],
                "rewards": [one["reward"] for one in mine["answers"]],
                "others": others(mine, said),
            }

    def seal(self, rater: str, task: str, left: float) -> int:
        """Record a guess at the rater's vote before it is given, P(the answer shown left is
        preferred), and return its number.

        The first guess on a task counts; later calls return its number. Refused once the rater has
        answered.
        """
        with self.write() as c:
            given = self._given(c, rater, task)
            first = c.scalar(select(events.c.seq).filter_by(kind="seal", rater=rater, task=task))
            if given.answer and not first:
                raise Refused("the rater has answered already: a guess must come before")
            return first or self._record(
                c, "seal", new_id(), checked("seal", {"left": left}), given
            )

    def seals(self, rater: str) -> dict[str, float]:
        """Return the guesses sealed on a rater's votes: {task: P(left is preferred)}."""
        with self.read() as c:
            said = select(events.c.task, events.c.payload).filter_by(kind="seal", rater=rater)
            # The first of each task comes last, and stays
            said = c.execute(said.order_by(events.c.seq.desc()))
            return {task: payload["left"] for task, payload in said}

    @staticmethod
    def _before(c, id: str, rater: str, kind: str, task: str | None = None) -> int | None:
        """Return the number of the event of this id, if it was recorded before; Refused where it is
        another's.
        """
        row = c.execute(EVENT, {"event": checked_id(id)}).first()
        if row and ((row.rater, row.kind) != (rater, kind) or task and row.task != task):
            raise Refused("this id belongs to another event: make a new one for each")
        return row and row.seq

    @staticmethod
    def _given(c, rater: str, task: str) -> Given:
        given = given_to(c, checked_id(rater)).get(checked_id(task))
        if not given:
            raise Refused("this task was not given to this rater: ask for the next task")
        return given

    def _record(self, c, kind: str, id: str, payload: dict, given=None, **more) -> int:
        """Add an event, about the room or a rater's task, and what follows; return its number."""
        row = dict(id=id, time=time.time(), kind=kind, payload=payload, replaces=None, ui="") | more
        if given:
            row |= dict(rater=given.rater, task=given.task, shown=given.shown)
            follow(c, row)
            mine, changed = given_to(c, given.rater), changes(row)
            if "answer" in changed:
                del mine[given.task]  # what was answered last stands last
            mine[given.task] = given._replace(ms=row.get("ms", given.ms), **changed)
        else:
            c.info.clear()
        return c.execute(SAY, row).inserted_primary_key[0]

    # The room: what the teacher and the trainer say

    def say(self, kind: str, /, **payload) -> int:
        """Add an event about the room itself, and return its number.

        ("round", round=name, state="open"), or "paused"; the last one named is the current round.
        ("hide", id=of a rater or a completion, hidden=True): offered no more, left out of exports
        and statistics. ("report", anything=...): what a trainer tells the room, such as its
        accuracy. ("forget", rater=..., events=...): somebody was deleted.
        """
        with self.write() as c:
            return self._record(c, kind, new_id(), checked(kind, payload))

    def room(self) -> Room:
        """Return (hidden ids, {round: "open" or "paused"}, the round last opened or paused)."""
        with self.read() as c:
            if "room" not in c.info:
                said = select(events).where(events.c.kind.in_(("hide", "round")))
                c.info["room"] = room_of(c.execute(said.order_by(events.c.seq)))
            return c.info["room"]

    # Reading

    def progress(self, rater: str, round: str, beyond: bool = False) -> dict:
        """Return {"done", "passed", "left", "seconds"}: tasks answered, skipped or flagged, still
        there for this rater, and the median seconds an answer took (None before the first).
        """
        with self.read() as c:
            return self._queue(c, round, beyond).progress(c, rater)

    def last(self) -> int:
        """Return the number of the last event: has anything happened since then?"""
        with self.read() as c:
            return c.scalar(select(func.max(events.c.seq))) or 0

    def answers(self, round: str | None = None, **only: str) -> list[dict]:
        """Return current answers (not undone, not replaced), the oldest first, skips and flags
        among them: all, or those on a round, and `only` those by a rater or to a task.

        Each is {"seq", "id", "time", "kind", "payload", "ms", "ui", "rater", "name", "team",
        "rater_kind", "task", "round", "task_kind", "prompt", "source", "repeat_of", "answers":
        [{"id", "text", "ended", "model", "reward"}] in the order shown, "hidden": whether the rater
        or a text is hidden}.
        """
        answers = select(current_answers).filter_by(**only).order_by("seq")
        if round is not None:
            answers = answers.filter_by(round=round)
        texts = select(completions)
        hidden = self.room().hidden
        with self.read() as c:
            rows = [row._asdict() for row in c.execute(answers) if sound(row)]
            if only:  # few: no need to read all
                ids = {id for row in rows for id in row["shown"] or ()}
                texts = texts.where(completions.c.id.in_(ids))
            texts = {row.id: row._asdict() for row in c.execute(texts)}
        found = []
        for row in rows:
            ids = row["shown"] or ()
            if texts.keys() >= set(ids):
                is_hidden = bool(hidden & {row["rater"], *ids})
                found.append(row | {"answers": [texts[id] for id in ids], "hidden": is_hidden})
        return found
