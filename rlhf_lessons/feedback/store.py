"""The ratings store: who is asked what, and every answer, kept so that none is lost and none counts
twice.

Each method is one transaction. It returns after the commit is on the disk, or raises and has
written nothing: `Refused` where the request does not fit, OSError where the database failed. All
may be called from any thread and from many processes on one database.
"""

import os
import threading
import time
from collections import namedtuple
from contextlib import closing, contextmanager
from json import JSONDecodeError
from pathlib import Path

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import DBAPIError

from rlhf_lessons import paths
from rlhf_lessons.feedback import reading
from rlhf_lessons.feedback.payloads import (
    NAME,
    PASSES,
    Refused,
    checked,
    checked_id,
    fit,
    new_id,
    nickname,
    plain,
    sound,
)
from rlhf_lessons.feedback.queue import (
    LEASE,
    Queue,
    changes,
    follow,
    insert_tasks,
    known,
    task_rows,
)
from rlhf_lessons.feedback.schema import (
    assignments,
    events,
    in_short,
    open_engine,
    raters,
    shown,
    tasks,
)

DEFAULT = paths.RUNS / "ratings.sqlite3"
GIVEN = select(assignments, tasks.c.kind).join(tasks, tasks.c.id == assignments.c.task)
OF_RATER = GIVEN.where(
    assignments.c.task == bindparam("of_task"), assignments.c.rater == bindparam("of_rater")
)
SAY = events.insert()
EVENT = select(events).where(events.c.id == bindparam("event"))
# Ids of hidden raters and completions, {round: state}, the current round
Room = namedtuple("Room", "hidden states current")


def keep_known(c, write: bool) -> None:
    """Forget at the start of a transaction what another connection may have changed.

    Only SQLite tells whether any has; and only who writes can be sure that none does meanwhile.
    """
    version = None
    if write and c.dialect.name == "sqlite":
        version = c.exec_driver_sql("PRAGMA data_version").scalar()
    if version is None or version != c.info.get("version"):
        known(c).clear()
    c.info["version"] = version


