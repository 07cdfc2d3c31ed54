"""The rater card in a real browser, on a bare page: the real `card.js`, a real desk, a real database."""
import itertools
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

import rlhf_lessons.widgets.rate as rate_module
from rlhf_lessons.ratings import CRITERIA, Store
from rlhf_lessons.widgets.rate import Desk, as_task

WIDGETS = Path(rate_module.__file__).parent
HOSTILE = ['<script>window.pwned = 1</script>', '<img src=x onerror="window.pwned = 1"> **not bold**',
           '"><svg onload="window.pwned = 1">', "javascript:window.pwned = 1 {{7*7}} </textarea>"]
STORY = ["Once upon a time, Princess Anna walked into the old castle and met a dragon. They had tea. In the end, they "
         "became friends, and the castle was never cold again.",
         "Anna was a princess. She found a dragon. The dragon was a dragon. Nobody knows what came then, and",
         "The dragon counted the stones of the castle. Princess Anna laughed, and so did the dragon, for years.",
         "I am sorry, here is an e-mail: Dear Tom, thank you for the lamp. Yours, Anna."]
PROMPT = "Write a story about a princess called Anna who befriends a dragon."
WORDS = {"pair": 2, "ranking": 4, "scores": 2, "demonstration": 1}
# http, not https, and no localhost: as on a class page, crypto.randomUUID is missing
PAGE = """<!doctype html><html lang="en"><title>Card</title><link rel="stylesheet" href="/card.css">
<meta name="viewport" content="width=device-width, initial-scale=1"><body style="margin: 12px"><main id="here"></main>
<script type="module">
  import { mountCard } from "/card.js";
  const listeners = new Set();
  window.hear = (message) => listeners.forEach((callback) => callback(message));
  const send = (message) => window.toHost(message).then((replies) => replies.forEach(window.hear));
  const listen = (callback) => { listeners.add(callback); return () => listeners.delete(callback); };
  window.mount = (el) => mountCard(el, { send, listen, patience: 1500, scope: "test" });
  window.unmount = window.mount(document.getElementById("here"));
</script>"""


def task(kind: str, texts=STORY, prompt: str = PROMPT, n: int | None = None, **more) -> dict:
    """A row for the store; models are called one, two, three, four, and rewarded 1, 2, 3, 4."""
    answers = [{"text": text, "model": model, "reward": float(reward), "ended": reward != 2}
               for text, model, reward in zip(texts, ("one", "two", "three", "four"), range(1, 5))]
    return as_task({"kind": kind, "prompt": prompt, "completions": answers[:n or WORDS[kind]], **more})


class Bench:
    """A card on a page, its desk, and the store behind."""

    def __init__(self, page, store: Store, rows: list[dict], **game):
        store.add_tasks("r", rows)
        self.page, self.store, self.fault = page, store, lambda message: None
        self.desk, self.heard = Desk(store, store.reader(), "r", **game), []
        page.expose_function("toHost", self.host)
        files = {"/": (PAGE, "text/html"), "/card.js": ((WIDGETS / "card.js").read_text("utf-8"), "text/javascript"),
                 "/card.css": ((WIDGETS / "card.css").read_text("utf-8"), "text/css")}
        page.route("http://card.test/**", lambda route: route.fulfill(
            body=files[route.request.url.removeprefix("http://card.test")][0],
            content_type=files[route.request.url.removeprefix("http://card.test")][1]))
        page.goto("http://card.test/")
        self.card, self.status = page.locator(".rl-card").first, page.locator(".rl-status").first

    def host(self, message: dict) -> list[dict]:
        """What a server does with a message; `fault(message)` may answer in its place."""
        self.heard.append(message)
        replies = []
        self.desk.send = replies.append
        found = self.fault(message)
        if found is None:
            self.desk.handle(message)
        return json.loads(json.dumps(replies if found is None else found))

    def rows(self) -> list[tuple]:
        """(kind, payload) of each answer now in the store, oldest first."""
        return [(row["kind"], row["payload"]) for row in self.store.answers("r")]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self, n: int | None = None) -> None:
        expect(self.status).to_have_text(re.compile(r"Saved #\d+" if n is None else rf"Saved #{n}\b"))

    def button(self, name: str):
        return self.card.get_by_role("button", name=name, exact=True)


