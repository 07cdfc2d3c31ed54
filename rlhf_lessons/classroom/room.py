"""What the server knows of a class: who has joined, what each has done, and what the teacher has put on the screen."""
import time
from dataclasses import dataclass, field
from pathlib import Path

from rlhf_lessons.classroom import rounds
from rlhf_lessons.classroom.batches import Batches
from rlhf_lessons.classroom.figures import Figures
from rlhf_lessons.ratings import Refused, Store, new_id

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
    revealed: bool = False
    pair: dict | None = None  # for a show of hands: {"task", "counts", "models"}
    done: dict = field(default_factory=dict)  # {rater: {task: (kind, ms)}} of the current round
    done_in: str | None = None

    def __post_init__(self):
        self.batches, self.figures = Batches(self.store), Figures(self)
        self.requests, self.wrong = Limit(BURST, PER_SECOND), Limit(WRONG_CODES, WRONG_CODES / 60)
        self.teams_of = {row["id"]: row["team"] for row in self.store.raters()}

    @property
    def link(self) -> str:
        """What the QR code holds: behind the #, which browsers keep to themselves, the class code."""
        return f"{self.address}#{self.code}"

    # What students do. Each runs inside a transaction of `batches`.

    def join(self, name: object) -> str:
        """Add a rater, in the smaller team where there are teams, and return the id."""
        if len(self.teams_of) >= MOST_RATERS:
            raise Refused(f"this class is full: {MOST_RATERS} have joined")
        names = list(rounds.BRIEFS)[:self.teams]
        team = min(names, key=list(self.teams_of.values()).count) if names else ""
        rater = self.store.add_rater(name, team)
        self.teams_of[rater] = team
        return rater

    def task(self, rater: str) -> dict:
        """Return the message with the rater's next task in the current round."""
        current = self.store.room().current
        task = self.store.next_task(rater, current) if current else {"state": "waiting"}
        return {"type": "task", "task": task, "progress": self.progress(rater, current)}

    def say(self, rater: str, message: dict) -> dict:
        """Return the answer to a message of the card; Refused where the message does not fit."""
        kind, id, task = message.get("type"), message.get("id"), message.get("task")
        if kind in ("ready", "next"):
            return self.task(rater)
        current = self.store.room().current
        if kind == "answer":
            judgement, payload, ms = message.get("kind"), message.get("payload"), message.get("ms")
            if judgement == "hands" or not isinstance(judgement, str):
                raise Refused("hands are counted by the teacher; a judgement has a kind, such as 'pair'")
            seq = self.store.answer(rater, task, judgement, payload, id, ms=ms, ui="page")
            self.mine(rater, current)[task] = (judgement, ms)
        elif kind == "undo":
            seq = self.store.undo(rater, current or "", id, ui="page")
            tasks = self.mine(rater, current)
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
            self.done, self.done_in = {}, round
            for row in self.store.answers(round):
                self.done.setdefault(row["rater"], {})[row["task"]] = (row["kind"], row["ms"])
        return self.done.setdefault(rater, {})

    def progress(self, rater: str, round: str | None) -> dict:
        """Return what `Store.progress` does, with what is left of the goal as "left"."""
        kept = [(kind, ms) for kind, ms in self.mine(rater, round).values() if kind not in ("skip", "flag")]
        times = sorted(ms / 1000 for _, ms in kept if ms is not None)
        return {"done": len(kept), "passed": len(self.mine(rater, round)) - len(kept),
                "left": max(self.goal - len(kept), 0), "seconds": times[len(times) // 2] if times else None}

    # What the teacher does

    def teach(self, wish: dict) -> None:
        """Do what the console asks for; Refused where it does not fit."""
        store, what, current = self.store, wish.get("do"), self.store.room().current
        if what in ("pause", "open") and current:
            store.set_round(wish.get("round") or current, "paused" if what == "pause" else "open")
        elif what == "round":
            self.pair, self.revealed = None, False
            rounds.new_round(store, self.source, wish.get("kind"), wish.get("family"))
        elif what == "hide":
            store.hide(str(wish.get("id")), bool(wish.get("hidden")))
        elif what == "reveal":
            self.revealed = bool(wish.get("on"))
            if self.revealed and self.pair and self.pair["counts"]:
                self.pair["models"] = store.reveal(self.teacher(), self.pair["task"]["task"], new_id())["models"]
        elif what == "pair" and current:
            task = store.next_task(self.teacher(), current)
            if task.get("kind") != "pair":
                raise Refused("there is no pair to show: open a round of pairs")
            self.pair, self.revealed = {"task": task, "counts": None, "models": None, "id": None}, False
        elif what == "hands" and self.pair:
            id, counts = new_id(), wish.get("counts")
            store.answer(self.teacher(), self.pair["task"]["task"], "hands", counts, id, replaces=self.pair["id"],
                         ui="console")
            self.pair |= {"counts": counts, "id": id}
        elif what == "close":
            self.pair = None
        else:
            raise Refused("the console cannot do that now")

    def teacher(self) -> str:
        """Return the id of the teacher's rater."""
        known = [row["id"] for row in self.store.raters() if row["kind"] == "teacher"]
        return known[0] if known else self.store.add_rater("teacher", kind="teacher")
