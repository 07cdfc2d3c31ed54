"""The rater card in a real browser: each judgement by keys and by mouse, from the pixels to the
database."""

import json

import pytest
from card_page import GRADES, PROMPT, STORY, pairs, task
from playwright.sync_api import expect

from rlhf_lessons.feedback import CRITERIA
from rlhf_lessons.widgets import words


@pytest.mark.parametrize("by", ["keys", "mouse"])
def test_each_grade_of_a_pair_is_stored_as_chosen(bench, by):
    card = bench(pairs(6))
    for n, (key, label, _, _) in enumerate(GRADES, 1):
        card.is_now("open")  # a key pressed before the next pair is there would be lost
        if by == "keys":
            card.press(key)
            card.saved(n)
            card.press("Enter")
        else:
            card.button(label).click()
            card.saved(n)
            card.button("Next").click()
    expect(card.card).to_contain_text("Nothing is left to rate")
    assert card.rows() == [
        ("pair", {"choice": choice, "strength": strength}) for *_, choice, strength in GRADES
    ]
    assert all(0 < row["ms"] < 60_000 and row["ui"] == "card" for row in card.store.answers("r"))


def test_a_ranking_by_keys_with_a_tie_is_stored_as_shown(bench):
    card = bench([task("ranking")])
    card.press("t")
    expect(card.status).to_have_text("First choose an answer with the keys ↑ and ↓")
    card.press("ArrowDown", "ArrowDown", "ArrowDown", "1")  # C comes first: C A B D
    expect(card.status).to_have_text("Answer C: place 1")
    card.press("ArrowDown", "ArrowDown", "t")  # B as good as A
    expect(card.status).to_have_text("Answer B: place 2, tied with A")
    card.press("Enter")
    card.saved(1)
    assert card.rows() == [("ranking", {"ranks": [2, 2, 1, 3]})]


def test_a_ranking_by_buttons_and_by_dragging_is_stored_as_shown(bench):
    card = bench([task("ranking")])
    card.button("Move answer A up").click(force=True)
    expect(card.status).to_have_text("Answer A: place 1")  # it is first already
    card.button("Move answer A down").click()  # B A C D
    card.button("Move answer D up").click()  # B A D C
    assert (
        card.page.evaluate("document.activeElement.ariaLabel") == "Move answer D up"
    )  # it moved with its answer
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


def test_a_tie_ends_when_one_of_the_two_moves_away(bench):
    card = bench([task("ranking")])
    card.button("Tie answer B with the one above").click()
    card.button("Tie answer D with the one above").click()
    card.button("Move answer A down").click()  # B A C=D
    card.button("Move answer D down").click(force=True)  # nothing: it is last already
    card.button("Save this order").click()
    card.saved(1)
    assert card.rows() == [("ranking", {"ranks": [2, 1, 3, 3]})]


def test_scores_by_keys_and_by_mouse_are_stored_and_none_may_be_left_open(bench):
    card = bench([task("scores"), task("scores", n=1)])
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
        (
            "scores",
            {
                "scores": [
                    {"relevance": 6, "accuracy": 5, "clarity": 7},
                    {"relevance": 3, "accuracy": 4, "clarity": 1},
                ]
            },
        ),
        ("scores", {"scores": [{"relevance": 7, "accuracy": 2, "clarity": 4}]}),
    ]


def test_the_definition_stands_beside_each_criterion_and_they_are_the_stores(bench):
    card = bench([task("scores", n=1)])
    criteria = words()["scores"]["criteria"]
    assert list(criteria) == list(CRITERIA)
    for name, definition in criteria.values():
        expect(card.card.locator("legend", has_text=name)).to_have_text(f"{name} {definition}")


def test_a_demonstration_is_written_from_nothing_or_edited_and_typing_presses_no_keys(bench):
    card = bench([task("demonstration", n=0), task("demonstration")])
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
    assert card.rows() == [
        ("demonstration", {"text": "s1 is a fun, short text?"}),
        ("demonstration", {"text": "Anna.\n\nThe end."}),
    ]


def test_a_card_of_pairs_shows_nothing_of_rankings_scores_and_demonstrations(bench):
    card = bench(pairs(1))
    expect(card.card.locator(".rl-choice")).to_have_count(6)
    expect(card.card.locator("ol, textarea, input, .rl-hint:not(:empty)")).to_have_count(0)


def test_skip_and_flag_take_a_reason_go_on_at_once_and_can_be_undone(bench):
    card = bench(pairs(3))
    expect(card.button("Undo")).to_have_count(0)  # there is nothing to undo
    card.press("s", "Escape", "s")
    card.page.keyboard.type("2 hard")
    card.press("Enter")
    card.saved(1)
    card.asks("(1)")
    card.button("Flag").click()
    card.button("Broken text").click()
    card.saved(2)
    card.asks("(2)")
    assert card.rows() == [("skip", {"reason": "2 hard"}), ("flag", {"reason": "Broken text"})]
    card.button("Undo").click()
    card.asks("(1)")
    assert card.rows() == [("skip", {"reason": "2 hard"})]


