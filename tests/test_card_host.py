"""What sits behind the rater card, without a browser: every message, whatever it holds, from any
thread.
"""

import json
import threading

import pytest
from card_desk import Card, pairs

from rlhf_lessons.feedback import Store, new_id

HOSTILE = [
    "<script>alert(1)</script>",
    "'); DROP TABLE event; --",
    "\ud800 half a letter",
    "nothing\0more",
    "‮" * 9,
]


@pytest.fixture
def card(store):
    return Card(store, pairs(3))


def test_a_card_asks_votes_reveals_goes_on_and_ends(card):
    for n in range(3):
        asked = card.tell("ready") if n == 0 else card.tell("next")
        assert (
            asked["type"] == "task"
            and asked["task"]["state"] == "task"
            and asked["progress"]["done"] == n
        )
        ack = card.vote(id=f"vote-number-{n}")
        assert (ack["type"], ack["id"]) == ("ack", f"vote-number-{n}") and ack["progress"][
            "done"
        ] == n + 1
        shown = card.tell("reveal", id=new_id(), task=asked["task"]["task"])
        assert (
            shown["type"] == "reveal"
            and sorted(shown["models"]) == ["", "ppo"]
            and shown["others"]["n"] == 0
        )
    assert card.tell("next")["task"] == {"state": "done"}
    assert len(card.rows()) == 3


def test_before_the_vote_the_card_hears_nothing_of_models_rewards_and_others(store):
    row = pairs(1)[0] | {"kind": "pair"}
    row["completions"][0] |= {"reward": 1.25}
    card = Card(store, [row])
    asked = card.tell("ready")
    assert set(asked["task"]) == {
        "state",
        "task",
        "round",
        "kind",
        "prompt",
        "answers",
    }
    assert "ppo" not in json.dumps(card.heard) and "1.25" not in json.dumps(card.heard)
    assert (
        card.tell("reveal", id=new_id(), task=asked["task"]["task"])["type"] == "nack"
    )  # answer first
    card.vote()
    assert "ppo" not in json.dumps(card.heard) and "1.25" not in json.dumps(card.heard)


def test_an_answer_sent_again_counts_once_and_gets_the_same_number(card):
    card.tell("ready")
    task = card.session.current["task"]["task"]
    numbers = {card.vote(task=task, id="the-same-id")["seq"] for _ in range(5)}
    assert len(numbers) == 1 and len(card.rows()) == 1


def test_a_new_view_and_a_new_kernel_show_what_was_there(card):
    first = card.tell("ready")
    assert card.tell("ready") == first
    ack = card.vote()
    again = card.tell("ready")  # a second view: it shows the vote and its number
    assert again["saved"] == {"seq": ack["seq"], "kind": "pair", "payload": {"choice": "left"}}
    card.tell("reveal", id=new_id(), task=first["task"]["task"])
    assert card.tell("ready")["revealed"]["models"]
    later = Card(card.store, pairs(3))  # the same rows, a new session
    assert later.tell("ready")["progress"] == {
        **first["progress"],
        "done": 1,
        "left": 2,
        "seconds": 0.9,
    }


def test_undo_gives_the_task_back_and_nothing_after_the_reveal(card):
    task = card.tell("ready")["task"]
    card.vote()
    assert card.tell("undo", id=new_id())["type"] == "ack"
    assert card.tell("next")["task"] == task and card.rows() == []
    card.vote("right")
    card.tell("reveal", id=new_id(), task=task["task"])
    refused = card.tell("undo", id=new_id())
    assert refused["type"] == "nack" and not refused["retry"] and "revealed" in refused["reason"]


@pytest.mark.parametrize(
    ("kind", "payload"), [("skip", {"reason": "too hard"}), ("flag", {"reason": ""})]
)
def test_skip_and_flag_are_stored_and_are_no_judgement(card, kind, payload):
    card.tell("ready")
    passed = card.session.current["task"]["task"]
    assert card.vote(kind=kind, payload=payload)["type"] == "ack"
    assert card.rows() == [(kind, payload)] and card.session.votes() == []
    assert card.tell("ready")["task"]["task"] != passed  # a page that is reloaded here is not stuck


@pytest.mark.parametrize(
    "message",
    [
        None,
        3,
        "answer",
        [],
        {},
        {"type": []},
        {"type": "vote"},
        {"type": "ready; drop"},
        {"type": None, "id": 1},
    ],
)
def test_what_is_no_message_is_refused_in_words_and_breaks_nothing(card, message):
    nack = card.session.handle(message)
    assert (nack["type"], nack["retry"]) == ("nack", False) and "ready, next" in nack["reason"]
    assert card.rows() == [] and card.tell("ready")["type"] == "task"


