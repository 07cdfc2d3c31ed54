"""What the browser tests of the card share: a bare page with the real `card.js`, a real session, a
real database."""

import json
import re
from pathlib import Path

from playwright.sync_api import expect

import rlhf_lessons.widgets.rate as rate_module
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.session import Session
from rlhf_lessons.widgets import card_css, card_js

WIDGETS = Path(rate_module.__file__).parent
HOSTILE = [
    "<script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned = 1"> **not bold**',
    '"><svg onload="window.pwned = 1">',
    "javascript:window.pwned = 1 {{7*7}} </textarea>",
]
STORY = [
    "Once upon a time, Princess Anna walked into the old castle and met a dragon. They had tea. "
    "In the end, they "
    "became friends, and the castle was never cold again.",
    "Anna was a princess. She found a dragon. The dragon was a dragon. Nobody knows what came "
    "then, and",
    "The dragon counted the stones of the castle. Princess Anna laughed, and so did the dragon, "
    "for years.",
    "I am sorry, here is an e-mail: Dear Tom, thank you for the lamp. Yours, Anna.",
]
PROMPT = "Write a story about a princess called Anna who befriends a dragon."
KINDS = {
    "pair": 2,
    "ranking": 4,
    "scores": 2,
    "demonstration": 1,
}  # and how many answers each shows here
GRADES = [
    ("1", "A much better", "left", 2),
    ("2", "A better", "left", 1),
    ("3", "Tie", "tie", 0),
    ("4", "B better", "right", 1),
    ("5", "B much better", "right", 2),
    ("0", "Both bad", "bad", 0),
]
BY_KEYS = {
    "pair": "2",
    "ranking": ["ArrowDown", "ArrowDown", "t", "Enter"],
    "scores": [*"654321", "Enter"],
    "demonstration": ["w", "Tab", "Enter"],
}  # some judgement of each kind
# http, not https, and no localhost: as on a class page, crypto.randomUUID is missing
PAGE = """<!doctype html><html lang="en"><title>Card</title><link rel="stylesheet" href="/card.css">
<meta name="viewport" content="width=device-width, initial-scale=1">
<body style="margin: 12px"><main id="here"></main>
<script type="module">
  import { mountCard } from "/card.js";
  const listeners = new Set();
  window.hear = (message) => listeners.forEach((callback) => callback(message));
  const send = (message) => window.toHost(message).then((replies) => replies.forEach(window.hear));
  const listen = (callback) => {
    listeners.add(callback);
    return () => listeners.delete(callback);
  };
  window.mount = (el) => mountCard(el, { send, listen, patience: 1500,
    silence: "the server does not answer", scope: "test" });
  window.unmount = window.mount(document.getElementById("here"));
</script>"""


def task(kind: str, texts=STORY, prompt: str = PROMPT, n: int | None = None, **more) -> dict:
    """A row for the store; models are called one, two, three, four, and rewarded 1, 2, 3, 4."""
    answers = [
        {"text": text, "model": model, "reward": float(reward), "ended": reward != 2}
        for text, model, reward in zip(texts, ("one", "two", "three", "four"), range(1, 5))
    ]
    return {
        "kind": kind,
        "overlap": None,
        "prompt": prompt,
        "completions": answers[: KINDS[kind] if n is None else n],
        **more,
    }


def pairs(n: int) -> list[dict]:
    return [task("pair", prompt=f"{PROMPT} ({i})") for i in range(n)]


class Bench:
    """A card on a page, its session, and the store behind."""

    def __init__(self, page, where: Path, rows: list[dict], **game):
        self.store, self.fault, self.heard = Store(where), lambda message: None, []
        self.store.add_tasks("r", rows)
        self.new_kernel(**game)
        self.open(page)
        self.is_now("open")

    def open(self, page) -> None:
        """Show the card on this page."""
        self.page = page
        page.expose_function("toHost", self.host)
        files = {
            "/": (PAGE, "text/html"),
            "/card.js": (card_js(), "text/javascript"),
            "/card.css": (card_css(), "text/css"),
        }

        def give(route) -> None:
            body, content_type = files[route.request.url.removeprefix("http://card.test")]
            route.fulfill(body=body, content_type=content_type)

        page.route("http://card.test/**", give)
        page.goto("http://card.test/")
        self.card, self.status = page.locator(".rl-card").first, page.locator(".rl-status").first

    def new_kernel(self, **game) -> None:
        """Forget all that is not in the store, as a restart does."""
        self.session = Session(self.store, self.store.reader(), "r", **game)

    def host(self, message: dict) -> list[dict]:
        """What a server does with a message; `fault(message)` may answer in its place."""
        self.heard.append(message)
        replies = []
        self.session.tell = replies.append
        found = self.fault(message)
        if found is None:
            replies.append(self.session.handle(message))
        return json.loads(json.dumps(replies if found is None else found))

    def rows(self) -> list[tuple]:
        """(kind, payload) of each answer now in the store, oldest first."""
        return [(row["kind"], row["payload"]) for row in self.store.answers("r")]

    def hears_answers(self, n: int) -> None:
        """Wait until the card has sent n answers, or one answer n times."""
        for _ in range(200):
            if [message["type"] for message in self.heard].count("answer") >= n:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the card did not send {n} answers in 20 seconds")

    def press(self, *keys: str) -> None:
        """Press keys with the focus on the card, or on what in it has it."""
        if not self.page.evaluate(
            "document.querySelector('.rl-card').contains(document.activeElement)"
        ):
            self.card.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self, n: int | None = None) -> None:
        expect(self.status).to_have_text(
            re.compile(r"Saved #\d+" if n is None else rf"Saved #{n}\b")
        )

    def is_now(self, state: str) -> None:
        expect(self.card).to_have_attribute("data-state", state)

    def asks(self, prompt: str) -> None:
        expect(self.card.locator(".rl-prompt")).to_contain_text(prompt)

    def button(self, name: str):
        return self.card.get_by_role("button", name=name, exact=True)
