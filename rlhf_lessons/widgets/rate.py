"""`rl.rate`: you are the human rater. A card in the notebook, on top of the ratings store.

    card = rl.rate(pairs, "lesson 3")    # as a cell's last line it shows the card
    card.answers()                       # in a later cell: your judgements so far

The card is `card.js`, the same as on the class page; a `Session` answers its messages. Votes live
in the store: after a kernel restart, run the cell again and continue where you were.
"""

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import anywidget
import traitlets

from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.payloads import PASSES
from rlhf_lessons.feedback.session import Session
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.widgets import card_css, card_js
from rlhf_lessons.world.raters import Rater


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
):
    """Return a card that asks the reader for a judgement on each row, one after the other.

    A row is one of `Store.add_tasks`: a pair, where it does not say "ranking", "scores" or
    "demonstration"; without rows, the card asks what is in the round already. `name` is the rater.
    `simulated` fills in, in `answers`, for what the reader leaves open. `repeats` is the share of
    pairs that come twice.

    The game: `guess(prompt, left, right)` returns the probability that the left answer is
    preferred, or None while it knows too little; it is asked before each vote and opened by the
    reveal. `after_vote(n)` is called in a thread of its own after each judgement, with their number
    so far. Both may be set later, as `card.session.guess` and `card.session.after_vote`. ValueError
    (`Refused`) for rows that the store does not take.
    """
    store = open_store(store)
    given = [{"kind": "pair", "overlap": None} | row for row in rows or []]
    added = store.add_tasks(round, given, repeats)
    session = Session(store, store.reader(name), round, guess=guess, after_vote=after_vote)
    if len(added) < len(given):
        alike = f"{len(given) - len(added)} of {len(given)} were left out"
        session.remark = f"{alike}: their answers are almost the same."
    return RaterCard(session, simulated)


@cache
def open_store(where: Store | str | Path | None) -> Store:
    """Return a store, or that of a file, opened once however often a cell is run."""
    if where is None:
        return Store()
    return where if isinstance(where, Store) else Store(where)


class RaterCard(anywidget.AnyWidget):
    """The card in the notebook: messages between `card.js` and a session. Two views of one card
    show the same."""

    _esm, _css = card_js(), card_css()
    scope = traitlets.Unicode(
        help="Under this name a vote that is not yet saved outlives a reload."
    ).tag(sync=True)

    def __init__(self, session: Session, simulated: Rater | None = None):
        self.session, self.simulated = session, simulated
        where = zlib.crc32(str(session.store.where).encode())
        super().__init__(scope=f"{where:x}/{session.rater}/{session.round}")
        session.tell = self.send
        self.on_msg(lambda _, message, buffers: self.send(session.handle(message)))

    def __repr__(self):
        return "A card for rating answers. It works in Jupyter; what it asks stands there."

    def answers(self) -> list[dict]:
        """Return the judgements on this round as `Store.answers` gives them: the reader's, and
        where a simulated rater is there to help, that one's on what the reader left open, which is
        said in words."""
        mine = self.session.votes()
        if not self.simulated:
            return mine
        store, round = self.session.store, self.session.round
        helper = simulate(store, round, self.simulated)
        done = {row["task"] for row in mine}
        filled = [
            row
            for row in store.answers(round, rater=helper)
            if row["task"] not in done and row["kind"] not in PASSES
        ]
        if filled:
            print(f"{len(mine)} judgements are yours, {len(filled)} a simulated rater's.")
        return mine + filled
