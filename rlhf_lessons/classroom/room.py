"""What the server knows of a class: who has joined, what each has done, and what the teacher has put on the screen."""

import time
from dataclasses import dataclass
from pathlib import Path

from rlhf_lessons.classroom import rounds
from rlhf_lessons.classroom.batches import Batches
from rlhf_lessons.classroom.screens import Screens
from rlhf_lessons.feedback import Refused, Store, new_id
from rlhf_lessons.feedback.store import DEFAULT

MOST_RATERS = 500
BURST, PER_SECOND = 60, 20  # requests of one rater; a person makes one or two a second
WRONG_CODES = 20  # a minute from one address


class Limit:
    """Counts what somebody does: `BURST` at once, then `PER_SECOND`."""

    def __init__(self, burst: float, per_second: float):
        self.burst, self.per_second, self.seen = burst, per_second, {}

    def reached(self, who: str, cost: float = 1) -> bool:
        """Return whether `who` has used up what is allowed; if not, take `cost` of it."""
        now = time.monotonic()
        left, since = self.seen.get(who, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.per_second)
        if len(self.seen) > 10_000:
            self.seen.clear()
        self.seen[who] = (left - cost if left >= 1 else left, now)
        return left < 1


@dataclass
class Classroom:
    """What the server knows: the store, how one gets in, and what the teacher has put on the screen."""

    store: Store
    code: str
    keys: dict[str, str]  # {"console": secret, "projector": secret}
    address: str  # what students type, such as http://192.168.0.7:8800/
    source: Path  # of new rounds
    teams: int = 0
    goal: int = 20  # judgements asked of each rater in a round

    def __post_init__(self):
        self.batches, self.screens = Batches(self.store), Screens(self)
        self.requests, self.wrong = Limit(BURST, PER_SECOND), Limit(WRONG_CODES, WRONG_CODES / 60)
        self.teams_of = {row["id"]: row["team"] for row in self.store.raters()}
        self.revealed, self.pair = (
            False,
            None,
        )  # the pair of a show of hands: {"task", "counts", "models", "id"}
        self.done, self.goals, self.done_in = (
            {},
            {},
            None,
        )  # {rater: {task: (kind, ms)}}, {rater: tasks}, which round
        self.round, self.looked = (
            None,
            float("-inf"),
        )  # the current round, and when it was last looked up

    @property
    def link(self) -> str:
        """What the QR code holds: behind the #, which browsers keep to themselves, the class code."""
        return f"{self.address}#{self.code}"

    @property
    def where(self) -> str:
        """The database, as a screen may show it: a URL without its password, the usual file by its short name."""
        given = str(self.store.where)
        if "://" in given:
            return str(self.store.engine.url)
        return "runs/ratings.sqlite3" if given == str(DEFAULT) else given

    # What students do. Each runs inside a transaction of `batches`.

    def join(self, name: object) -> str:
        """Add a rater, in the smaller team where there are teams, and return the id."""
        if len(self.teams_of) >= MOST_RATERS:
            raise Refused(f"this class is full: {MOST_RATERS} have joined")
        names = list(rounds.BRIEFS)[: self.teams]
        team = min(names, key=list(self.teams_of.values()).count) if names else ""
        rater = self.store.add_rater(name, team)
        self.teams_of[rater] = team
        return rater

    def current(self) -> str | None:
        """Return the current round, looked up once a second: a notebook may have opened one."""
        if time.monotonic() - self.looked > 1:
            self.round, self.looked = self.store.room().current, time.monotonic()
        return self.round

    def task(self, rater: str) -> dict:
        """Return the message with the rater's next task in the current round."""
        current = self.current()
        task = (
            self.store.next_task(rater, current, beyond=True) if current else {"state": "waiting"}
        )
        team = self.teams_of[rater]
        return {
            "type": "task",
            "task": task | rounds.words(team, current),
            "brief": rounds.brief(team, current),
            "progress": self.progress(rater, current),
        }

    def say(self, rater: str, message: dict) -> dict:
        """Return the answer to a message of the card; Refused where the message does not fit."""
        kind, id, task = message.get("type"), message.get("id"), message.get("task")
        if kind in ("ready", "next"):
            return self.task(rater)
        current = self.current()
        if kind == "answer":
            judgement, payload, ms = message.get("kind"), message.get("payload"), message.get("ms")
            if judgement == "hands" or not isinstance(judgement, str):
                raise Refused(
                    "hands are counted by the teacher; a judgement has a kind, such as 'pair'"
                )
            seq = self.store.answer(rater, task, judgement, payload, id, ms=ms, ui="page")
            self.mine(rater, current)[task] = (judgement, ms)
        elif kind == "undo":
            tasks, last = self.mine(rater, current), self.store.last()
            seq = self.store.undo(rater, current or "", id, ui="page")
            if seq > last:  # sent twice, it takes back one
                tasks.pop(next(reversed(tasks), None), None)
        elif kind == "reveal":
            return {"type": "reveal", "task": task, **self.store.reveal(rater, task, id, ui="page")}
        else:
            raise Refused("a message is one of ready, next, answer, undo, reveal")
        return {"type": "ack", "id": id, "seq": seq, "progress": self.progress(rater, current)}

    def mine(self, rater: str, round: str | None) -> dict:
        """Return what a rater has done in a round, {task: (kind, ms)}; read once and then kept up to date, since
        `Store.progress` looks through all tasks and would be asked with every vote."""
        if round != self.done_in:
            self.done, self.goals, self.done_in = {}, {}, round
            for row in self.store.answers(round):
                self.done.setdefault(row["rater"], {})[row["task"]] = (row["kind"], row["ms"])
        return self.done.setdefault(rater, {})

    def progress(self, rater: str, round: str | None) -> dict:
        """Return what `Store.progress` does, with what is left of the goal as "left"."""
        kept = [
            (kind, ms)
            for kind, ms in self.mine(rater, round).values()
            if kind not in ("skip", "flag")
        ]
        if round and rater not in self.goals:  # a short round has fewer tasks than the goal
            there = self.store.progress(rater, round, beyond=True)
            self.goals[rater] = min(self.goal, there["done"] + there["left"])
        times, left = (
            sorted(ms / 1000 for _, ms in kept if ms is not None),
            self.goals.get(rater, 0) - len(kept),
        )
        return {
            "done": len(kept),
            "passed": len(self.mine(rater, round)) - len(kept),
            "left": max(left, 0),
            "seconds": times[len(times) // 2] if times else None,
        }

    # What the teacher does

    def teach(self, wish: dict) -> None:
        """Do what the console asks for; Refused where it does not fit."""
        store, what, current = self.store, wish.get("do"), self.store.room().current
        self.looked = self.screens.made = float("-inf")  # all that is kept may be out of date
        if what in ("pause", "open") and current:
            store.set_round(wish.get("round") or current, "paused" if what == "pause" else "open")
        elif what == "round":
            self.pair, self.revealed = None, False
            rounds.new_round(
                store, self.source, wish.get("kind"), wish.get("family"), teams=self.teams > 0
            )
        elif what == "hide":
            store.hide(str(wish.get("id")), bool(wish.get("hidden")))
        elif what == "reveal":
            self.revealed = bool(wish.get("on"))
            if self.revealed and self.pair and self.pair["counts"]:
                self.pair["models"] = store.reveal(
                    self.teacher(), self.pair["task"]["task"], new_id()
                )["models"]
        elif what == "pair" and current:
            task = store.next_task(self.teacher(), current)
            if task.get("kind") != "pair":
                raise Refused("there is no pair to show: open a round of pairs")
            self.pair, self.revealed = (
                {"task": task, "counts": None, "models": None, "id": None},
                False,
            )
        elif what == "hands" and self.pair:
            id, counts = new_id(), wish.get("counts")
            store.answer(
                self.teacher(),
                self.pair["task"]["task"],
                "hands",
                counts,
                id,
                replaces=self.pair["id"],
                ui="console",
            )
            self.pair |= {"counts": counts, "id": id}
        elif what == "close":
            self.pair = None
        else:
            raise Refused("the console cannot do that now")

    def teacher(self) -> str:
        """Return the id of the teacher's rater."""
        known = [row["id"] for row in self.store.raters() if row["kind"] == "teacher"]
        return known[0] if known else self.store.add_rater("teacher", kind="teacher")
