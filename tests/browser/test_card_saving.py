"""The rater card in a real browser: no judgement is lost, none counts twice, and two views say the
same."""

import pytest
from card_page import KINDS, pairs, task
from playwright.sync_api import expect


def test_a_vote_that_was_not_saved_is_kept_and_sent_again_under_the_same_id(bench):
    card = bench(pairs(1))
    card.fault = lambda message: [
        {"type": "nack", "id": message["id"], "reason": "the disk is full", "retry": True}
    ]
    card.button("Tie").click()
    expect(card.status).to_have_text(
        "NOT saved, because the disk is full. Your judgement is kept and sent again."
    )
    expect(card.button("Tie")).to_be_disabled()
    card.hears_answers(3)
    assert card.rows() == []
    card.fault = lambda message: None
    card.saved(1)
    assert (
        len({message["id"] for message in card.heard if message["type"] == "answer"})
        == len(card.rows())
        == 1
    )


def test_a_vote_whose_acknowledgement_got_lost_counts_once(bench):
    card = bench(pairs(1))
    card.fault = lambda message: card.session.handle(message) and []  # saved; nobody hears
    card.button("A better").click()
    expect(card.status).to_contain_text("NOT saved, because the server does not answer.")
    card.hears_answers(2)
    card.fault = lambda message: None
    card.saved(1)  # after a pause it sends again by itself
    assert (
        len({message["id"] for message in card.heard if message["type"] == "answer"})
        == len(card.rows())
        == 1
    )


def test_a_vote_that_never_arrived_survives_a_reload_and_a_new_kernel(bench):
    card = bench(pairs(2))
    card.fault = lambda message: [] if message["type"] == "answer" else None
    card.button("B better").click()
    expect(card.status).to_contain_text("NOT saved")
    card.fault = lambda message: None
    card.page.reload()
    card.saved(1)
    expect(card.button("B better")).to_have_attribute("aria-pressed", "true")
    card.new_kernel()
    card.page.reload()
    card.asks("(1)")
    assert card.rows() == [("pair", {"choice": "right", "strength": 1})]