@pytest.mark.parametrize(
    "broken",
    [
        {"id": None},
        {"id": "short"},
        {"id": "no spaces, please"},
        {"id": {"$ne": ""}},
        {"task": None},
        {"task": "unknown"},
        {"task": ["a"]},
        {"kind": None},
        {"kind": "hands"},
        {"kind": "label"},
        {"kind": "ranking", "payload": {"ranks": [1, 2]}, "touched": True},
        {"payload": None},
        {"payload": []},
        {"payload": {"choice": "top"}},
        {"payload": {"choice": "left", "strength": 9}},
        {"payload": {"choice": ["left"]}},
        {"kind": "skip", "payload": {"reason": "x" * 501}},
        {"kind": "flag", "payload": {"reason": "\0"}},
    ],
)
def test_a_message_that_does_not_fit_is_refused_in_words_and_stores_nothing(card, broken):
    task = card.tell("ready")["task"]["task"]
    answer = {"id": new_id(), "task": task, "kind": "pair", "payload": {"choice": "left"}} | broken
    nack = card.tell("answer", **answer)
    assert (
        nack["type"] == "nack"
        and not nack["retry"]
        and len(nack["reason"]) > 10
        and card.rows() == []
    )
    assert card.vote()["type"] == "ack"  # and the card goes on


@pytest.mark.parametrize("ms", [None, -5, 1e300, "soon", True, 2**40])
def test_a_broken_clock_loses_no_vote(card, ms):
    card.tell("ready")
    assert card.vote(ms=ms)["type"] == "ack" and card.store.answers("r")[0]["ms"] is None


def test_hostile_texts_come_through_as_they_are_or_made_storable(store):
    row = {
        "kind": "ranking",
        "prompt": HOSTILE[0],
        "completions": [{"text": text} for text in HOSTILE],
    }
    card = Card(store, [row, {"kind": "demonstration", "prompt": HOSTILE[1], "completions": []}])
    asked = card.tell("ready")["task"]
    shown = {answer["text"] for answer in asked["answers"]}
    assert (
        asked["prompt"] == HOSTILE[0]
        and {HOSTILE[0], HOSTILE[1], HOSTILE[4]} <= shown
        and len(shown) == 5
    )
    card.vote(kind="ranking", payload={"ranks": [1, 2, 2, 3, 5]})
    card.tell("next")
    assert card.vote(kind="demonstration", payload={"text": HOSTILE[1]})["type"] == "ack"
    assert card.rows()[1] == ("demonstration", {"text": HOSTILE[1]})


def test_a_database_that_fails_gives_a_nack_to_try_again_and_the_vote_arrives_later(
    card, monkeypatch
):
    card.tell("ready")
    task = card.session.current["task"]["task"]
    with monkeypatch.context() as patch:
        patch.setattr(card.store, "answer", lambda *_, **__: 1 / 0)
        nack = card.vote(task=task, id="kept-by-the-card")
    assert (nack["type"], nack["retry"], nack["reason"]) == ("nack", True, "division by zero")
    assert "saved" not in card.session.current and card.rows() == []
    assert card.vote(task=task, id="kept-by-the-card")["type"] == "ack" and len(card.rows()) == 1


def test_nothing_is_acknowledged_before_the_commit(card):
    card.tell("ready")
    other = Store(card.store.where)
    ack = card.session.handle(
        {
            "type": "answer",
            "id": new_id(),
            "task": card.session.current["task"]["task"],
            "kind": "pair",
            "payload": {"choice": "tie"},
        }
    )
    assert (ack["type"], len(other.answers("r"))) == ("ack", 1)
    other.close()


