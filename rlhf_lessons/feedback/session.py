"""The card's protocol, once: what sits behind a rater card, in the notebook and on the class page.

The card sends a message, a `Session` answers it from the store. Messages are plain JSON objects.

    {"type": "ready"}           a view has opened: show it what the others show
    {"type": "next"}            show the next task
    {"type": "answer", "id", "task", "kind", "payload", "ms", "touched"}
                                a judgement, "skip" or "flag"; `ms` is the time from showing to
                                answering, `touched` whether anything was done with what is shown
    {"type": "undo", "id"}      take the last answer back
    {"type": "reveal", "id", "task"}
                                lock the answer, and tell what was hidden

The answers:

    {"type": "task", "task", "progress"}
                                as `Store.next_task` and `Store.progress` give them. Where there is
                                such: "saved" {"seq", "kind", "payload"}, "revealed" (a reveal),
                                "brief" (what the team looks for), "message" (words to show), "game"
                                {"sealed": whether a guess is, "right", "of": the score}
    {"type": "ack", "id", "seq", "progress"}
                                it is on the disk; of an answer also "task", "kind", "payload", and
                                from a class "next": the task message for which the card would ask
    {"type": "reveal", "task", "seq", "models", "rewards", "others"}
                                as `Store.reveal`, and where a guess was sealed "game"
                                {"guess", "hit", "right", "of"}
    {"type": "nack", "id", "reason", "retry"}
                                nothing was saved: send it again where "retry", else say why
    {"type": "note", "text"}    comes by itself: words to show

The card makes an `id` for each act, and sends the act under this id until it is acknowledged: it
counts once.

A class, whose server has one core for hundreds of cards, sends the next task along with the
acknowledgement. The card shows it when it would have asked for it; where somebody looks at the
saved answer for longer than a few seconds, or undoes or reveals it, the card asks all the same,
since the round may have changed. A notebook sends none: what its card's task comes with, a sealed
guess, is to be made by a model that has learned from the answer before.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rlhf_lessons.feedback.payloads import JUDGEMENTS, PASSES, Refused
from rlhf_lessons.feedback.schema import in_short
from rlhf_lessons.feedback.store import Store

MESSAGES = ("ready", "next", "answer", "undo", "reveal")  # of the card, each a method of `Session`


@dataclass
class Session:
    """One rater at one card, in one round.

    Messages may come from changing threads. `current` is the task message on the screen. A host
    that wraps `reply` into a transaction of its own drops the session where that transaction fails.

    With a `goal`, the number of judgements asked of each rater in a class, a round never runs out
    before that.

    `guess(prompt, left, right)` returns the probability that the left answer is preferred, or None:
    it is asked and sealed before each vote on a pair. `after_vote(n)` is called after each
    judgement, in a thread of its own, with their number so far. `tell(message)` takes the notes to
    the card.
    """

    store: Store
    rater: str
    round: str | None
    ui: str = "card"
    goal: int | None = None
    guess: Callable | None = None
    after_vote: Callable | None = None

    def __post_init__(self):
        self.brief, self.words, self.remark = "", {}, ""
        self.current, self.counted = None, None
        self.tell = lambda message: None
        self.lock = threading.RLock()
        self.worker = ThreadPoolExecutor(1, "after_vote")

    def turn_to(self, round: str | None, brief: str = "", words: dict | None = None) -> None:
        """Change to a round, if this is another one; `words` are the task's own question and labels
        on the card.
        """
        if round != self.round:
            self.current = None
        self.round, self.brief, self.words = round, brief, words or {}

    def handle(self, message: object) -> dict:
        """Return the answer to a message, a nack where it cannot be done: nobody sees an exception
        in a widget.
        """
        nack = {"type": "nack", "id": message.get("id") if isinstance(message, dict) else None}
        try:
            return self.reply(message)
        except Refused as error:
            return nack | {"reason": str(error), "retry": False}
        except Exception as error:
            return nack | {"reason": in_short(error), "retry": True}

    def reply(self, message: object) -> dict:
        """Return the answer to a message. Refused where it does not fit, OSError where the database
        failed.
        """
        wanted = message.get("type") if isinstance(message, dict) else None
        if wanted not in MESSAGES:
            raise Refused(f"a message has a type, one of {', '.join(MESSAGES)}")
        with self.lock:
            return getattr(self, wanted)(message)

    def ready(self, message: dict) -> dict:
        """Show a new view what the others show."""
        return self.current if self.current and "saved" in self.current else self.next(message)

    def next(self, message: dict) -> dict:
        """Go to the next task that the store has for this rater."""
        task = {"state": "waiting"}
        with self.store.write():
            if self.round is not None:
                beyond = self.goal is not None
                task = self.store.next_task(self.rater, self.round, beyond=beyond)
            progress = self.progress()
        self.current = {"type": "task", "task": task | self.words, "progress": progress}
        if self.brief:
            self.current["brief"] = self.brief
        if task.get("kind") == "pair" and self.goal is None:
            self.attempt("The reward model could not guess", self.seal, task)
            game = self.game(task["task"])
            sealed = game["guess"] is not None
            if sealed or self.guess or game["of"]:
                score = {"right": game["right"], "of": game["of"]}
                self.current["game"] = {"sealed": sealed, **score}
        if self.remark:
            self.current["message"], self.remark = self.remark, ""
        return self.current

    def answer(self, message: dict) -> dict:
        """Store a judgement, a skip or a flag. The acknowledgement goes out after the commit."""
        fields = ("id", "task", "kind", "payload", "ms")
        id, task, kind, payload, ms = map(message.get, fields)
        if kind not in (*JUDGEMENTS, *PASSES):  # a show of hands is the teacher's
            raise Refused(f"this card asks for no {kind!s:.40}")
        if kind in ("ranking", "demonstration") and message.get("touched") is not True:
            # A key meant for the task before must not save an order drawn at random, or a draft.
            raise Refused("nothing was done with this task yet: look at it first")
        if type(ms) is not int or not 0 <= ms < 2**31:
            ms = None  # a broken clock loses no vote
        with self.store.write():
            seq = self.store.answer(self.rater, task, kind, payload, id, ms=ms, ui=self.ui)
            following = None if self.goal is None else self.next(message)
            progress = following["progress"] if following else self.progress()
        saved = {"seq": seq, "kind": kind, "payload": payload}
        ack = {"type": "ack", "id": id, "task": task, "progress": progress, **saved}
        if following:
            ack["next"] = following
        elif kind in PASSES:
            self.current = None  # the card asks for the next task by itself
        elif self.current and self.current["task"].get("task") == task:
            self.current |= {"saved": saved, "progress": progress}
        if self.after_vote and kind not in PASSES and self.counted != id:
            self.counted = id
            failed = "Your vote is saved, but what follows it failed"
            self.worker.submit(self.attempt, failed, self.after_vote, progress["done"])
        return ack

    def undo(self, message: dict) -> dict:
        """Take the last answer back; the card then asks for the next task: that one again."""
        id = message.get("id")
        with self.store.write():
            seq = self.store.undo(self.rater, self.round or "", id)
            progress = self.progress()
        self.current = None
        return {"type": "ack", "id": id, "seq": seq, "progress": progress}

    def reveal(self, message: dict) -> dict:
        """Lock the answer and tell what was hidden: models, rewards, others, the sealed guess."""
        task = message.get("task")
        hidden = self.store.reveal(self.rater, task, message.get("id"))
        found = {"type": "reveal", "task": task, **hidden}
        game = self.game(task)
        if game["guess"] is not None:
            found["game"] = game
        if self.current and self.current["task"].get("task") == task:
            self.current["revealed"] = found
        return found

    def progress(self) -> dict:
        """Return how far one is, as `Store.progress` does; with a goal, what is left of it."""
        found = self.store.progress(self.rater, self.round or "", self.goal is not None)
        if self.goal is not None:
            found["left"] = min(found["left"], max(self.goal - found["done"], 0))
        return found

    def votes(self) -> list[dict]:
        """Return the rater's current judgements, the oldest first, without skips and flags."""
        rows = self.store.answers(self.round, rater=self.rater)
        return [row for row in rows if row["kind"] not in PASSES]

    # The notebook's game: a guess is sealed before the vote and opened by the reveal

    def seal(self, task: dict) -> None:
        """Seal the guess on a task's vote, asked for once, where there is any."""
        if self.guess and task["task"] not in self.store.seals(self.rater):
            left = self.guess(task["prompt"], *(answer["text"] for answer in task["answers"]))
            if left is not None:
                self.store.seal(self.rater, task["task"], float(left))

    def game(self, task: str) -> dict:
        """Return what the reveal of a task says of the game: "guess" (None where none is sealed),
        "hit" (None where the vote names no winner), and how often the guesses were "right", out
        "of" how many votes for one side.
        """
        seals = self.store.seals(self.rater)
        hits = {}
        for row in self.votes():
            sealed, choice = seals.get(row["task"]), row["payload"].get("choice")
            if sealed is not None and choice in ("left", "right"):
                hits[row["task"]] = (sealed >= 0.5) == (choice == "left")
        score = {"right": sum(hits.values()), "of": len(hits)}
        return {"guess": seals.get(task), "hit": hits.get(task), **score}

    def attempt(self, failed: str, hook: Callable, *given) -> None:
        """Call what others have hooked in; where it fails, say so on the card, and go on."""
        try:
            hook(*given)
        except Exception as error:
            self.tell({"type": "note", "text": f"{failed}: {in_short(error)}"})