@pytest.fixture
def bench(browser, tmp_path):
    contexts, numbers = [], itertools.count()

    def make(rows, viewport=(1100, 800), game=None, **context) -> Bench:
        contexts.append(browser.new_context(viewport=dict(zip(("width", "height"), viewport)), **context))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
        found = Bench(page, Store(tmp_path / f"{next(numbers)}.sqlite3"), rows, **(game or {}))
        expect(found.card).to_have_attribute("data-state", "open")
        return found

    yield make
    for context in contexts:
        context.close()


# Each judgement by keys and by mouse, from the pixels to the database

KEYS = [("1", "A much better", "left", 2), ("2", "A better", "left", 1), ("3", "Tie", "tie", 0),
        ("4", "B better", "right", 1), ("5", "B much better", "right", 2), ("0", "Both bad", "bad", 0)]


@pytest.mark.parametrize("by", ["keys", "mouse"])
def test_each_grade_of_a_pair_is_stored_as_chosen(bench, by):
    card = bench([task("pair", prompt=f"{PROMPT} ({n})") for n in range(6)])
    for n, (key, label, _, _) in enumerate(KEYS, 1):
        if by == "keys":
            card.card.focus()
            card.press(key)
            card.saved(n)
            card.press("Enter")
        else:
            card.button(label).click()
            card.saved(n)
            card.button("Next").click()
    expect(card.card).to_contain_text("Nothing is left to rate")
    assert card.rows() == [("pair", {"choice": choice, "strength": strength}) for *_, choice, strength in KEYS]
    assert all(0 < row["ms"] < 20_000 and row["ui"] == "card" for row in card.store.answers("r"))


def test_a_ranking_by_keys_with_a_tie_is_stored_as_shown(bench):
    card = bench([task("ranking")])
    card.card.focus()
    card.press("ArrowDown", "ArrowDown", "ArrowDown", "1")  # C comes first: C A B D
    expect(card.status).to_have_text("Answer C: place 1")
    card.press("ArrowDown", "ArrowDown", "t", "Enter")  # B as good as A
    card.saved(1)
    assert card.rows() == [("ranking", {"ranks": [2, 2, 1, 3]})]


def test_a_ranking_by_buttons_and_by_dragging_is_stored_as_shown(bench):
    card = bench([task("ranking")])
    card.button("Move answer A down").click()  # B A C D
    card.button("Move answer D up").click()  # B A D C
    rows = card.card.locator(".rl-row")
    start, end = rows.nth(3).locator(".rl-handle").bounding_box(), rows.nth(0).bounding_box()
    card.page.mouse.move(start["x"] + 20, start["y"] + 20)
    card.page.mouse.down()
    card.page.mouse.move(start["x"] + 20, end["y"] + 5, steps=6)
    card.page.mouse.up()  # C B A D
    expect(card.status).to_have_text("Answer C: place 1")
    card.button("Tie answer D with the one above").click()
    card.button("Save this order").click()
    card.saved(1)
    assert card.rows() == [("ranking", {"ranks": [3, 2, 1, 3]})]


def test_scrolling_over_an_answer_with_a_finger_reorders_nothing(bench):
    card = bench([task("ranking")], viewport=(390, 844), has_touch=True, is_mobile=True)
    touch = card.page.evaluate("getComputedStyle(document.querySelector('.rl-row .rl-text')).touchAction")
    handle = card.page.evaluate("getComputedStyle(document.querySelector('.rl-handle')).touchAction")
    assert (touch, handle) == ("auto", "none")  # only the handle takes hold of an answer


def test_scores_by_keys_and_by_mouse_are_stored_and_none_may_be_left_open(bench):
    card = bench([task("scores"), task("scores", n=1)])
    card.card.focus()
    card.press("6", "5", "Enter")
    expect(card.status).to_have_text("Still open: clarity of answer A")
    card.press("7", "3", "4", "1", "Enter")
    card.saved(1)
    card.press("Enter")
    for name, score in (("relevance", 7), ("accuracy", 2), ("clarity", 4)):
        card.card.get_by_role("radio", name=f"{name} of answer A: {score} of 7").click()
    card.button("Save these scores").click()
    card.saved(2)
    assert card.rows() == [
        ("scores", {"scores": [{"relevance": 6, "accuracy": 5, "clarity": 7},
                               {"relevance": 3, "accuracy": 4, "clarity": 1}]}),
        ("scores", {"scores": [{"relevance": 7, "accuracy": 2, "clarity": 4}]})]


def test_the_definition_stands_beside_each_criterion_and_is_the_stores(bench):
    card = bench([task("scores", n=1)])
    assert card.page.evaluate("import('/card.js').then((card) => card.CRITERIA)") == CRITERIA
    for name, definition in CRITERIA.items():
        expect(card.card.locator("legend", has_text=name)).to_have_text(f"{name} {definition}")


