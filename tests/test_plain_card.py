"""The plain card, for where the rater card does not appear: worked by `.click()` and `.value`, as a reader does."""

import ipywidgets
import pytest
from card_desk import BAD, GOOD, HALF, PROMPT, pairs

from rlhf_lessons.widgets.plain_card import PlainCard
from rlhf_lessons.widgets.rate import rate
from rlhf_lessons.world.raters import Rater

TEXTS = [{"text": text, "model": "ppo", "reward": 0.5} for text in (GOOD, BAD, HALF)]


def press(card: PlainCard, label: str) -> None:
    """Click the button of this name, if it can be clicked."""
    (button,) = [
        button
        for button in (*card.buttons.values(), *card.form.children)
        if isinstance(button, ipywidgets.Button) and button.description == label
    ]
    assert not button.disabled, label
    button.click()


def can(card: PlainCard) -> set[str]:
    return {name for name, button in card.buttons.items() if not button.disabled}


def said(card: PlainCard) -> list[tuple]:
    return [(row["kind"], row["payload"]) for row in card.desk.store.answers("r")]


@pytest.fixture
def card(store):
    return rate(pairs(7), "r", store=store, fallback=True)


def test_each_grade_of_a_pair_is_stored_as_chosen(card):
    assert isinstance(card, PlainCard) and "0 of 7 done" in card.text.value
    grades = {
        "A much better": ("left", 2),
        "A better": ("left", 1),
        "Tie": ("tie", 0),
        "B better": ("right", 1),
        "B much better": ("right", 2),
        "Both bad": ("bad", 0),
    }
    for n, label in enumerate(grades, 1):
        press(card, label)
        assert f"Saved #{n}." in card.status.value and f"{n} of 7 done" in card.text.value
        press(card, "Next")
    assert said(card) == [
        ("pair", {"choice": choice, "strength": strength}) for choice, strength in grades.values()
    ]
    assert len(card.answers()) == 6


def test_skip_takes_the_reason_in_the_box_goes_on_and_undo_brings_the_task_back(card):
    first = card.desk.current["task"]["task"]
    card.reason.value = "too hard"
    press(card, "Skip")
    assert said(card) == [("skip", {"reason": "too hard"})] and card.reason.value == ""
    assert card.desk.current["task"]["task"] != first
    press(card, "Undo")
    assert (
        said(card) == []
        and card.desk.current["task"]["task"] == first
        and "Taken back" in card.status.value
    )


def test_it_is_blind_until_the_judgement_and_the_reveal_tells_all_and_locks(store):
    rate(
        [{"prompt": PROMPT, "completions": TEXTS[:2]}], "r", store=store, simulated=Rater()
    ).answers()
    card = rate(None, "r", store=store, fallback=True, guess=lambda *_: 0.8)
    assert can(card) == {"Skip", "Flag"} and "sealed its guess" in card.text.value
    assert not {"ppo", "0.5", "80%", "others"} & set(card.text.value.split())
    press(card, "A better")
    assert can(card) == {"Undo", "Reveal", "Next"} and "ppo" not in card.text.value
    press(card, "Reveal")
    for words in (
        "by ppo, reward model: +0.50",
        "1 other (1 simulated): 1 ",
        "Its sealed guess: A, 80% sure. Right! It knows you: right in 1 of 1.",
    ):
        assert words in card.text.value
    assert can(card) == {"Next"} and all(button.disabled for button in card.form.children)
    press(card, "Next")
    assert "Nothing is left" in card.text.value and card.form.children == ()


def test_the_other_judgements_go_too_and_one_that_is_not_complete_stays_as_it_was(store):
    rows = [
        {"kind": "ranking", "completions": TEXTS},
        {"kind": "scores", "completions": TEXTS[:1]},
        {"kind": "demonstration", "completions": TEXTS[:1]},
    ]
    card = rate(
        [row | {"prompt": f"{PROMPT} {i}"} for i, row in enumerate(rows)],
        "r",
        store=store,
        fallback=True,
    )
    card.form.children[0].value = 2
    press(card, "Save")
    assert (
        "NOT saved, because" in card.status.value
        and card.form.children[0].value == 2
        and said(card) == []
    )
    card.form.children[1].value, card.form.children[2].value = 1, 2
    press(card, "Save")
    press(card, "Next")
    assert "Does it do what was asked?" in card.form.children[0].description
    for box, mark in zip(card.form.children, (7, 2, 4)):
        box.value = mark
    press(card, "Save")
    press(card, "Next")
    assert card.form.children[0].value == GOOD
    card.form.children[0].value = "Better."
    press(card, "Save")
    assert said(card) == [
        ("ranking", {"ranks": [2, 1, 2]}),
        ("scores", {"scores": [{"relevance": 7, "accuracy": 2, "clarity": 4}]}),
        ("demonstration", {"text": "Better."}),
    ]


def test_a_vote_that_was_not_saved_says_why_and_can_be_given_again(card, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(card.desk.store, "answer", lambda *_, **__: 1 / 0)
        press(card, "Tie")
    assert "NOT saved, because division by zero" in card.status.value and said(card) == []
    press(card, "Tie")
    assert said(card) == [("pair", {"choice": "tie", "strength": 0})]


def test_hostile_texts_stay_text(store):
    rows = [
        {
            "prompt": "<b>0</b>",
            "left": "<script>1</script>",
            "right": "two",
            "left_model": "<img src=x>",
        }
    ]
    card = rate(rows, "r", store=store, fallback=True)
    press(card, "Tie")
    press(card, "Reveal")
    assert not [mark for mark in ("<script", "<b>0", "<img") if mark in card.text.value]
