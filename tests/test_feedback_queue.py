"""Who gets which task: sides at random, leases, overlap, repeats, and what is never asked."""

import time
from collections import Counter

import pytest
from sqlalchemy import update
from voting import LEFT, pairs, vote

from rlhf_lessons.feedback import Refused, Store, near_identical, new_id
from rlhf_lessons.feedback.queue import LEASE
from rlhf_lessons.feedback.schema import tasks


def test_the_same_task_in_the_same_order_comes_again_until_it_is_answered(store, you):
    store.add_tasks("r", pairs(3))
    first = store.next_task(you, "r")
    reopened = Store(store.where)
    assert all(s.next_task(s.reader(), "r") == first for s in (store, reopened) for _ in range(5))
    vote(store, you)
    assert store.next_task(you, "r")["task"] != first["task"]


def test_sides_are_drawn_at_random_and_nothing_tells_who_wrote_what(store):
    store.add_tasks("r", pairs(1, overlap=None))
    shown = [store.next_task(store.add_rater("anna"), "r") for _ in range(60)]
    firsts = [task["answers"][0]["text"] for task in shown]
    assert 10 < firsts.count("good 0") < 50  # 60 fair draws lie outside once in ten million
    assert all(answer.keys() == {"text", "ended"} for task in shown for answer in task["answers"])
    assert "ppo" not in str(shown)


def test_a_rerun_cell_adds_nothing_and_another_round_is_apart(store, you):
    ids = store.add_tasks("r", pairs(3))
    assert store.add_tasks("r", pairs(3)) == ids
    assert store.add_tasks("other", pairs(3)) != ids
    for _ in range(3):
        vote(store, you)
    assert store.next_task(you, "r") == {"state": "done"}
    assert store.progress(you, "r") == {"done": 3, "passed": 0, "left": 0, "seconds": None}
    assert store.progress(you, "other")["left"] == 3


def test_an_absent_rater_blocks_nothing_and_a_late_answer_is_taken(store, monkeypatch):
    anna, ben = store.add_rater("anna"), store.add_rater("ben")
    store.add_tasks("r", pairs(1))
    task = store.next_task(anna, "r")
    assert store.next_task(ben, "r") == {"state": "waiting"}
    later = time.time() + LEASE + 1
    monkeypatch.setattr("time.time", lambda: later)
    assert store.next_task(ben, "r")["task"] == task["task"]
    vote(store, ben)
    assert store.answer(anna, task["task"], "pair", LEFT, new_id()) and len(store.answers()) == 2


@pytest.mark.parametrize("overlap", [1, 3, None])
def test_as_many_raters_as_wanted_get_a_task(store, overlap):
    raters = [store.add_rater(f"rater {i}") for i in range(5)]
    store.add_tasks("r", pairs(4, overlap=overlap))
    for rater in raters:
        while store.next_task(rater, "r")["state"] == "task":
            vote(store, rater)
    assert len(store.answers()) == 4 * (overlap or 5)


def test_in_a_class_nobody_runs_out_and_the_tasks_that_fewest_have_come_first(store):
    raters = [store.add_rater(f"rater {i}") for i in range(7)]
    store.add_tasks("r", pairs(6, overlap=2))
    given = Counter()
    for _ in range(4):  # 28 votes; 6 tasks of 2 raters would hold 12
        for rater in raters:
            task = store.next_task(rater, "r", beyond=True)
            given[task["task"]] += 1
            store.answer(rater, task["task"], "pair", LEFT, new_id())
    assert max(given.values()) - min(given.values()) <= 3 and len(given) == 6
    assert store.next_task(raters[0], "r") == {"state": "done"}  # elsewhere two are enough
    for _ in range(2):
        vote_beyond = store.next_task(raters[0], "r", beyond=True)
        store.answer(raters[0], vote_beyond["task"], "pair", LEFT, new_id())
    assert store.next_task(raters[0], "r", beyond=True) == {"state": "done"}  # has judged all


def test_a_class_sees_at_once_what_is_hidden_added_or_given_by_another_process(store):
    anna, other = store.add_rater("anna"), Store(store.where)
    store.add_tasks("r", pairs(1, overlap=None))
    task = store.next_task(anna, "r", beyond=True)
    store.answer(anna, task["task"], "pair", LEFT, new_id())
    assert store.next_task(anna, "r", beyond=True) == {"state": "done"}
    other.add_tasks("r", pairs(2, overlap=None))
    added = store.next_task(anna, "r", beyond=True)
    assert added["state"] == "task" and added["task"] != task["task"]
    other.say("hide", id=store.answers()[0]["answers"][0]["id"], hidden=True)
    assert store.progress(anna, "r", beyond=True)["left"] == 1


def test_a_skipped_task_goes_to_somebody_else(store, you):
    store.add_tasks("r", pairs(1))
    task = store.next_task(you, "r")
    store.answer(you, task["task"], "skip", {"reason": "no idea"}, new_id())
    assert store.next_task(store.add_rater("ben"), "r")["task"] == task["task"]