class Store:
    """A ratings database: a file's path, or a URL that SQLAlchemy knows. It is made where there is
    none.

    With `readonly` it must be there, and can be counted and exported from a disk that cannot be
    written to.
    """

    def __init__(self, where: str | Path = DEFAULT, readonly: bool = False):
        self.where, self.readonly = where, readonly
        self.engine = open_engine(where, readonly)
        self.pid = os.getpid()
        self.local = threading.local()
        self.queues = {}

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
            with self.engine.execution_options(write=write).begin() as c:
                self.local.connection = c if write else None
                keep_known(c, write)
                try:
                    yield c
                except BaseException:
                    known(c).clear()
                    raise
        except (DBAPIError, JSONDecodeError) as error:
            raise OSError(
                f"{shown(self.where)}: the database failed ({in_short(error)})"
            ) from error
        finally:
            self.local.connection = None

    def _room(self, c) -> Room:
        """Return what `room` does."""
        if "room" in known(c):
            return known(c)["room"]
        hidden, states, current = set(), {}, None
        said = select(events).where(events.c.kind.in_(("hide", "round"))).order_by(events.c.seq)
        for row in c.execute(said):
            if not sound(row):
                continue
            if row.kind == "round":
                current = row.payload["round"]
                states[current] = row.payload["state"]
            elif row.payload["hidden"]:
                hidden.add(row.payload["id"])
            else:
                hidden.discard(row.payload["id"])
        known(c)["room"] = Room(hidden, states, current)
        return known(c)["room"]

    def write(self):
        """A transaction that writes: one at a time in all processes; the others wait.

        Calls inside `with store.write():` share it: one commit for all, such as an answer and the
        next task.
        """
        return self._transaction(write=True)

    def read(self):
        """A transaction that sees one moment of the database, whatever others write meanwhile."""
        return self._transaction(write=False)

    def unwiped(self, c, begin: bool = False) -> bool:
        """Return whether deleted text may still be found in the file's journal; with `begin`, note
        that it may.

        The note is a number in the file's head, so that it outlives this program.
        """
        if self.engine.dialect.name != "sqlite":
            return False
        if begin:
            c.exec_driver_sql("PRAGMA user_version=1")
        return c.exec_driver_sql("PRAGMA user_version").scalar() == 1

    def wipe(self) -> bool:
        """Write the journal back into the file and empty it; return False while another program
        reads the file.
        """
        if self.engine.dialect.name != "sqlite":
            return True
        with closing(self.engine.raw_connection()) as c:  # outside of any transaction
            c.execute("PRAGMA busy_timeout=3000")
            busy, *_ = c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                c.execute("PRAGMA user_version=0")
            c.execute("PRAGMA busy_timeout=30000")
        return not busy

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()

    # Raters

    def add_rater(self, name: str, team: str = "", kind: str = "person") -> str:
        """Add a rater and return the id. A second Alice of the same kind is called `Alice 2`."""
        name, team = nickname(name), plain(team, "team", NAME, empty=True)
        with self.write() as c:
            same_kind = c.scalars(select(raters.c.name).filter_by(kind=kind))
            taken = {other.casefold() for other in same_kind}
            free, n = name, 1
            while free.casefold() in taken:
                n += 1
                free = f"{name[: NAME - len(str(n)) - 1]} {n}"
            id = new_id()
            c.execute(raters.insert(), dict(id=id, name=free, team=team, kind=kind))
        return id

    def reader(self, name: str = "you", team: str = "", kind: str = "person") -> str:
        """Return the id of the one rater of this name and kind, added where there is none: for a
        notebook.
        """
        with self.write() as c:
            found = c.scalar(select(raters.c.id).filter_by(name=nickname(name), kind=kind))
            return found or self.add_rater(name, team, kind)

    def raters(self) -> list[dict]:
        """Return all raters: id, name, team, kind, hidden."""
        with self.read() as c:
            hidden = self._room(c).hidden
            return [
                row._asdict() | {"hidden": row.id in hidden} for row in c.execute(select(raters))
            ]

    # Tasks

    def add_tasks(self, round: str, rows: list[dict], repeats: float = 0.0) -> list[str]:
        """Add tasks to a round and return their ids; the same tasks added again change nothing.

        A row is {"kind", "prompt", "completions": [{"text", "ended", "model", "reward"}, ...]}; of
        a completion only the text is needed. Beside them, where wanted: "overlap" (raters wanted,
        None for all; 1 by default), "source" (why it was chosen). Pairs and rankings with
        near-identical answers are left out. A share `repeats` of the pairs comes again later, sides
        swapped.
        """
        found = [made for row in rows for made in task_rows(round, row, repeats)]
        with self.write() as c:
            known(c).clear()
            insert_tasks(c, round, found)
        return [task["id"] for task, _, _ in found if not task["repeat_of"]]

    def _queue(self, round: str) -> Queue:
        return self.queues.setdefault(round, Queue(round))

    def next_task(self, rater: str, round: str, lease: float = LEASE, beyond: bool = False) -> dict:
        """Return the task that this rater is to do now, and keep it for the rater for `lease`
        seconds.

        {"state": "task", "task": id, "round", "kind", "prompt", "answers": [{"text", "ended"}] in
        the order to show them}; or only a state: "paused" by the teacher, "removed" (this rater),
        "waiting" (what is left is with others, who may not come back: ask again in some seconds),
        "done". Asked again before the answer, it returns the same task in the same order. In a
        class, `beyond`, tasks that have all the raters wanted are given too, once there are no
        others, so that nobody runs out.
        """
        with self.write() as c:
            there = known(c).setdefault("raters", set())
            if checked_id(rater) not in there:
                if not c.scalar(select(raters.c.id).filter_by(id=rater)):
                    raise Refused("this store knows no such rater: join again")
                there.add(rater)
            room = self._room(c)
            if rater in room.hidden:
                return {"state": "removed"}
            if room.states.get(round) == "paused":
                return {"state": "paused"}
            return self._queue(round).give(c, rater, room.hidden, lease, beyond)

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
            if before := self._before(c, id, rater, task, kind):
                return before.seq
            given = self._given(c, rater, task)
            if kind not in (given.kind, *PASSES) and (kind, given.kind) != ("hands", "pair"):
                raise Refused(f"this task asks for a {given.kind}, not for a {kind}")
            kept = checked(kind, payload, len(given.shown))
            if rater in self._room(c).hidden:
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
            return self._record(c, given, kind, id, kept, ms=ms, replaces=replaces, ui=ui)

    def undo(self, rater: str, round: str, id: str, ui: str = "") -> int:
        """Take back the rater's last answer in a round; the task comes again. Refused once it is
        revealed.
        """
        with self.write() as c:
            if before := self._before(c, id, rater, None, "undo"):
                return before.seq
            last = c.execute(
                GIVEN.join(events, events.c.id == assignments.c.answer)
                .where(tasks.c.round == round, assignments.c.rater == checked_id(rater))
                .order_by(events.c.seq.desc())
            ).first()
            if last is None:
                raise Refused("there is nothing to undo")
            if last.revealed:
                raise Refused("your last answer was revealed, so it can no longer be undone")
            return self._record(c, last, "undo", id, {}, replaces=last.answer, ui=ui)

    def reveal(self, rater: str, task: str, id: str, ui: str = "") -> dict:
        """Lock the rater's answer and return what was hidden until now, in the order shown.

        {"seq", "models": [names], "rewards": [numbers or None], "others": what other raters said
        (`others`)}.
        """
        with self.write() as c:
            before = self._before(c, id, rater, task, "reveal")
            given = self._given(c, rater, task)
            if not given.answer:
                raise Refused("answer first: the models are shown after that")
            seq = before.seq if before else self._record(c, given, "reveal", id, {}, ui=ui)
            return {"seq": seq, **reading.hidden_side(c, given, self._room(c).hidden)}

    def seal(self, rater: str, task: str, left: float, id: str) -> int:
        """Record a guess at the rater's vote before it is given: P(the answer shown left is
        preferred).

        The first guess on a task counts; later calls return its number. Refused once the rater has
        answered.
        """
        with self.write() as c:
            self._before(c, id, rater, task, "seal")
            kept = checked("seal", {"left": left})
            given = self._given(c, rater, task)
            first = select(events.c.seq).filter_by(kind="seal", rater=rater, task=task)
            sealed = c.scalar(first)
            if not sealed and given.answer:
                raise Refused("the rater has answered already: a guess must come before")
            return sealed or self._record(c, given, "seal", id, kept)

    def seals(self, rater: str, round: str) -> dict[str, float]:
        """Return the guesses sealed on a rater's votes in a round: {task: P(left is preferred)}."""
        with self.read() as c:
            said = reading.of_round(select(events.c.task, events.c.payload), round)
            said = said.filter(events.c.kind == "seal", events.c.rater == rater)
            # The first of each task comes last, and stays
            rows = c.execute(said.order_by(events.c.seq.desc()))
            return {task: payload["left"] for task, payload in rows}

    @staticmethod
    def _before(c, id: str, rater: str | None, task: str | None, kind: str):
        """Return the event of this id, if it was recorded before; Refused where it is another's."""
        row = c.execute(EVENT, {"event": checked_id(id)}).first()
        if row and (row.rater != rater or row.kind != kind or task and row.task != task):
            raise Refused("this id belongs to another event: make a new one for each")
        return row

    @staticmethod
    def _given(c, rater: str, task: str):
        whose = {"of_task": checked_id(task), "of_rater": checked_id(rater)}
        for mine in known(c).get(("rater", rater), {}).values():
            if task in mine:
                return mine[task]
        row = c.execute(OF_RATER, whose).first()
        if row is None:
            raise Refused("this task was not given to this rater: ask for the next task")
        return row

    def _record(
        self, c, given, kind: str, id: str, payload: dict, ms=None, replaces=None, ui=""
    ) -> int:
        """Add an event about a rater's task, and what follows from it, and return its number."""
        row = dict(
            id=id,
            time=time.time(),
            kind=kind,
            rater=given.rater,
            task=given.task,
            payload=payload,
            shown=given.shown,
            replaces=replaces,
            ms=None if ms is None else fit(ms, range(2**31), "ms"),
            ui=ui,
        )
        follow(c, row)
        seq = c.execute(SAY, row).inserted_primary_key[0]
        changed = changes(row)
        if "answer" in changed:
            changed |= {"seq": seq, "ms": row["ms"]}
        for mine in known(c).get(("rater", given.rater), {}).values():
            if given.task in mine:
                mine[given.task] = mine[given.task]._replace(**changed)
        return seq

    # The room: what the teacher and the trainer say

    def say(self, kind: str, payload: dict) -> int:
        """Add an event about the room itself (round, hide, report, forget); return its number."""
        row = dict(id=new_id(), time=time.time(), kind=kind, payload=checked(kind, payload), ui="")
        with self.write() as c:
            known(c).clear()
            return c.execute(events.insert(), row).inserted_primary_key[0]

    def set_round(self, round: str, state: str = "open") -> int:
        """Open a round, which makes it the current one, or pause it: "open" or "paused"."""
        return self.say("round", {"round": round, "state": state})

    def hide(self, id: str, hidden: bool = True) -> int:
        """Take a rater or a completion out (or back in): offered no more, left out of exports and
        statistics.
        """
        return self.say("hide", {"id": id, "hidden": hidden})

    def report(self, payload: dict) -> int:
        """Tell the room something, such as a trainer its accuracy: any JSON object."""
        return self.say("report", payload)

    def reports(self, after: int = 0) -> list[dict]:
        """Return the reports with numbers above `after`, the oldest first: {"seq", "time",
        **payload}.
        """
        with self.read() as c:
            said = select(events).where(events.c.kind == "report", events.c.seq > after)
            rows = c.execute(said.order_by(events.c.seq))
            return [{**row.payload, "seq": row.seq, "time": row.time} for row in rows if sound(row)]

    def room(self) -> Room:
        """Return (hidden ids, {round: "open" or "paused"}, the round last opened or paused)."""
        with self.read() as c:
            return self._room(c)

    # Reading

    def progress(self, rater: str, round: str, beyond: bool = False) -> dict:
        """Return {"done", "passed", "left", "seconds"}: tasks answered, skipped or flagged, still
        there for this rater, and the median seconds an answer took (None before the first).
        """
        with self.read() as c:
            return self._queue(round).progress(c, rater, self._room(c).hidden, beyond)

    def last(self, round: str | None = None) -> int:
        """Return the number of the last event (of a round): has anything happened since then?"""
        with self.read() as c:
            return c.scalar(reading.of_round(select(func.max(events.c.seq)), round)) or 0

    def answers(self, round: str | None = None, rater: str | None = None) -> list[dict]:
        """Return current answers (not undone, not replaced), the oldest first, skips and flags
        among them: all, or those on a round, or by a rater.

        Each is {"seq", "id", "time", "kind", "payload", "ms", "ui", "rater", "name", "team",
        "rater_kind", "task", "round", "task_kind", "prompt", "source", "repeat_of", "answers":
        [{"id", "text", "ended", "model", "reward"}] in the order shown, "hidden": whether the rater
        or a text is hidden}.
        """
        with self.read() as c:
            return reading.read_answers(c, self._room(c).hidden, round, rater)
