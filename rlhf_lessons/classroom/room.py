"""The state of a class: who has joined, each rater's session, and what is on the screen."""

import time
from dataclasses import dataclass
from pathlib import Path

from rlhf_lessons.classroom import rounds
from rlhf_lessons.classroom.batches import Batches
from rlhf_lessons.classroom.screens import Screens
from rlhf_lessons.feedback import Refused, Store, new_id
from rlhf_lessons.feedback.schema import shown
from rlhf_lessons.feedback.session import Session
from rlhf_lessons.feedback.store import DEFAULT

MOST_RATERS = 1000
IDLE = 120  # seconds after which somebody who joined and never voted counts no more
GONE = 3 * 3600  # seconds after which somebody who voted counts no more
BURST, PER_SECOND = 60, 20  # requests of one rater; a person makes one or two a second
JOINS, JOINS_PER_SECOND = 120, 2  # from one address: a class of 100 may sit behind one
WRONG_CODES = 20  # a minute from one device
SLOWER = 0.05  # seconds by which each wrong code delays the next answer, up to one


class Refusal(Refused):
    """A request that is refused, with the HTTP status beside the sentence that says why."""

    def __init__(self, status: int, why: str):
        super().__init__(why)
        self.status = status


class Limit:
    """Counts what somebody does: `burst` at once, then `per_second`."""

    def __init__(self, burst: float, per_second: float):
        self.burst, self.per_second = burst, per_second
        self.seen = {}  # {who: (left, when)}

    def left(self, who: str) -> float:
        """Return how much `who` may still do at once."""
        left, since = self.seen.get(who, (self.burst, 0))
        return min(self.burst, left + (time.monotonic() - since) * self.per_second)

    def reached(self, who: str) -> bool:
        """Return whether `who` has used up what is allowed; if not, take one of it."""
        left = self.left(who)
        if len(self.seen) > 10_000:
            self.seen.clear()
        reached = left < 1
        self.seen[who] = (left if reached else left - 1, time.monotonic())
        return reached