def test_a_repeat_comes_later_with_the_sides_swapped(store, you):
    store.add_tasks("r", pairs(12), repeats=1.0)
    seen = []
    while (task := store.next_task(you, "r"))["state"] == "task":
        vote(store, you)
        seen.append((task["prompt"], [answer["text"] for answer in task["answers"]]))
    assert len(seen) == 24
    for prompt in {prompt for prompt, _ in seen}:
        first, again = [i for i, (other, _) in enumerate(seen) if other == prompt]
        assert seen[again][1] == seen[first][1][::-1] and (again - first > 5 or again > 18)


def test_near_identical_pairs_are_never_offered(store, you):
    alike = [
        {"kind": "pair", "prompt": "p", "completions": [{"text": "One  two."}, {"text": "One two"}]}
    ]
    assert store.add_tasks("r", alike) == [] and store.next_task(you, "r") == {"state": "done"}
    text = " ".join(f"word{i}" for i in range(60))
    assert near_identical(text, text.replace("word7 ", "other "))
    assert not near_identical("3-1 is 2.", "3-1 is 7.") and not near_identical(
        text, text.replace("word", "thing")
    )


def test_what_the_teacher_hides_or_pauses_is_offered_no_more(store, you):
    store.add_tasks("r", pairs(2))
    store.say("round", round="r", state="paused")
    assert store.next_task(you, "r") == {"state": "paused"}
    store.say("round", round="r", state="open")
    assert store.room().current == "r"
    first, _, _ = vote(store, you)
    (row,) = store.answers()
    store.say("hide", id=row["answers"][0]["id"], hidden=True)
    assert store.answers()[0]["hidden"]
    store.say("hide", id=row["answers"][0]["id"], hidden=False)
    assert not store.answers()[0]["hidden"]
    task = store.next_task(you, "r")
    store.say("hide", id=you, hidden=True)
    assert store.next_task(you, "r") == {"state": "removed"}
    with pytest.raises(Refused, match="removed"):
        store.answer(you, task["task"], "pair", LEFT, new_id())


def test_progress_counts_what_is_done_passed_and_left(store, you):
    store.add_tasks("r", pairs(8, overlap=None), repeats=1.0)
    for n in range(1, 9):
        vote(store, you, ms=1000 * n)
        first, answered = store.progress(you, "r"), store.answers()
        asked = {row["repeat_of"] or row["task"] for row in answered}
        again = sum(row["repeat_of"] is not None for row in answered)
        assert (
            first["done"] == n and first["left"] == 8 - len(asked) + len(asked) - again
        )  # each comes again
    store.answer(you, store.next_task(you, "r")["task"], "skip", {}, new_id())
    assert store.progress(you, "r") == {
        "done": 8,
        "passed": 1,
        "left": first["left"] - 1,
        "seconds": 5.0,
    }


def test_a_task_with_a_hidden_text_is_neither_offered_nor_counted(store, you):
    store.add_tasks("r", pairs(3, overlap=None))
    vote(store, you)
    (text, _) = store.answers()[0]["answers"]
    store.undo(you, "r", new_id())
    store.say("hide", id=text["id"], hidden=True)
    assert store.progress(you, "r")["left"] == 2
    shown = [answer["text"] for _ in range(2) for answer in vote(store, you)[0]["answers"]]
    assert text["text"] not in shown and store.next_task(you, "r") == {"state": "done"}
    store.say("hide", id=text["id"], hidden=False)
    assert store.progress(you, "r")["left"] == 1


@pytest.mark.parametrize(
    "row, said",
    [
        ({"kind": "pair", "prompt": "p", "completions": [{"text": "a"}]}, "2 to 2"),
        (
            {"kind": "label", "prompt": "p", "completions": [{"text": "a"}]},
            "must be one of pair, ranking",
        ),
        (
            {"kind": "pair", "prompt": 5, "completions": [{"text": "a"}, {"text": "b"}]},
            "text was expected",
        ),
    ],
)
def test_a_row_that_is_no_task_is_refused_and_none_of_its_fellows_is_added(store, you, row, said):
    with pytest.raises(Refused, match=said):
        store.add_tasks("r", [*pairs(2), row])
    assert store.next_task(you, "r") == {"state": "done"}


def test_a_connection_forgets_what_it_has_read_where_another_has_written(store, you):
    store.add_tasks("r", pairs(2))
    first = store.next_task(you, "r")["task"]  # the only connection so far, and it remembers
    with store.read():  # holds it, so that the answer goes through another one
        store.answer(you, first, "pair", LEFT, new_id())
    assert store.next_task(you, "r")["task"] != first
    assert store.progress(you, "r")["done"] == 1
    other = Store(store.where)
    second = store.next_task(you, "r")["task"]
    other.answer(you, second, "pair", LEFT, new_id())
    other.close()
    assert store.next_task(you, "r") == {"state": "done"}


def test_a_task_whose_texts_answer_another_prompt_is_not_offered(store, you):
    wrong, right = store.add_tasks("r", pairs(2))
    with store.write() as c:  # as a file made by hand may bring it
        asked = c.execute(tasks.select().filter_by(id=right)).one()
        c.execute(update(tasks).filter_by(id=wrong).values(prompt=asked.prompt))
    assert vote(store, you)[0]["task"] == right
    assert store.next_task(you, "r") == {"state": "done"}
