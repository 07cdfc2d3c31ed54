"""What the tests of the rater card share: rows to rate, and a session that is spoken to as
`card.js` does.
"""

import json

from rlhf_lessons.feedback import new_id
from rlhf_lessons.feedback.session import Session

PROMPT = "What is 4-2 and 3-1?"
GOOD, HALF, BAD = (
    "4-2 is 2 and 3-1 is 2.",
    "4-2 is 2 and 3-1 is 7.",
    "The cow looked out of the window.",
)


def pairs(n: int) -> list[dict]:
    return [
        {
            "prompt": f"{PROMPT} ({i})",
            "completions": [{"text": GOOD, "model": "ppo"}, {"text": BAD}],
        }
        for i in range(n)
    ]


class Card:
    """A session and what it said, as `card.js` would hear it."""

    def __init__(self, store, rows, **more):
        store.add_tasks("r", [{"kind": "pair", "overlap": None} | row for row in rows])
        self.store, self.heard = store, []
        self.session = Session(store, store.reader(), "r", **more)
        self.session.tell = self.hear

    def tell(self, type: str, **more) -> dict:
        """Send a message and return the answer."""
        self.hear(self.session.handle({"type": type, **more}))
        return self.heard[-1]

    def hear(self, message: dict) -> None:
        self.heard.append(json.loads(json.dumps(message)))

    def vote(
        self, choice: str = "left", task: str | None = None, id: str | None = None, **more
    ) -> dict:
        task = task or self.session.current["task"]["task"]
        return self.tell(
            "answer",
            **{
                "id": id or new_id(),
                "task": task,
                "kind": "pair",
                "ms": 900,
                "touched": True,
                "payload": {"choice": choice},
            }
            | more,
        )

    def rows(self) -> list[tuple]:
        return [(row["kind"], row["payload"]) for row in self.store.answers("r")]