def test_a_reload_and_a_second_view_show_the_same_as_the_first(bench):
    card = bench(pairs(2))
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
        expect(view.locator(".rl-prompt")).to_contain_text("(1)")
    card.button("Tie").click()
    for view in (card.card, second):
        expect(view.get_by_role("button", name="Tie", exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )
        expect(view).to_have_attribute("data-state", "saved")
    second.get_by_role("button", name="Reveal").click()
    for view in (card.card, second):
        expect(view).to_have_attribute("data-state", "revealed")
        expect(view.locator(".rl-note").first).to_contain_text("by ")
    assert len(card.rows()) == 2


def test_a_half_made_ranking_stays_when_a_second_view_opens(bench):
    card = bench([task("ranking")])
    card.button("Move answer D up").click()
    card.page.evaluate("void window.mount(document.body)")
    expect(card.page.locator(".rl-card").nth(1).locator(".rl-row")).to_have_count(4)
    card.button("Save this order").click()
    card.saved(1)
    assert card.rows() == [("ranking", {"ranks": [1, 2, 4, 3]})]
    expect(card.page.locator(".rl-card").nth(1).locator(".rl-row .rl-letter")).to_have_text(
        ["A", "B", "D", "C"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_judged_is_shown_again_after_a_reload(bench, kind):
    card = bench([task(kind)])
    said = {
        "pair": {"choice": "bad", "strength": 0},
        "ranking": {"ranks": [3, 1, 1, 2]},
        "scores": {"scores": [{"relevance": 2, "accuracy": 3, "clarity": 4}] * 2},
        "demonstration": {"text": "Mine."},
    }[kind]
    answer = {
        "type": "answer",
        "id": "of-another-view",
        "task": card.session.current["task"]["task"],
        "kind": kind,
        "touched": True,
    }
    card.host(answer | {"payload": said})
    card.page.reload()
    card.saved(1)
    if kind == "pair":
        expect(card.button("Both bad")).to_have_attribute("aria-pressed", "true")
    elif kind == "ranking":
        expect(card.card.locator(".rl-row .rl-letter")).to_have_text(["B", "C", "D", "A"])
        expect(card.card.locator(".rl-rank")).to_have_text(["1", "1", "2", "3"])
    elif kind == "scores":
        assert card.page.evaluate(
            "[...document.querySelectorAll(':checked')].map(input => input.value)"
        ) == [*"234234"]
    else:
        expect(card.card.locator("textarea")).to_have_value("Mine.")


def test_a_refused_vote_says_why_and_shows_what_is_true(bench):
    card = bench(pairs(2))
    here = card.session.current["task"]["task"]  # answered meanwhile in another window
    card.store.answer(card.session.rater, here, "pair", {"choice": "tie"}, "elsewhere")
    card.button("A better").click()
    expect(card.status).to_contain_text("NOT saved, because you have answered this task already")
    card.asks("(1)")
    assert card.rows() == [("pair", {"choice": "tie", "strength": 0})]


def test_a_double_click_and_a_held_key_are_one_vote(bench):
    card = bench(pairs(2))
    card.button("A better").dblclick()
    card.saved(1)
    card.page.keyboard.down("1")
    card.page.keyboard.down("1")
    assert len([message for message in card.heard if message["type"] == "answer"]) == 1


def test_what_the_teacher_does_is_told_and_the_card_goes_on_by_itself(bench):
    card = bench(pairs(2))
    card.store.say("round", round="r", state="paused")
    card.button("Tie").click()
    card.saved()
    card.button("Next").click()
    expect(card.card).to_contain_text("The teacher has paused this round.")
    card.store.say("round", round="r", state="open")
    card.asks("(1)")


def test_a_card_that_was_taken_away_leaves_nothing_behind(bench):
    card = bench(pairs(1))
    card.page.clock.install()
    card.page.reload()
    card.is_now("open")
    card.page.evaluate(
        "hear({type: 'task', task: {state: 'waiting'}})"
    )  # after a while it would ask again
    asked = len(card.heard)
    card.page.evaluate("unmount()")
    card.page.clock.run_for(60_000)
    card.page.evaluate("hear({type: 'note', text: 'is anybody there?'})")
    expect(card.page.locator(".rl-card")).to_have_count(0)
    assert len(card.heard) == asked


# What waits in the browser's storage


KEPT = "Object.keys(localStorage).filter((name) => name.startsWith('rl-card:test:'))"


def vote_unheard(card, name: str) -> None:
    """Vote while the host hears nothing."""
    card.fault = lambda message: [] if message["type"] == "answer" else None
    card.button(name).click()
    card.is_now("pending")


def test_a_vote_outlives_the_tab_in_which_it_was_made(bench):
    card = bench(pairs(2))
    vote_unheard(card, "Tie")
    assert len(card.page.evaluate(KEPT)) == 1
    other = card.page.context.new_page()
    card.page.close()
    card.fault = lambda message: None
    card.open(other)
    card.saved(1)
    assert card.rows() == [("pair", {"choice": "tie", "strength": 0})]
    assert card.page.evaluate(KEPT) == []


def test_two_votes_that_waited_in_two_tabs_are_both_sent_once_the_older_first(bench):
    card = bench(pairs(3))
    first = card.session.current["task"]["task"]
    vote_unheard(card, "Tie")
    other = {"type": "answer", "id": "of-another-tab", "task": first, "kind": "skip"}
    card.page.evaluate(
        "found => localStorage.setItem('rl-card:test:of-another-tab', JSON.stringify(found))",
        {"made": 1, "message": other | {"payload": {"reason": "hm"}}},
    )
    card.fault = lambda message: None
    card.heard.clear()
    card.page.reload()
    card.is_now("open")
    sent = [message for message in card.heard if message["type"] == "answer"]
    assert [message["kind"] for message in sent] == ["skip", "pair"]
    assert [kind for kind, _ in card.rows()] == ["skip"]  # of two about one task, the first counts
    assert card.page.evaluate(KEPT) == []


@pytest.mark.parametrize("damaged", ["", "null", "[]", '{"made": 1}', '{"message": {}}', "{"])
def test_what_else_lies_in_the_storage_is_not_sent(bench, damaged):
    card = bench(pairs(1))
    card.page.evaluate("text => localStorage.setItem('rl-card:test:x', text)", damaged)
    card.page.evaluate("localStorage.setItem('rl-card:other:y', '{\"message\": {\"id\": 1}}')")
    card.heard.clear()
    card.page.reload()
    card.is_now("open")
    assert [message["type"] for message in card.heard] == ["ready"]


def test_a_vote_is_sent_where_storage_is_switched_off(bench):
    card = bench(pairs(1))
    card.page.evaluate("""() => { for (const name of ["setItem", "getItem", "removeItem"]) {
        Storage.prototype[name] = () => { throw new Error("off"); }; } }""")
    card.button("Tie").click()
    card.saved(1)


def test_a_vote_that_waits_is_sent_at_once_when_the_network_is_back(bench):
    card = bench(pairs(1))
    card.page.clock.install()
    vote_unheard(card, "Tie")
    card.page.clock.run_for(1600)  # the host was silent for so long
    expect(card.status).to_contain_text("NOT saved")
    card.fault = lambda message: None
    card.page.evaluate("void dispatchEvent(new Event('online'))")  # no timer has run
    card.saved(1)


def test_votes_of_somebody_who_leaves_the_device_can_be_dropped(bench):
    card = bench(pairs(1))
    vote_unheard(card, "Tie")
    card.page.evaluate("import('/card.js').then((card) => card.forgetVotes('test'))")
    assert card.page.evaluate(KEPT) == []


# In a class the next task comes along with the acknowledgement


def said(card) -> list[str]:
    """Return the types of the messages that the card has sent."""
    return [message["type"] for message in card.heard]


def test_in_a_class_the_card_shows_the_next_task_without_asking(bench):
    rows = [*pairs(2), task("ranking", prompt="Order these.")]
    card = bench(rows, game={"goal": 3})
    card.press("2")
    card.saved(1)
    card.press("Enter")
    card.asks("(1)")
    card.press("s", "Enter")  # a skip goes on by itself
    card.asks("Order these.")
    card.is_now("open")
    card.press("Enter", "Enter")  # meant for the task before
    card.page.wait_for_timeout(300)
    assert said(card) == ["ready", "answer", "answer"]
    assert card.rows() == [("pair", {"choice": "left", "strength": 1}), ("skip", {"reason": ""})]


def test_in_a_class_the_card_asks_where_what_came_along_may_be_out_of_date(bench):
    card = bench(pairs(4), game={"goal": 4})
    card.press("2")
    card.saved(1)
    card.press("u")  # undone: that task again, not the one that came along
    card.is_now("open")
    card.asks("(0)")
    card.press("2")
    card.saved(3)
    card.press("r")
    card.is_now("revealed")
    card.press("Enter")
    card.asks("(1)")
    card.press("2")
    card.saved(5)
    card.store.say("round", round="r", state="paused")
    card.page.wait_for_timeout(3200)  # somebody looks at the saved answer for longer
    card.press("Enter")
    expect(card.card).to_contain_text("paused")
    kinds = ["ready", "answer", "undo", "next", "answer", "reveal", "next", "answer", "next"]
    assert said(card)[: len(kinds)] == kinds


def test_in_a_class_a_lost_acknowledgement_comes_again_with_the_same_next_task(bench):
    card = bench(pairs(3), game={"goal": 3})
    lost = []
    card.fault = lambda message: lost.append(card.session.handle(message)) or []
    card.press("2")
    card.hears_answers(2)
    card.fault = lambda message: None
    card.saved(1)
    card.press("Enter")
    card.asks("(1)")
    assert {reply["next"]["task"]["prompt"] for reply in lost} == {
        card.session.current["task"]["prompt"]
    }
    assert len(card.rows()) == 1 and "next" not in said(card)
