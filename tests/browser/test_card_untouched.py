"""The rater card in a real browser: what was not seen and touched is never saved, and keys are
found by place."""

import pytest
from card_page import GRADES, STORY, pairs, task
from playwright.sync_api import expect

VOTE = ("pair", {"choice": "left", "strength": 1})
NEXT = {
    "ranking": 4,
    "scores": 2,
    "demonstration": 1,
}  # the kinds that Enter saves, and their answers


def after_a_pair(bench, kind: str):
    """A card on which a pair was judged and saved; a task of this kind comes next."""
    card = bench([*pairs(1), task(kind)])
    card.press("2")
    card.saved(1)
    return card


def shows(card, kind: str) -> None:
    """Wait until the next task is on the screen."""
    parts = {"ranking": ".rl-row", "scores": ".rl-criterion", "demonstration": "textarea"}
    expect(card.card.locator(parts[kind]).first).to_be_visible()
    card.is_now("open")


def nothing_was_saved(card) -> None:
    """Give a judgement that was on its way the time to arrive; then the pair is still the only
    one."""
    card.page.wait_for_timeout(300)
    card.is_now("open")
    assert card.rows() == [VOTE]


@pytest.mark.parametrize("pause", [0, 150, 400])
@pytest.mark.parametrize("kind", NEXT)
def test_enter_twice_after_a_pair_does_not_save_the_next_task(bench, kind, pause):
    card = after_a_pair(bench, kind)
    card.press("Enter")
    card.page.wait_for_timeout(pause)
    card.press("Enter")
    shows(card, kind)
    card.press("Enter")
    expect(card.status).to_contain_text("First")  # it says what to do
    nothing_was_saved(card)


@pytest.mark.parametrize("key", ["Enter", "Space", "2"])
@pytest.mark.parametrize("kind", NEXT)
def test_a_key_held_from_one_task_into_the_next_saves_nothing(bench, kind, key):
    card = after_a_pair(bench, kind)
    if key == "Space":
        card.button("Next").focus()
        card.page.keyboard.down("Space")
        card.page.keyboard.up("Space")
    else:
        card.press("Enter")
    for _ in range(8):  # the second and later ones are repeats
        card.page.keyboard.down(key)
        card.page.wait_for_timeout(40)
    card.page.keyboard.up(key)
    shows(card, kind)
    nothing_was_saved(card)


def test_enter_held_on_skip_does_not_send_the_empty_reason(bench):
    card = bench(pairs(1))
    card.button("Skip").focus()
    for _ in range(4):
        card.page.keyboard.down("Enter")
        card.page.wait_for_timeout(40)
    card.page.keyboard.up("Enter")
    expect(card.card.locator(".rl-reasons")).to_be_visible()
    assert card.rows() == []
    card.page.keyboard.press("Enter")
    card.saved(1)
    assert card.rows() == [("skip", {"reason": ""})]


@pytest.mark.parametrize("kind", NEXT)
def test_the_second_half_of_a_double_click_on_next_saves_nothing(bench, kind):
    card = after_a_pair(bench, kind)
    card.button("Next").click()
    shows(card, kind)
    name = {"ranking": "order", "scores": "scores", "demonstration": "answer"}[kind]
    save = card.button(f"Save {'this' if kind != 'scores' else 'these'} {name}").bounding_box()
    card.page.mouse.move(save["x"] + 20, save["y"] + 20)  # say it stands where "Next" stood
    card.page.mouse.down(click_count=2)
    card.page.mouse.up(click_count=2)
    nothing_was_saved(card)
    card.press("Enter")
    nothing_was_saved(card)  # nor was the task touched by it


def test_a_double_click_on_next_chooses_no_side_of_the_next_pair(bench):
    card = bench(pairs(2))
    card.press("2")
    card.saved(1)
    card.button("Next").click()
    card.asks("(1)")
    place = card.button("A much better").bounding_box()
    card.page.mouse.move(place["x"] + 20, place["y"] + 20)
    card.page.mouse.down(click_count=2)
    card.page.mouse.up(click_count=2)
    nothing_was_saved(card)