def test_a_demonstration_is_written_from_nothing_or_edited_and_typing_presses_no_keys(bench):
    card = bench([task("demonstration", n=0, texts=[]), task("demonstration")])
    card.card.focus()
    card.press("Enter")
    expect(card.status).to_have_text("The answer is still empty")
    card.press("w")
    card.page.keyboard.type("s1 is a fun, short text?")
    card.press("Tab", "Enter")
    card.saved(1)
    card.press("Enter")
    expect(card.card.locator("textarea")).to_have_value(STORY[0])
    card.card.locator("textarea").fill("Anna.\n\nThe end.")
    card.button("Save this answer").click()
    card.saved(2)
    assert card.rows() == [("demonstration", {"text": "s1 is a fun, short text?"}),
                           ("demonstration", {"text": "Anna.\n\nThe end."})]


def test_skip_and_flag_take_a_reason_go_on_at_once_and_can_be_undone(bench):
    card = bench([task("pair", prompt=f"{PROMPT} ({n})") for n in range(3)])
    card.card.focus()
    card.press("s")
    card.page.keyboard.type("2 hard")
    card.press("Enter")
    card.saved(1)
    expect(card.card.locator(".rl-prompt")).to_contain_text("(1)")
    card.button("Flag").click()
    card.button("Broken text").click()
    card.saved(2)
    expect(card.card.locator(".rl-prompt")).to_contain_text("(2)")
    assert card.rows() == [("skip", {"reason": "2 hard"}), ("flag", {"reason": "Broken text"})]
    card.button("Undo").click()
    expect(card.card.locator(".rl-prompt")).to_contain_text("(1)")
    assert card.rows() == [("skip", {"reason": "2 hard"})]


def test_undo_brings_the_task_back_until_the_reveal_locks_it(bench):
    card = bench([task("pair")])
    card.card.focus()
    card.press("1")
    card.saved(1)
    card.press("u")
    expect(card.card).to_have_attribute("data-state", "open")
    assert card.rows() == []
    card.press("5")
    card.saved(3)
    card.press("r")
    expect(card.card).to_have_attribute("data-state", "revealed")
    expect(card.button("Undo")).to_have_count(0)
    card.press("u", "1")
    assert card.rows() == [("pair", {"choice": "right", "strength": 2})]


def test_it_is_blind_until_the_judgement_and_the_reveal_tells_all(bench):
    card = bench([task("pair", gold={"best": 0, "why": "It has an <b>ending</b>."})])
    other = card.store.add_rater("other")
    theirs = card.store.next_task(other, "r")
    best = theirs["answers"].index({"text": STORY[0], "ended": True})
    card.store.answer(other, theirs["task"], "pair", {"choice": ("left", "right")[best], "strength": 1}, "other-vote")
    card.button("A better").click()
    card.saved()
    before = json.dumps(card.heard) + card.page.content()
    assert "by one" not in before and "reward model" not in before and "other:" not in before
    card.button("Reveal").click()
    pane = card.card.locator(".rl-pane", has_text=STORY[0])
    expect(pane).to_contain_text("by one")
    expect(pane).to_contain_text("reward model: +1.00")
    expect(card.card.locator(".rl-pane", has_text=STORY[1])).to_contain_text("reward model: +2.00, its favourite")
    letter = pane.get_attribute("aria-label")[-1]
    expect(card.card.locator(".rl-others")).to_contain_text(f"1 other: 1 {letter} better")
    expect(card.card.locator(".rl-gold")).to_contain_text(f"{letter} is the better one. It has an <b>ending</b>.")


def test_the_sealed_guess_is_opened_by_the_reveal_and_counted(bench):
    asked = []

    def guess(prompt, left, right):
        asked.append((prompt, left, right))
        return None if len(asked) == 1 else 0.8

    card = bench([task("pair", prompt=f"{PROMPT} ({n})") for n in range(4)], game={"guess": guess})
    expect(card.card.locator(".rl-game")).to_have_text("The reward model has no guess yet.")
    card.card.focus()
    for key, said in (("1", None), ("2", "Right! It guessed 1 of 1."), ("4", "Wrong! It guessed 1 of 2."),
                      ("3", "No point: you named no winner. It guessed 1 of 2.")):
        assert "80 %" not in card.page.content()
        card.press(key)
        card.saved()
        card.press("r")
        expect(card.card).to_have_attribute("data-state", "revealed")
        if said:
            expect(card.card.locator(".rl-opened")).to_have_text(f"Its sealed guess: A, 80 % sure. {said}")
        card.press("Enter")
    assert len(asked) == 4