def test_undo_brings_the_task_back_until_the_reveal_locks_it(bench):
    card = bench(pairs(1))
    card.press("1")
    card.saved(1)
    card.press("u")
    card.is_now("open")
    assert card.rows() == []
    card.press("5")
    card.saved(3)
    card.press("r")
    card.is_now("revealed")
    expect(card.button("Undo")).to_have_count(0)
    card.press("u", "1")
    assert card.rows() == [("pair", {"choice": "right", "strength": 2})]


def test_a_double_click_on_save_reveals_nothing(bench):
    card = bench([task("demonstration")])
    place = card.button("Save this answer").bounding_box()
    at = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    card.page.mouse.click(*at)
    card.saved(1)
    card.page.mouse.down(click_count=2)  # the second click, on what stands there now
    card.page.mouse.up(click_count=2)
    card.page.wait_for_timeout(300)
    card.is_now("saved")
    card.button("Reveal").click()
    card.is_now("revealed")


def test_it_is_blind_until_the_judgement_and_the_reveal_tells_all(bench):
    card = bench([task("pair")])
    for name, kind in (("other", "person"), ("simulated x", "simulated")):
        rater = card.store.add_rater(name, kind=kind)
        theirs = card.store.next_task(rater, "r")
        best = theirs["answers"].index({"text": STORY[0], "ended": True})
        choice = {"choice": ("left", "right")[best], "strength": 1}
        card.store.answer(rater, theirs["task"], "pair", choice, f"the-vote-of-{kind}")
    card.button("A better").click()
    card.saved()
    before = json.dumps(card.heard) + card.page.content()
    assert not [
        word
        for word in ("by one", "reward model", "1.00", "2 others", "simulated")
        if word in before
    ]
    card.button("Reveal").click()
    pane = card.card.locator(".rl-pane", has_text=STORY[0])
    expect(pane).to_contain_text("by one")
    expect(pane).to_contain_text("reward model: +1.00")
    expect(card.card.locator(".rl-pane", has_text=STORY[1])).to_contain_text(
        "reward model: +2.00, its favourite"
    )
    letter = pane.get_attribute("aria-label")[-1]
    expect(card.card.locator(".rl-others")).to_contain_text(
        f"2 others, 1 of them simulated: 2 {letter} better"
    )


def test_progress_and_the_time_left_are_shown(bench):
    card = bench(pairs(2))
    progress = card.card.locator(".rl-progress")
    expect(progress).to_have_text("0 of 2 done")
    card.press("1")
    expect(progress).to_have_text("1 of 2 done, less than a minute left")
    card.page.evaluate("""hear({type: "task", task: {state: "waiting"},
        progress: {done: 9, passed: 2, left: 30, seconds: 8.2}})""")
    expect(progress).to_have_text("9 of 39 done, 2 skipped, about 4 min left")
    expect(card.card).to_contain_text("The others have the rest.")


# The game


def test_the_sealed_guess_is_opened_by_the_reveal_and_counted_over_a_restart_too(bench, shot):
    votes, opened = [], None
    card = bench(pairs(5))
    game = card.card.locator(".rl-game")
    expect(game).to_be_hidden()  # no reward model looks on
    card.press("1")
    card.saved()
    card.session.guess = lambda *texts: (
        0.8 if votes else None
    )  # it is there now, but has learned too little
    card.press("Enter")
    expect(game).to_have_text("The reward model has no guess yet: it learns from your votes.")
    for key, opened, score in (
        ("1", None, ""),
        ("2", "Right!", "1 of 1"),
        ("4", "Wrong!", "1 of 2"),
    ):
        card.press(key)
        card.saved()
        card.press("r")
        card.is_now("revealed")
        if opened:
            expect(game).to_have_text(
                f"Its sealed guess: A, 80 % sure. {opened} It knows you: right in {score}."
            )
            shot(card.page, f"card-game-{opened[:5].lower()}")
        votes.append(key)
        card.press("Enter")
        expect(game).to_contain_text("The reward model has sealed its guess.")
        assert "80 %" not in card.page.content()
    expect(game).to_have_attribute("aria-live", "polite")  # a screen reader hears it
    shot(card.page, "card-game-sealed")
    card.new_kernel()
    card.page.reload()
    expect(game).to_have_text(
        "The reward model has sealed its guess. It knows you: right in 1 of 2."
    )
    card.press("3")
    card.saved()
    card.press("r")
    expect(game).to_have_text(
        "Its sealed guess: A, 80 % sure. No point: you named no winner. "
        "It knows you: right in 1 of 2."
    )


def test_a_guess_that_fails_is_told_and_the_card_goes_on(bench):
    card = bench([task("pair", prompt=PROMPT)], game={"guess": lambda *_: 1 / 0})
    expect(card.status).to_have_text("The reward model could not guess: division by zero")
    card.press("1")
    card.saved()
