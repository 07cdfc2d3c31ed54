"""`rl.rate`: you are the human rater. A card in the notebook, on top of the ratings store.

    card = rl.rate(pairs, "lesson 3")          # it returns at once; as a cell's last line it shows the card
    card.answers()                             # in a later cell: your judgements so far

The card is `card.js`, the same as on the class page; a `Desk` answers its messages. Votes live in the store: after
a kernel restart, run the cell again and go on where you were.
"""

import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import anywidget
import traitlets

from rlhf_lessons.feedback import Refused, Store, new_id
from rlhf_lessons.feedback.payloads import JUDGEMENTS, PASSES
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.widgets import card_js
from rlhf_lessons.widgets.plain_card import PlainCard
from rlhf_lessons.world.raters import Rater

HERE = Path(__file__).parent


def rate(
    rows: list[dict] | None = None,
    round: str = "my ratings",
    *,
    store: Store | str | Path | None = None,
    name: str = "you",
    guess: Callable | None = None,
    after_vote: Callable | None = None,
    simulated: Rater | None = None,
    repeats: float = 0.0,
    fallback: bool = False,
):
    """Return a card that asks the reader for a judgement on each row, one after the other.

    A row is one of `make_pairs` or one of `Store.add_tasks` (pair, ranking, scores, demonstration); without rows, the
    card asks what is in the round already. `name` is the rater. `simulated` fills in, in `answers`, for what the
    reader leaves open. `repeats` is the share of pairs that come twice.

    The game: `guess(prompt, left, right)` returns the probability that the left answer is preferred, or None while it
    knows too little; it is asked before each vote and opened by the reveal. `after_vote(n)` is called in a thread of
    its own after each judgement, with their number so far. Both may be set later, as `card.desk.guess` and
    `card.desk.after_vote`.

    `fallback=True` gives a card of plain ipywidgets, for where the other does not appear. ValueError (`Refused`) for
    rows that the store does not take.
    """
    store = store if isinstance(store, Store) else open_store(store)
    given = [as_task(row) for row in rows or []]
    added = store.add_tasks(round, given, repeats=repeats)
    desk = Desk(store, store.reader(name), round, guess, after_vote, simulated)
    if len(added) < len(given):
        desk.remark = f"{len(given) - len(added)} of {len(given)} were left out: their answers are almost the same."
    return PlainCard(desk) if fallback else RaterCard(desk)


@cache
def open_store(where: str | Path | None) -> Store:
    """Return the store of a file, opened once however often a cell is run."""
    return Store() if where is None else Store(where)


def as_task(row: dict) -> dict:
    """Return a row as `Store.add_tasks` takes it, for all raters, whichever form it came in."""
    if "completions" not in row and "left" in row:
        row = {
            "prompt": row["prompt"],
            "completions": [
                {"text": row[side], "model": row.get(f"{side}_model", "")}
                for side in ("left", "right")
            ],
        }
    return {"kind": "pair", "overlap": None, **row}