def test_messages_from_many_threads_at_once_lose_nothing_and_count_nothing_twice(store):
    card = Card(store, pairs(8))
    tasks = []
    for _ in range(8):  # each task is given once, as to a fast reader in several views
        tasks.append(card.tell("next")["task"]["task"])
        card.vote(task=tasks[-1], id=f"first-{tasks[-1]}")
    card.heard.clear()
    again = [dict(task=task, id=f"first-{task}") for task in tasks] + [
        dict(task=task) for task in tasks
    ]
    threads = [threading.Thread(target=card.vote, kwargs=more) for more in again * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = [message["type"] for message in card.heard]
    assert (kinds.count("ack"), kinds.count("nack"), len(card.rows())) == (16, 16, 8)


@pytest.mark.parametrize("touched", [False, None, 1, "yes"])
@pytest.mark.parametrize(
    ("kind", "payload"),
    [("ranking", {"ranks": [1, 2]}), ("demonstration", {"text": "a draft, as it came"})],
)
def test_a_random_order_or_a_draft_that_nobody_touched_is_refused(store, kind, payload, touched):
    texts = [{"text": "a draft, as it came"}, {"text": "another"}]
    rows = [{"kind": kind, "prompt": "p", "completions": texts[: len(payload.get("ranks", "1"))]}]
    card = Card(store, rows)
    card.tell("ready")
    nack = card.vote(kind=kind, payload=payload, touched=touched)
    assert (nack["type"], nack["retry"]) == ("nack", False) and "look at it" in nack["reason"]
    assert card.rows() == []
    assert card.vote(kind=kind, payload=payload)["type"] == "ack"


def test_a_round_that_changes_takes_the_task_off_the_screen_and_brings_its_brief(store):
    card = Card(store, pairs(2))
    card.tell("ready")
    card.vote()
    store.add_tasks("next", [{"kind": "pair"} | row for row in pairs(3)])
    card.session.turn_to("next", "Stories should end well.", {"question": "Whose is it?"})
    asked = card.tell("ready")
    assert (asked["brief"], asked["task"]["question"]) == (
        "Stories should end well.",
        "Whose is it?",
    )
    assert asked["task"]["round"] == "next" and asked["progress"]["done"] == 0
    card.session.turn_to(None)
    assert card.tell("ready")["task"] == {"state": "waiting"}


def test_with_a_goal_what_is_left_is_what_is_left_of_it(store):
    card = Card(store, pairs(5), goal=2)
    assert card.tell("ready")["progress"]["left"] == 2
    assert card.vote()["progress"]["left"] == 1
    for _ in range(2):
        card.tell("next")
        left = card.vote()["progress"]["left"]
    assert left == 0 and card.tell("next")["task"]["state"] == "task"  # whoever wants may go on
    short = Card(store, pairs(5)[:1], goal=20)
    assert short.tell("ready")["progress"] == {"done": 3, "passed": 0, "left": 2, "seconds": 0.9}


def test_in_a_class_the_acknowledgement_brings_the_task_that_comes_next(store):
    card = Card(store, pairs(3), goal=3)
    first = card.tell("ready")["task"]["task"]
    ack = card.vote(id="the-first-vote")
    assert ack["next"]["task"]["state"] == "task" and ack["next"]["task"]["task"] != first
    assert ack["next"]["progress"] == ack["progress"] and ack["progress"]["done"] == 1
    assert card.tell("next") == ack["next"] == card.tell("ready")
    assert card.vote(task=first, id="the-first-vote") == ack  # its acknowledgement was lost
    passed = card.vote(kind="skip", payload={"reason": ""})
    assert passed["next"]["task"]["task"] not in (first, ack["next"]["task"]["task"])
    assert card.vote()["next"]["task"] == {"state": "done"}


def test_in_a_class_an_undone_task_comes_before_the_one_that_was_sent_along(store):
    card = Card(store, pairs(3), goal=3)
    first = card.tell("ready")["task"]
    following = card.vote()["next"]["task"]
    assert "next" not in card.tell("undo", id=new_id())
    assert card.tell("next")["task"] == first
    assert card.vote()["next"]["task"] == following


def test_what_comes_along_knows_of_a_pause_and_of_another_round(store):
    card = Card(store, pairs(3), goal=3)
    card.tell("ready")
    store.say("round", round="r", state="paused")
    assert card.vote()["next"]["task"] == {"state": "paused"}
    store.say("round", round="r", state="open")
    task = card.tell("next")["task"]["task"]
    store.add_tasks("other", [{"kind": "pair"} | row for row in pairs(1)])
    card.session.turn_to("other", "A new brief.")
    following = card.vote(task=task)["next"]  # a vote on the round before still counts
    assert (following["task"]["round"], following["brief"]) == ("other", "A new brief.")
    assert len(card.rows()) == 2


def test_in_a_notebook_the_next_guess_is_made_when_the_task_is_shown(store):
    asked = []
    card = Card(store, pairs(2), guess=lambda *texts: asked.append(texts) or 0.7)
    card.tell("ready")
    assert "next" not in card.vote() and len(asked) == 1
    assert card.tell("next")["game"]["sealed"] and len(asked) == 2


def test_a_transaction_of_the_host_holds_the_answer_and_what_follows_from_it(card):
    task = card.tell("ready")["task"]["task"]
    answer = {
        "type": "answer",
        "id": new_id(),
        "task": task,
        "kind": "pair",
        "payload": {"choice": "tie"},
    }
    with pytest.raises(ZeroDivisionError), card.store.write():
        assert card.session.reply(answer)["type"] == "ack"
        raise ZeroDivisionError
    assert card.rows() == [] and card.session.reply(answer)["progress"]["done"] == 1