# Nothing is lost, nothing counts twice

def test_a_vote_that_was_not_saved_is_kept_and_sent_again_under_the_same_id(bench):
    card, tries = bench([task("pair")]), []

    def fault(message):
        if message["type"] == "answer":
            tries.append(message["id"])
            if len(tries) < 2:
                return [{"type": "nack", "id": message["id"], "reason": "the disk is full", "retry": True}]

    card.fault = fault
    card.button("Tie").click()
    expect(card.status).to_have_text("NOT saved, because the disk is full. Your judgement is kept and sent again.")
    expect(card.button("Tie")).to_be_disabled()
    card.button("Try now").click()
    card.saved(1)
    assert len(tries) == 2 and len(set(tries)) == 1 and len(card.rows()) == 1


def test_a_vote_whose_acknowledgement_got_lost_counts_once(bench):
    card, lost = bench([task("pair")]), []

    def fault(message):
        if message["type"] == "answer" and not lost:
            lost.append(message)
            card.desk.handle(message)
            return []

    card.fault = fault
    card.button("A better").click()
    expect(card.status).to_contain_text("NOT saved, because the server does not answer.")
    card.saved(1)  # after a pause it sends again by itself
    assert len(card.rows()) == 1


def test_a_vote_that_never_arrived_survives_a_reload(bench):
    card = bench([task("pair"), task("pair", prompt="Another prompt")])
    card.fault = lambda message: [] if message["type"] == "answer" else None
    card.button("B better").click()
    expect(card.status).to_contain_text("NOT saved")
    card.fault = lambda message: None
    card.page.reload()
    card.saved(1)
    expect(card.button("B better")).to_have_attribute("aria-pressed", "true")
    assert card.rows() == [("pair", {"choice": "right", "strength": 1})]


def test_a_reload_and_a_second_view_show_the_same_as_the_first(bench):
    card = bench([task("pair"), task("pair", prompt="Another prompt")])
    card.button("B better").click()
    card.saved(1)
    card.page.reload()
    card.saved(1)
    expect(card.button("B better")).to_have_attribute("aria-pressed", "true")
    card.page.evaluate("void window.mount(document.body)")
    second = card.page.locator(".rl-card").nth(1)
    expect(second.locator(".rl-status")).to_have_text("Saved #1")
    second.get_by_role("button", name="Next").click()
    for view in (card.card, second):
        expect(view.locator(".rl-prompt")).to_contain_text("Another prompt")
    card.button("Tie").click()
    for view in (card.card, second):
        expect(view.get_by_role("button", name="Tie", exact=True)).to_have_attribute("aria-pressed", "true")
        expect(view).to_have_attribute("data-state", "saved")
    assert len(card.rows()) == 2


def test_a_refused_vote_says_why_and_shows_what_is_true(bench):
    card = bench([task("pair"), task("pair", prompt="Another prompt")])
    here = card.desk.current["task"]["task"]  # answered meanwhile in another window
    card.store.answer(card.desk.rater, here, "pair", {"choice": "tie"}, "elsewhere")
    card.button("A better").click()
    expect(card.status).to_contain_text("NOT saved, because you have answered this task already")
    expect(card.card.locator(".rl-prompt")).to_contain_text("Another prompt")
    assert card.rows() == [("pair", {"choice": "tie", "strength": 0})]


def test_a_double_click_and_a_held_key_are_one_vote(bench):
    card = bench([task("pair"), task("pair", prompt="Another prompt")])
    card.button("A better").dblclick()
    card.saved(1)
    card.page.keyboard.down("1")
    card.page.keyboard.down("1")
    assert len([message for message in card.heard if message["type"] == "answer"]) == 1


def test_what_the_teacher_does_is_told_and_the_card_goes_on_by_itself(bench):
    card = bench([task("pair"), task("pair", prompt="Another prompt")])
    card.store.set_round("r", "paused")
    card.button("Tie").click()
    card.saved()
    card.button("Next").click()
    expect(card.card).to_contain_text("The teacher has paused this round.")
    card.store.set_round("r", "open")
    expect(card.card.locator(".rl-prompt")).to_contain_text("Another prompt")


# Texts stay text, keys stay inside, and nobody is shut out

