"""The ratings store: who is asked what, and every answer, kept so that none is lost and none counts twice.

Each method is one transaction. It returns after the commit is on the disk, or raises and has written nothing. All
may be called from any thread and from many processes on one database.
"""
import json
import os
import threading
import time
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from rlhf_lessons.ratings.judgements import PASSES, Refused, checked, checked_id, favourite, new_id, plain, whole
from rlhf_lessons.ratings.queue import GUIDELINE, RATER, ROUND, TEXTS, WITH_OTHERS, choose, lend, storable, task_rows
from rlhf_lessons.ratings.reading import others, read_answers
from rlhf_lessons.ratings.schema import (
    FOREVER,
    assignments,
    completions,
    events,
    guidelines,
    key,
    open_engine,
    prompts,
    raters,
    tasks,
)

DEFAULT = Path(os.environ.get("RLHF_LESSONS_RUNS", Path(__file__).parents[2] / "runs")) / "ratings.sqlite3"
LEASE = 300  # seconds for which a task waits for the rater who was given it
KNOWN = select(raters.c.id).where(raters.c.id == RATER)
BEFORE = select(events).where(events.c.id == bindparam("id"))
GIVEN = (select(assignments, tasks.c.kind, tasks.c.gold, tasks.c.completions)
         .join(tasks, tasks.c.id == assignments.c.task)
         .where(assignments.c.task == bindparam("of_task"), assignments.c.rater == RATER))
LAST = (select(assignments).join(tasks, tasks.c.id == assignments.c.task)
        .join(events, events.c.id == assignments.c.answer)
        .where(tasks.c.round == ROUND, assignments.c.rater == RATER).order_by(events.c.seq.desc()).limit(1))
CHANGE = (update(assignments).where(assignments.c.task == bindparam("of_task"), assignments.c.rater == RATER)
          .values({name: bindparam(f"new_{name}") for name in ("lease", "answer", "revealed")}))
ROOM = select(events.c.kind, events.c.payload).where(events.c.kind.in_(("hide", "round"))).order_by(events.c.seq)
Room = namedtuple("Room", "hidden states current")  # ids of hidden raters and completions, {round: state}, round


def insert_new(connection, table, rows: list[dict]) -> None:
    """Insert the rows whose key is new; leave alone those that are there."""
    if rows:
        dialect = {"sqlite": sqlite, "postgresql": postgresql}[connection.dialect.name]
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