class Desk:
    """What sits behind a card: one rater, one round. It answers the card's messages from the store.

    Messages come from changing threads, so a lock guards what it keeps: the task on the screen. Whatever goes wrong
    is told to the card, because nobody sees an exception in a widget's callback.
    """

    def __init__(
        self, store: Store, rater: str, round: str, guess=None, after_vote=None, simulated=None
    ):
        self.store, self.rater, self.round = store, rater, round
        self.guess, self.after_vote, self.simulated = guess, after_vote, simulated
        self.lock, self.worker = threading.RLock(), ThreadPoolExecutor(1, "after_vote")
        self.current, self.counted, self.remark = None, None, ""
        self.send = lambda message: None  # where to; a card puts its own here
        self.handlers = {
            "ready": self.ready,
            "answer": self.answer,
            "undo": self.undo,
            "reveal": self.reveal,
            "next": self.next,
        }

    def handle(self, message: object) -> None:
        """Answer one message of the card."""
        wanted = message.get("type") if isinstance(message, dict) else None
        if not isinstance(wanted, str) or wanted not in self.handlers:
            return
        with self.lock:
            nack = {"type": "nack", "id": message.get("id")}
            try:
                self.send(self.handlers[wanted](message))
            except Refused as error:
                self.send(nack | {"reason": str(error), "retry": False})
            except Exception as error:
                self.send(nack | {"reason": in_short(error), "retry": True})

    def ready(self, message: dict) -> dict:
        """Show a new view what the others show."""
        return self.current if self.current and "saved" in self.current else self.next(message)

    def next(self, message: dict) -> dict:
        """Go on to the next task that the store has for this rater."""
        with self.store.write():
            task = self.store.next_task(self.rater, self.round)
            progress = self.store.progress(self.rater, self.round)
        self.current = {"type": "task", "task": task, "progress": progress}
        if task.get("kind") == "pair" and (self.guess or self.seals()):
            self.current["game"] = {"sealed": self.seal(task), **self.score()}
        if self.remark:
            self.current["message"], self.remark = self.remark, ""
        return self.current

    def answer(self, message: dict) -> dict:
        """Store a judgement, a skip or a flag. The acknowledgement goes out after the commit."""
        task, kind, id = (text(message, field) for field in ("task", "kind", "id"))
        if kind not in (*JUDGEMENTS, *PASSES):  # a show of hands is the teacher's
            raise Refused(f"this card asks for no {kind:.40}")
        ms, payload = message.get("ms"), message.get("payload")
        ms = ms if type(ms) is int and 0 <= ms < 2**31 else None  # a broken clock loses no vote
        with self.store.write():
            seq = self.store.answer(self.rater, task, kind, payload, id, ms=ms, ui="card")
            progress = self.store.progress(self.rater, self.round)
        said = {"seq": seq, "kind": kind, "payload": payload}
        if kind in PASSES:
            self.current = None  # the card asks for the next task by itself
        elif self.current and self.current["task"].get("task") == task:
            self.current |= {"saved": said, "progress": progress}
        if self.after_vote and kind not in PASSES and self.counted != id:
            self.counted = id
            self.worker.submit(self.run_after_vote, progress["done"])
        return {"type": "ack", "id": id, "task": task, "progress": progress, **said}

    def undo(self, message: dict) -> dict:
        """Take the last answer back; the card then asks for the next task, which is that one again."""
        id = text(message, "id")
        with self.store.write():
            seq = self.store.undo(self.rater, self.round, id, ui="card")
            progress = self.store.progress(self.rater, self.round)
        self.current = None
        return {"type": "ack", "id": id, "seq": seq, "progress": progress}

    def reveal(self, message: dict) -> dict:
        """Lock the answer and tell what was hidden: models, rewards, the others, the sealed guess."""
        task = text(message, "task")
        found = {
            "type": "reveal",
            "task": task,
            **self.store.reveal(self.rater, task, text(message, "id"), ui="card"),
        }
        if (sealed := self.seals().get(task)) is not None:
            vote = next((row for row in self.votes() if row["task"] == task), None)
            found["game"] = {"guess": sealed, "hit": vote and hit(sealed, vote), **self.score()}
        if self.current and self.current["task"].get("task") == task:
            self.current["revealed"] = found
        return found

    def seals(self) -> dict[str, float]:
        """Return the sealed guesses {task: P(left is preferred)}. They live in the store, and so does the score."""
        return self.store.seals(self.rater, self.round)

    def seal(self, task: dict) -> bool:
        """Seal the guess on a task's vote, asked for once; return whether there is one."""
        sealed = task["task"] in self.seals()
        if sealed or not self.guess:
            return sealed
        try:
            left = self.guess(task["prompt"], *(answer["text"] for answer in task["answers"]))
            return (
                left is not None
                and self.store.seal(self.rater, task["task"], float(left), new_id()) > 0
            )
        except Exception as error:
            self.send(
                {"type": "note", "text": f"The reward model could not guess: {in_short(error)}"}
            )
            return False

    def score(self) -> dict:
        """Return how often the sealed guesses were right, out of how many votes for one side."""
        seals = self.seals()
        hits = [hit(seals[row["task"]], row) for row in self.votes() if row["task"] in seals]
        return {"right": hits.count(True), "of": len(hits) - hits.count(None)}

    def votes(self) -> list[dict]:
        """Return the reader's current judgements, the oldest first, without skips and flags."""
        rows = self.store.answers(self.round)
        return [row for row in rows if row["rater"] == self.rater and row["kind"] not in PASSES]

    def run_after_vote(self, n: int) -> None:
        """Call the hook in the worker's thread: one call at a time, none left out."""
        try:
            self.after_vote(n)
        except Exception as error:
            self.send(
                {
                    "type": "note",
                    "text": f"Your vote is saved, but what follows it failed: {in_short(error)}",
                }
            )

    def answers(self) -> list[dict]:
        """Return the judgements on this round as `Store.answers` gives them: the reader's, and where a simulated rater
        is there to help, that one's on what the reader left open, which is said in words."""
        mine = self.votes()
        if not self.simulated:
            return mine
        helper, done = (
            simulate(self.store, self.round, self.simulated),
            {row["task"] for row in mine},
        )
        filled = [
            row
            for row in self.store.answers(self.round)
            if row["rater"] == helper and row["task"] not in done and row["kind"] not in PASSES
        ]
        if filled:
            print(f"{len(mine)} judgements are yours, {len(filled)} a simulated rater's.")
        return mine + filled


def hit(sealed: float, vote: dict) -> bool | None:
    """Return whether a guess was right; None where the vote names no winner."""
    choice = vote["payload"].get("choice")
    return (sealed >= 0.5) == (choice == "left") if choice in ("left", "right") else None


def text(message: dict, field: str) -> str:
    """Return a message's field; Refused where it is no text."""
    if not isinstance(message.get(field), str):
        raise Refused(f"the card's message has no {field}")
    return message[field]


def in_short(error: Exception) -> str:
    """Return an error in one line, a database's own words without the statement."""
    said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return said.splitlines()[0][:200].rstrip(".")


class RaterCard(anywidget.AnyWidget):
    """The card in the notebook: messages between `card.js` and a desk. Two views of one card show the same."""

    _esm, _css = card_js(), HERE / "card.css"
    scope = traitlets.Unicode(
        help="Under this name a vote that is not yet saved outlives a reload."
    ).tag(sync=True)

    def __init__(self, desk: Desk):
        self.desk, self.answers = desk, desk.answers
        super().__init__(scope=f"{zlib.crc32(str(desk.store.where).encode()):x}/{desk.round}")
        desk.send = self.send
        self.on_msg(lambda _, message, buffers: desk.handle(message))

    def __repr__(self):
        return "A card for rating answers. It works in Jupyter; what it asks stands there."