@pytest.mark.parametrize("kind", WORDS)
def test_hostile_texts_stay_text(bench, kind):
    row = task(kind, texts=HOSTILE, prompt=HOSTILE[1])
    for answer, model in zip(row["completions"], HOSTILE):
        answer["model"] = model
    card = bench([row])
    card.store.set_guideline(HOSTILE[2])
    card.page.reload()
    expect(card.card.locator(".rl-prompt p")).to_have_text(HOSTILE[1])
    expect(card.card.locator(".rl-guideline p")).to_have_text(HOSTILE[2])
    if kind == "demonstration":
        expect(card.card.locator("textarea")).to_have_value(HOSTILE[0])
    else:
        for text in HOSTILE[:WORDS[kind]]:
            expect(card.card.locator(".rl-text", has_text=text)).to_be_visible()
    card.card.focus()
    card.press(*{"pair": "1", "ranking": ["Enter"], "scores": "111111", "demonstration": ["Enter"]}[kind])
    if kind == "scores":
        card.press("Enter")
    card.saved()
    card.press("r")
    expect(card.card).to_have_attribute("data-state", "revealed")
    assert card.page.evaluate("window.pwned") is None
    assert card.page.locator(".rl-card script, .rl-card img, .rl-card svg, .rl-card b b").count() == 0


def test_keys_with_modifiers_and_keys_in_text_fields_do_nothing_and_no_plain_key_leaves_the_card(bench):
    card = bench([task("pair")])
    card.page.evaluate("window.left = []; document.addEventListener('keydown', (e) => window.left.push(e.key))")
    card.card.focus()
    card.press("Control+1", "Alt+2", "Meta+3", "a", "b", "x", "d", "d", "Backspace")
    card.press("f")
    card.page.keyboard.type("12345su?")
    assert not [message for message in card.heard if message["type"] != "ready"]
    expect(card.card.locator("form input")).to_have_value("12345su?")
    assert card.page.evaluate("window.left") == ["Control", "1", "Alt", "2", "Meta", "3"]


def test_every_key_is_shown_on_its_button_and_the_help_lists_them_all(bench):
    card = bench([task("pair")])
    for key, label, *_ in [*KEYS, ("S", "Skip"), ("F", "Flag"), ("U", "Undo"), ("?", "Keys")]:
        expect(card.button(label).locator("kbd")).to_have_text(key)
        expect(card.button(label)).to_have_attribute("aria-keyshortcuts", key)
    card.card.focus()
    card.press("?")
    expect(card.card.locator(".rl-help dt")).to_have_text([key for key, *_ in KEYS] + ["S", "F", "U", "R", "Enter"])


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_axe_finds_no_barrier_and_a_thumb_finds_every_button(bench, barriers, shot, kind, look):
    phone = {"viewport": (390, 844), "is_mobile": True, "has_touch": True} if look == "phone" else {}
    card = bench([task(kind)], color_scheme="dark" if look == "dark" else "light", **phone)
    shot(card.page, f"card-{kind}-{look}-1-open")
    found = barriers(card.page, ".rl-card")
    assert card.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = card.page.evaluate("""[...document.querySelectorAll('.rl-card button, .rl-seven label, .rl-handle')]
        .map((node) => [node.textContent, node.getBoundingClientRect()])
        .filter(([, box]) => box.width && (box.height < 44 || box.width < 40)).map(([text]) => text)""")
    assert small == []
    card.card.focus()
    card.press(*{"pair": ["2"], "ranking": ["ArrowDown", "ArrowDown", "t", "Enter"], "scores": [*"654321", "Enter"],
                 "demonstration": ["Enter"]}[kind])
    card.saved()
    card.press("r")
    expect(card.card).to_have_attribute("data-state", "revealed")
    shot(card.page, f"card-{kind}-{look}-2-revealed")
    assert found + barriers(card.page, ".rl-card") == []


def test_a_reader_of_the_screen_is_told_what_happens(bench):
    card = bench([task("pair")])
    expect(card.page.get_by_role("region", name="Rater card: Which answer is better?")).to_be_visible()
    expect(card.card.get_by_role("progressbar", name="Progress")).to_be_visible()
    expect(card.card.get_by_role("article", name="Answer B")).to_be_visible()
    expect(card.card.get_by_role("group", name="Your judgement")).to_be_visible()
    expect(card.status).to_have_attribute("aria-live", "polite")
    card.button("Tie").click()
    expect(card.card.get_by_role("status")).to_have_text("Saved #1")
    assert card.page.evaluate("document.activeElement.className") == "rl-card"  # the keys work on