@dataclass
class Classroom:
    """What the server knows of a class. Whatever reads or writes the store runs in `batches`."""

    store: Store
    code: str
    keys: dict[str, str]  # secrets: {"console", "projector", "cookie"}
    address: str  # what students type, such as http://192.168.0.7:8800/
    source: Path  # of new rounds
    teams: int = 0
    goal: int = 20  # judgements asked of each rater in a round
    prefix: str = ""  # a path before all pages

    def __post_init__(self):
        self.batches = Batches(self.store)
        self.screens = Screens(self)
        self.requests = Limit(BURST, PER_SECOND)
        self.joins = Limit(JOINS, JOINS_PER_SECOND)
        self.wrong = Limit(WRONG_CODES, WRONG_CODES / 60)
        self.sessions = {}  # {rater: Session}
        self.votes = {}  # {(rater, vote as it was sent): its answer, a future}, of the last seconds
        self.seen = {}  # {rater: when last}, since the server started
        self.voted = set()  # raters, since the server started
        self.revealed = False
        self.pair = None  # of a show of hands: {"prompt", "answers", "counts", "models"}
        self.hands = None, None  # its task, and the count that is kept
        self.people = {}  # raters by id
        self.current = None  # round
        self.looked = float("-inf")  # when both were last looked up

    @property
    def link(self) -> str:
        """What the QR code holds: the class code behind the #, which browsers keep."""
        return f"{self.address}#{self.code}"

    @property
    def where(self) -> str:
        """The database as a screen may show it: no password, the usual file by a short name."""
        given = shown(self.store.where)
        return "runs/ratings.sqlite3" if given == str(DEFAULT) else given

    def look(self, rater: str | None = None) -> None:
        """Look up raters and round, once a second: notebooks open rounds, and `forget` deletes.

        A `rater` not seen yet is looked up at once: they may have joined at another process.
        """
        if rater and rater not in self.people:
            self.people |= {row["id"]: row for row in self.store.raters(id=rater)}
        if time.monotonic() - self.looked > 1:
            self.people = {row["id"]: row for row in self.store.raters()}
            self.current = self.store.room().current
            self.looked = time.monotonic()

    # What students do. Each runs inside a transaction of `batches`.

    def join(self, name: object, known: str | None = None) -> str:
        """Add a rater, in the smaller team where there are teams, and return the id.

        A device that has joined, as `known`, has joined.
        """
        self.look(known)
        if known in self.people:
            return known
        if self.present() >= MOST_RATERS:
            raise Refused(f"this class is full: {MOST_RATERS} have joined; ask your teacher")
        team = ""
        if self.teams:
            sizes = [row["team"] for row in self.people.values()]
            team = min(rounds.BRIEFS, key=sizes.count)
        rater = self.store.add_rater(name, team)
        (self.people[rater],) = self.store.raters(id=rater)
        self.seen[rater] = time.monotonic()
        return rater

    def present(self) -> int:
        """Return how many count: neither removed, nor forgotten, nor long gone."""
        now = time.monotonic()
        there = [id for id, row in self.people.items() if not row["hidden"] and id in self.seen]
        return sum(now - self.seen[id] < (GONE if id in self.voted else IDLE) for id in there)

    def reply(self, rater: str, message: dict) -> dict:
        """Return the answer to a message of a rater's card; Refused where it does not fit."""
        self.look(rater)
        person = self.people.get(rater)
        if person is None:
            self.sessions.pop(rater, None)
            raise Refusal(401, "join the class first, with its code")
        self.seen[rater] = time.monotonic()
        if rater not in self.sessions:
            self.sessions[rater] = Session(self.store, rater, None, ui="page", goal=self.goal)
        session = self.sessions[rater]
        session.turn_to(self.current, *rounds.asked_of(person["team"], self.current))
        answer = session.reply(message)
        if message["type"] == "answer":
            self.voted.add(rater)
        elif message["type"] == "ready":
            answer = answer | {"name": person["name"]}
        return answer

    # What the teacher does

    def teach(self, wish: dict) -> None:
        """Do what the console asks for; Refused where it does not fit."""
        self.looked = self.screens.due = float("-inf")  # all that is kept may be out of date
        self.look()
        can = {
            "round": self.new_round,
            "hide": self.hide,
            "reveal": self.reveal,
            "pause": self.set_state,
            "open": self.set_state,
            "pair": self.show_pair,
            "hands": self.count_hands,
            "close": self.close_pair,
        }
        action = can.get(str(wish.get("do")))
        if action is None:
            raise Refused("the console cannot do that")
        action(wish)
        self.looked = float("-inf")

    def set_state(self, wish: dict) -> None:
        """Pause the round, or open it, or one that was before it."""
        state = "paused" if wish["do"] == "pause" else "open"
        self.store.say("round", round=wish.get("round") or self.current, state=state)

    def new_round(self, wish: dict) -> None:
        self.close_pair(wish)
        self.revealed = False
        kind, family = wish.get("kind"), wish.get("family")
        rounds.new_round(self.store, self.source, kind, family, teams=bool(self.teams))

    def hide(self, wish: dict) -> None:
        self.store.say("hide", id=wish.get("id"), hidden=wish.get("hidden"))

    def reveal(self, wish: dict) -> None:
        self.revealed = bool(wish.get("on"))
        if self.revealed and self.pair and self.pair["counts"]:
            told = self.store.reveal(self.teacher(), self.hands[0], new_id())
            self.pair["models"] = told["models"]

    def show_pair(self, wish: dict) -> None:
        task = self.store.next_task(self.teacher(), self.current, beyond=True)
        if task.get("kind") != "pair":
            raise Refused("there is no pair to show: open a round of pairs")
        answers = [answer["text"] for answer in task["answers"]]
        self.pair = {"prompt": task["prompt"], "answers": answers, "counts": None, "models": None}
        self.hands = task["task"], None
        self.revealed = False

    def count_hands(self, wish: dict) -> None:
        """Keep a show of hands, in the place of the count before."""
        if not self.pair:
            raise Refused("show a pair first")
        id, counts, (task, before) = new_id(), wish.get("counts"), self.hands
        self.store.answer(self.teacher(), task, "hands", counts, id, replaces=before, ui="console")
        self.pair["counts"], self.hands = counts, (task, id)

    def close_pair(self, wish: dict) -> None:
        self.pair = None

    def teacher(self) -> str:
        """Return the id of the teacher's rater."""
        return self.store.reader("teacher", kind="teacher")
