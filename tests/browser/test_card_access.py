"""The rater card in a real browser: texts stay text, keys stay inside, and nobody is shut out."""

import json

import pytest
from card_page import BY_KEYS, GRADES, HOSTILE, KINDS, pairs, task
from playwright.sync_api import expect

from rlhf_lessons import widgets

PHONE = {"viewport": (390, 844), "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
DESK = {"viewport": (1100, 960)}
LOOKS = {"light": DESK, "dark": DESK | {"color_scheme": "dark"}, "phone": PHONE}


def test_hostile_texts_stay_text_in_every_judgement(bench):
    rows = [task(kind, texts=HOSTILE, prompt=HOSTILE[1]) for kind in KINDS]
    for row in rows:
        for answer, model in zip(row["completions"], HOSTILE):
            answer["model"] = model
    card = bench(rows)
    for kind in KINDS:
        card.is_now("open")
        expect(card.card.locator(".rl-prompt p")).to_have_text(HOSTILE[1])
        if kind == "demonstration":
            expect(card.card.locator("textarea")).to_have_value(HOSTILE[0])
        for text in HOSTILE[: KINDS[kind]] if kind != "demonstration" else []:
            expect(card.card.locator(".rl-text", has_text=text)).to_be_visible()
        card.press(*BY_KEYS[kind])
        expect(card.status).to_contain_text("Saved #")
        card.press("r")
        card.is_now("revealed")
        expect(card.card.locator(".rl-note").first).to_contain_text("by ")
        assert card.page.evaluate("window.pwned") is None
        assert card.page.locator(".rl-card").locator("script, img, svg, b b").count() == 0
        card.press("Enter")
    assert len(card.rows()) == len(KINDS)


def test_keys_with_modifiers_and_keys_in_text_fields_do_nothing_and_no_plain_key_leaves_the_card(
    bench,
):
    card = bench(pairs(1))
    card.page.evaluate(
        "window.left = []; document.addEventListener('keydown', (e) => window.left.push(e.key))"
    )
    card.press("Control+1", "Alt+2", "Meta+3", "a", "b", "x", "d", "d", "Backspace", "Shift+Enter")
    card.press("f")
    card.page.keyboard.type("12345su?")
    assert not [message for message in card.heard if message["type"] != "ready"]
    expect(card.card.locator("form input")).to_have_value("12345su?")
    assert card.page.evaluate("window.left") == ["Control", "1", "Alt", "2", "Meta", "3"]


def test_every_key_is_shown_on_its_button_or_in_the_line_of_keys(bench):
    card = bench([*pairs(1), *(task(kind) for kind in list(KINDS)[1:])])

    def shows(*keys: tuple[str, str]) -> None:
        for key, label in keys:
            expect(card.button(label).locator("kbd")).to_have_text(key)
            expect(card.button(label)).to_have_attribute("aria-keyshortcuts", key)

    shows(*((key, label) for key, label, *_ in GRADES), ("S", "Skip"), ("F", "Flag"))
    for own, save in (
        (None, None),
        ("↑ ↓ choose an answer, 1 to 4 put it in this place, T tie", "Save this order"),
        ("1 to 7 score", "Save these scores"),
        ("W write", "Save this answer"),
    ):
        if own:
            expect(card.card.locator(".rl-hint")).to_contain_text(f"Keys: {own}")
            shows(("Enter", save))
        card.press(*BY_KEYS[card.session.current["task"]["kind"]])
        card.is_now("saved")
        shows(("U", "Undo"), ("R", "Reveal"), ("Enter", "Next"))
        card.press("Enter")
        card.card.locator(":scope:not([data-state=saved]):not([data-state=pending])").wait_for()


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_barrier_and_a_thumb_finds_every_button(bench, barriers, shot, look):
    card, found = (
        bench([task(kind) for kind in KINDS], game={"guess": lambda *_: 0.3}, **LOOKS[look]),
        [],
    )
    for kind in KINDS:
        card.is_now("open")
        shot(card.page, f"card-{kind}-{look}-1-open")
        found += barriers(card.page, ".rl-card")
        assert card.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        targets = ".rl-card button, .rl-seven label, .rl-handle"
        small = card.page.evaluate(
            """(targets) => [...document.querySelectorAll(targets)]
            .map((node) => [node.textContent, node.getBoundingClientRect()])
            .filter(([, box]) => box.width && (box.height < 44 || box.width < 44))
            .map(([text]) => text)""",
            targets,
        )
        assert small == []
        card.press(*BY_KEYS[kind])
        card.saved()
        if kind == "ranking":
            shot(card.page, f"card-{kind}-{look}-2-saved")
        card.press("r")
        card.is_now("revealed")
        shot(card.page, f"card-{kind}-{look}-3-revealed")
        found += barriers(card.page, ".rl-card")
        card.press("Enter")
    card.is_now("rest")
    shot(card.page, f"card-{look}-4-done")
    assert found + barriers(card.page, ".rl-card") == []


def test_scrolling_over_an_answer_with_a_finger_reorders_nothing(bench):
    card = bench([task("ranking")], **PHONE)
    touch = card.page.evaluate(
        "getComputedStyle(document.querySelector('.rl-row .rl-text')).touchAction"
    )
    handle = card.page.evaluate(
        "getComputedStyle(document.querySelector('.rl-handle')).touchAction"
    )
    assert (touch, handle) == ("auto", "none")  # only the handle takes hold of an answer


def test_a_thumb_can_do_all_that_keys_can(bench):
    card = bench([task("ranking"), *pairs(2)], **PHONE)
    card.button("Move answer B up").tap()
    card.button("Save this order").tap()
    card.saved(1)
    expect(card.status).to_be_in_viewport()  # and not below the last answer
    card.button("Next").tap()
    card.button("Skip").tap()
    card.button("I cannot tell").tap()
    card.asks("(1)")
    card.button("B much better").tap()
    card.saved()
    card.button("Undo").tap()
    card.is_now("open")
    card.button("Both bad").tap()
    card.saved()
    card.button("Reveal").tap()
    card.is_now("revealed")
    assert [payload for _, payload in card.rows()] == [
        {"ranks": [2, 1, 3, 4]},
        {"reason": "I cannot tell"},
        {"choice": "bad", "strength": 0},
    ]


def test_a_reader_of_the_screen_is_told_what_happens(bench):
    card = bench(pairs(1))
    expect(
        card.page.get_by_role("region", name="Rater card: Which answer is better?")
    ).to_be_visible()
    expect(card.card.get_by_role("heading", name="Which answer is better?")).to_be_visible()
    expect(card.card.get_by_role("progressbar", name="Progress")).to_be_visible()
    expect(card.card.get_by_role("article", name="Answer B")).to_be_visible()
    expect(card.card.get_by_role("group", name="Your judgement")).to_be_visible()
    expect(card.status).to_have_attribute("aria-live", "polite")
    card.button("Tie").click()
    expect(card.card.get_by_role("status")).to_have_text("Saved #1")
    assert card.page.evaluate("document.activeElement.className") == "rl-card"  # the keys work on


def marked(words):
    """Return words as a translation into a language of brackets: every text is marked, the gaps
    stay."""
    if isinstance(words, str):
        return f"⟦{words}⟧"
    if isinstance(words, list):
        return [marked(word) for word in words]
    return {name: marked(word) for name, word in words.items()}


def test_every_word_of_the_card_can_be_translated(bench, monkeypatch):
    monkeypatch.setattr(widgets, "words", lambda: marked(json.loads(widgets.source("words.json"))))
    texts, prompt = ["one", "two", "three", "four"], "prompt"
    card = bench([task(kind, texts=texts, prompt=prompt) for kind in KINDS])
    untranslated = """() => [...document.querySelectorAll(".rl-card *")].flatMap((node) => [
        ...[...node.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data),
        node.ariaLabel, node.title, node.placeholder])
        .filter((text) => /[a-z]{3}/i.test(text ?? "") && !/⟦/.test(text))"""
    kept = {*texts, prompt, "Enter"}  # what people and models wrote, and the names of keys
    for kind in KINDS:
        card.is_now("open")
        card.press("f")
        assert set(card.page.evaluate(untranslated)) <= kept
        card.press("Escape", *BY_KEYS[kind])
        card.is_now("saved")
        card.press("r")
        card.is_now("revealed")
        assert set(card.page.evaluate(untranslated)) <= kept
        card.press("Enter")
    card.is_now("rest")
    assert set(card.page.evaluate(untranslated)) <= kept


def test_a_round_may_ask_something_else_of_two_answers(bench):
    card = bench(pairs(1))
    labels = ["A, surely", "A", "I cannot tell", "B", "B, surely", "Neither"]
    question = "Whose is it? <b>Ours?</b>"
    asked = card.session.current["task"] | {
        "question": question,
        "labels": labels,
        "task": "another",
    }
    card.page.evaluate("message => hear(message)", {"type": "task", "task": asked})
    expect(card.page.get_by_role("region", name=f"Rater card: {question}")).to_be_visible()
    expect(card.card.locator(".rl-question")).to_have_text(question)
    for label in labels:
        expect(card.button(label)).to_be_visible()