class Store:
    """A ratings database: a file's path, or a URL that SQLAlchemy knows. It is made where there is none."""

    def __init__(self, where: str | Path = DEFAULT):
        self.where, self.pid, self.local = where, os.getpid(), threading.local()
        self.engine = open_engine(where)

    def _engine(self):
        if self.pid != os.getpid():  # a forked process must not use, nor close, its parent's connections
            self.inherited, self.engine, self.pid = self.engine, open_engine(self.where), os.getpid()
        return self.engine

    @contextmanager
    def write(self):
        """A transaction that writes: one at a time in all processes; the others wait.

        Calls inside `with store.write():` share it: one commit for all, such as an answer and the next task.
        """
        if outer := getattr(self.local, "connection", None):
            yield outer
            return
        with self._engine().execution_options(write=True).begin() as connection:
            self.local.connection = connection
            try:
                yield connection
            finally:
                self.local.connection = None

    @contextmanager
    def read(self):
        """A transaction that sees one moment of the database, whatever others write meanwhile."""
        if outer := getattr(self.local, "connection", None):
            yield outer
            return
        with self._engine().connect() as connection:
            yield connection

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()

    # Raters

    def add_rater(self, name: str, team: str = "", kind: str = "person") -> str:
        """Add a rater and return the id. Two raters may have the same name."""
        row = dict(id=new_id(), name=plain(name, "name"), team=plain(team, "name", empty=True), kind=kind)
        with self.write() as c:
            c.execute(raters.insert(), row)
        return row["id"]

    def reader(self, name: str = "you") -> str:
        """Return the id of the one rater of this name, added where there is none: for a notebook of one's own."""
        with self.write() as c:
            found = c.execute(select(raters.c.id).where(raters.c.name == name, raters.c.kind == "person")).scalar()
            row = dict(id=found or new_id(), name=plain(name, "name"), team="", kind="person")
            insert_new(c, raters, [row])
        return row["id"]

    def raters(self) -> list[dict]:
        """Return all raters: id, name, team, kind, hidden."""
        with self.read() as c:
            hidden = self._room(c).hidden
            return [row._asdict() | {"hidden": row.id in hidden} for row in c.execute(select(raters))]

    # Tasks

    def add_tasks(self, round: str, rows: list[dict], repeats: float = 0.0) -> list[str]:
        """Add tasks to a round and return their ids; the same tasks added again change nothing.

        A row is {"kind", "prompt", "completions": [{"text", "ended", "model", "reward"}, ...]}; of a completion only
        the text is needed. Beside them, where wanted: "overlap" (raters wanted, None for all; 1 by default), "gold"
        ({"best": place, "why": text}), "source", "priority" (higher comes first). Pairs and rankings with
        near-identical answers are left out. A share `repeats` of the pairs comes again later, sides swapped.
        """
        found = [made for row in rows for made in task_rows(round, row, repeats)]
        with self.write() as c:
            place = c.execute(select(func.max(tasks.c.place)).where(tasks.c.round == round)).scalar() or 0
            for n, (task, prompt, answers) in enumerate(found, 1):
                insert_new(c, prompts, [prompt])
                insert_new(c, completions, answers)
                insert_new(c, tasks, [task | {"place": place + n}])
        return [task["id"] for task, _, _ in found if not task["repeat_of"]]

    def next_task(self, rater: str, round: str, lease: float = LEASE) -> dict:
        """Return the task that this rater is to do now, and keep it for the rater for `lease` seconds.

        {"state": "task", "task": id, "kind", "prompt", "answers": [{"text", "ended"}] in the order to show them,
        "guideline"}; or only a state: "paused" by the teacher, "removed" (this rater), "waiting" (what is left is
        with others, who may not come back: ask again in some seconds), "done". Asked again before the answer, it
        returns the same task in the same order.
        """
        with self.write() as c:
            room, now = self._room(c), time.time()
            self._rater(c, rater)
            if rater in room.hidden:
                return {"state": "removed"}
            if room.states.get(round) == "paused":
                return {"state": "paused"}
            if task := next(choose(c, rater, round, room.hidden), None):
                return lend(c, rater, task, now + lease)
            left = c.execute(WITH_OTHERS, {"for_rater": rater, "in_round": round, "now": now})
            return {"state": "waiting" if any(room.hidden.isdisjoint(row.completions) for row in left) else "done"}

    # Answers

    def answer(self, rater: str, task: str, kind: str, payload: dict, id: str, ms: int | None = None,
               replaces: str | None = None, ui: str = "") -> int:
        """Record a judgement, "skip" or "flag", and return its number once it is safe on the disk.

        `kind` and `payload` are those of `judgements`, places as shown. `id` is made once by the sender: the same
        call again returns the same number. `ms` is the time from showing to answering. To change an answer that is
        not revealed, name its id in `replaces`. Refused where the task was never given to this rater, was answered
        already, or was revealed.
        """
        with self.write() as c:
            if before := self._before(c, id, rater, task, kind):
                return before.seq
            given = self._given(c, rater, task)
            if kind not in (given.kind, *PASSES) and (kind, given.kind) != ("hands", "pair"):
                raise Refused(f"this task asks for a {given.kind}, not for a {kind}")
            kept = checked(kind, payload, len(given.shown))
            if rater in self._room(c).hidden:
                raise Refused("the teacher has removed you from this class, so this answer was not recorded")
            if given.revealed:
                raise Refused("this task was revealed, so its answer can no longer be changed")
            if given.answer != replaces:
                raise Refused("you have answered this task already: undo that answer or change it" if given.answer
                              else "the answer that this one replaces was undone, or was never given")
            lease = 0 if kind in PASSES else FOREVER
            return self._record(c, given, kind, id, kept, answer=id, lease=lease, ms=ms, replaces=replaces, ui=ui)

    def undo(self, rater: str, round: str, id: str, ui: str = "") -> int:
        """Take back the rater's last answer in a round; the task comes again. Refused once it is revealed."""
        with self.write() as c:
            if before := self._before(c, id, rater, None, "undo"):
                return before.seq
            last = c.execute(LAST, {"for_rater": checked_id(rater), "in_round": round}).first()
            if last is None:
                raise Refused("there is nothing to undo")
            if last.revealed:
                raise Refused("your last answer was revealed, so it can no longer be undone")
            return self._record(c, last, "undo", id, {}, answer=None, lease=time.time() + LEASE, ui=ui,
                                replaces=last.answer)

    def reveal(self, rater: str, task: str, id: str, ui: str = "") -> dict:
        """Lock the rater's answer and return what was hidden until now, in the order shown.

        {"seq", "models": [names], "rewards": [numbers or None], "others": what other raters said (`reading.others`),
        "gold": None or {"best": place, "right": whether the rater chose it, "why": explanation}}.
        """
        with self.write() as c:
            before, given = self._before(c, id, rater, task, "reveal"), self._given(c, rater, task)
            if not given.answer:
                raise Refused("answer first: the models are shown after that")
            seq = before.seq if before else self._record(c, given, "reveal", id, {}, revealed=True, ui=ui)
            rows = {row.id: row for row in c.execute(TEXTS, {"ids": given.shown})}
            if gold := given.gold:
                best = given.shown.index(given.completions[gold["best"]])
                said = c.execute(BEFORE, {"id": given.answer}).first().payload
                gold = {"best": best, "right": favourite(said) == best, "why": gold.get("why", "")}
            return {"seq": seq, "models": [rows[i].model for i in given.shown],
                    "rewards": [rows[i].reward for i in given.shown],
                    "others": others(c, given, self._room(c).hidden), "gold": gold}

    def _rater(self, c, rater: str) -> None:
        if c.execute(KNOWN, {"for_rater": checked_id(rater)}).first() is None:
            raise Refused("this store knows no such rater: join again")

    @staticmethod
    def _before(c, id: str, rater: str | None, task: str | None, kind: str):
        """Return the event of this id, where it was recorded before; Refused where it is another's."""
        row = c.execute(BEFORE, {"id": checked_id(id)}).first()
        if row and (row.rater != rater or row.kind != kind or task and row.task != task):
            raise Refused("this id belongs to another event: make a new one for each")
        return row

    @staticmethod
    def _given(c, rater: str, task: str):
        row = c.execute(GIVEN, {"of_task": checked_id(task), "for_rater": checked_id(rater)}).first()
        if row is None:
            raise Refused("this task was not given to this rater: ask for the next task")
        return row

    @staticmethod
    def _record(c, given, kind: str, id: str, payload: dict, ms=None, replaces=None, ui="", **changes) -> int:
        """Add an event about a rater's task, bring the assignment up to date, and return the event's number."""
        ms = None if ms is None else whole(ms, 0, 2**31 - 1, "ms")
        guideline = c.execute(GUIDELINE).scalar()
        state = {"lease": given.lease, "answer": given.answer, "revealed": given.revealed} | changes
        c.execute(CHANGE, {"of_task": given.task, "for_rater": given.rater}
                  | {f"new_{name}": value for name, value in state.items()})
        return c.execute(events.insert(), dict(
            id=id, time=time.time(), kind=kind, rater=given.rater, task=given.task, payload=payload, ms=ms,
            shown=given.shown, replaces=replaces, guideline=guideline, ui=ui)).inserted_primary_key[0]

    # The room: what the teacher and the trainer say

    def say(self, kind: str, payload: dict, id: str | None = None) -> int:
        """Add an event about the room itself and return its number."""
        try:
            json.dumps(payload, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise Refused(f"a {kind} must be plain JSON ({error})") from error
        with self.write() as c:
            if id and (before := self._before(c, id, None, None, kind)):
                return before.seq
            row = dict(id=id or new_id(), time=time.time(), kind=kind, payload=payload, ui="")
            return c.execute(events.insert(), row).inserted_primary_key[0]

    def set_round(self, round: str, state: str = "open") -> int:
        """Open a round, which makes it the current one, or pause it: "open" or "paused"."""
        if state not in ("open", "paused"):
            raise Refused(f"a round is open or paused, not {state!r:.40}")
        return self.say("round", {"round": round, "state": state})

    def hide(self, id: str, hidden: bool = True) -> int:
        """Take a rater or a completion out (or back in): offered no more, left out of exports and statistics."""
        return self.say("hide", {"id": id, "hidden": hidden})

    def report(self, payload: dict) -> int:
        """Tell the room something, such as a trainer its accuracy: any JSON object."""
        return self.say("report", payload)

    def reports(self, after: int = 0) -> list[dict]:
        """Return the reports with numbers above `after`, the oldest first: {"seq", "time", **payload}."""
        with self.read() as c:
            rows = c.execute(select(events).where(events.c.kind == "report", events.c.seq > after)
                             .order_by(events.c.seq))
            return [{**row.payload, "seq": row.seq, "time": row.time} for row in rows]

    def set_guideline(self, text: str) -> str:
        """Make this the guideline that raters see; each answer keeps which one it was given under."""
        row = dict(id=key(text, time.time()), text=storable(text), time=time.time())
        with self.write() as c:
            c.execute(guidelines.insert(), row)
        return row["id"]

    @staticmethod
    def _room(c) -> Room:
        """Return who and what is hidden, the states of the rounds, and the current round (None before the first)."""
        hidden, states, current = set(), {}, None
        for kind, payload in c.execute(ROOM):
            if kind == "round":
                states[payload["round"]] = payload["state"]
                current = payload["round"]
            else:
                (hidden.add if payload["hidden"] else hidden.discard)(payload["id"])
        return Room(hidden, states, current)

    def room(self) -> Room:
        """Return (hidden ids, {round: "open" or "paused"}, the round last opened or paused)."""
        with self.read() as c:
            return self._room(c)

    # Reading

    def progress(self, rater: str, round: str) -> dict:
        """Return {"done", "passed", "left", "seconds"}: tasks answered, skipped or flagged, still there for this
        rater, and the median seconds an answer took (None before the first)."""
        with self.read() as c:
            rows = c.execute(select(assignments.c.lease, events.c.ms)
                             .join(tasks, tasks.c.id == assignments.c.task)
                             .join(events, events.c.id == assignments.c.answer)
                             .where(tasks.c.round == round, assignments.c.rater == rater)).all()
            left = {row.id for row in choose(c, rater, round, self._room(c).hidden)}
        done = [ms for lease, ms in rows if lease == FOREVER]
        times = sorted(ms / 1000 for ms in done if ms is not None)
        return {"done": len(done), "passed": len(rows) - len(done), "left": len(left),
                "seconds": times[len(times) // 2] if times else None}

    def last(self, round: str | None = None) -> int:
        """Return the number of the last event (of a round): has anything happened since I looked?"""
        query = select(func.max(events.c.seq))
        if round is not None:
            query = query.join(tasks, tasks.c.id == events.c.task).where(tasks.c.round == round)
        with self.read() as c:
            return c.execute(query).scalar() or 0

    def answers(self, round: str | None = None) -> list[dict]:
        """Return all current answers (not undone, not replaced), the oldest first, skips and flags among them.

        Each is {"seq", "id", "time", "kind", "payload", "ms", "ui", "guideline", "rater", "name", "team",
        "rater_kind", "task", "round", "task_kind", "prompt", "source", "gold", "repeat_of", "answers": [{"id",
        "text", "ended", "model", "reward"}] in the order shown, "hidden": whether the rater or a text is hidden}.
        """
        with self.read() as c:
            return read_answers(c, self._room(c).hidden, round)