def test_a_touched_ranking_is_saved_in_the_order_shown_by_keys_and_by_the_button(bench):
    card = after_a_pair(bench, "ranking")
    card.press("Enter", "Enter")
    shows(card, "ranking")
    card.press("ArrowDown", "Enter")  # an answer was read: the order may be right as it is
    card.saved(2)
    assert card.rows()[1] == ("ranking", {"ranks": [1, 2, 3, 4]})
    card.press("u")  # taken back, it comes anew and untouched
    card.is_now("open")
    card.press("Enter")
    nothing_was_saved(card)
    card.button("Save this order").click()
    card.saved(4)


def test_a_draft_is_saved_once_somebody_went_into_it(bench):
    card = after_a_pair(bench, "demonstration")
    card.press("Enter", "Enter")
    shows(card, "demonstration")
    card.press("Enter")
    expect(card.status).to_have_text("First go into the draft with the key W")
    card.press("w", "Tab", "Enter")
    card.saved(2)
    assert card.rows()[1] == ("demonstration", {"text": STORY[0]})


LAYOUTS = {  # what the keys of a layout write, by their places
    "Cyrillic": {"KeyS": "ы", "Digit2": "2"},
    "Greek": {"KeyS": "σ", "Digit2": "2"},
    "Arabic": {"KeyS": "س", "Digit2": "٢"},
    "AZERTY": {"KeyS": "s", "Digit2": "é"},
    "Czech": {"KeyS": "s", "Digit2": "ě"},
    "numpad": {"KeyS": "s", "Numpad2": "2"},
    "an input method": {"KeyS": "Process", "Digit2": "Process"},
    "Dvorak": {"Semicolon": "s", "Digit2": "2"},
}
TYPE = """([key, code, shiftKey]) => document.querySelector(".rl-card").dispatchEvent(
    new KeyboardEvent("keydown", {key, code, shiftKey, bubbles: true, cancelable: true}))"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_work_in_their_places_on_other_layouts(bench, layout):
    card = bench(pairs(1))
    (s_place, s_key), (two_place, two) = LAYOUTS[layout].items()
    card.page.evaluate(TYPE, [s_key, s_place, False])
    expect(card.card.locator(".rl-reasons")).to_be_visible()
    card.press("Escape")
    card.page.evaluate(TYPE, [two, two_place, False])
    card.saved(1)
    assert card.rows() == [VOTE]


@pytest.mark.parametrize(
    "key, code, shift",
    [
        ("o", "KeyS", False),  # Dvorak: O lies where S lies elsewhere
        ("!", "Digit1", True),  # a typist's exclamation mark
        ("End", "Numpad1", False),  # the numpad without Num Lock
        ("-", "Minus", False),
        ("1", "Digit1", None),  # pressed before the task was shown
    ],
)
def test_a_key_that_writes_something_else_does_nothing(bench, key, code, shift):
    card = bench(pairs(1))
    if shift is None:
        card.page.evaluate("""() => { window.early = new KeyboardEvent("keydown",
            {key: "1", code: "Digit1", bubbles: true}); }""")
        card.page.evaluate("unmount(); void window.mount(document.getElementById('here'))")
        card.is_now("open")
        card.page.evaluate("document.querySelector('.rl-card').dispatchEvent(window.early)")
    else:
        card.page.evaluate(TYPE, [key, code, shift])
    card.page.wait_for_timeout(200)
    card.is_now("open")
    expect(card.card.locator(".rl-reasons")).to_be_hidden()
    assert card.rows() == []


def test_every_grade_can_be_given_on_a_french_keyboard(bench):
    card = bench(pairs(6))
    written = dict(zip("123450", "&é\"'(à"))
    for n, (key, _, choice, strength) in enumerate(GRADES, 1):
        card.page.evaluate(TYPE, [written[key], f"Digit{key}", False])
        card.saved(n)
        assert card.rows()[-1] == ("pair", {"choice": choice, "strength": strength})
        card.press("Enter")
