"""The ratings store keeps every answer as it was given, and shows nobody anything before they have
voted.
"""

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from voting import LEFT, pairs, vote

from rlhf_lessons.feedback import Refused, Store, new_id
from rlhf_lessons.feedback.export import reports
from rlhf_lessons.feedback.payloads import checked
from rlhf_lessons.feedback.schema import events


def test_a_vote_sent_twice_is_stored_once_and_has_one_number(store, you):
    store.add_tasks("r", pairs(2))
    task, event, seq = vote(store, you)
    assert store.answer(you, task["task"], "pair", {"choice": "right"}, event) == seq
    (kept,) = store.answers()
    assert kept["payload"] == LEFT and kept["seq"] == seq


def test_undo_brings_the_task_back_and_the_vote_no_longer_counts(store, you):
    store.add_tasks("r", pairs(2))
    task, event, _ = vote(store, you)
    undo = new_id()
    seq = store.undo(you, "r", undo)
    assert store.undo(you, "r", undo) == seq and store.answers() == []
    assert store.next_task(you, "r") == task
    store.answer(you, task["task"], "pair", {"choice": "tie"}, new_id())
    assert [row["payload"]["choice"] for row in store.answers()] == ["tie"]
    with store.read() as c:  # nothing was overwritten
        assert c.execute(select(func.count()).select_from(events)).scalar() == 3


def test_an_edit_replaces_the_answer_it_names_and_no_other(store, you):
    store.add_tasks("r", pairs(1))
    task, event, _ = vote(store, you)
    with pytest.raises(Refused, match="already"):
        store.answer(you, task["task"], "pair", LEFT, new_id())
    newer = new_id()
    store.answer(you, task["task"], "pair", {"choice": "bad"}, newer, replaces=event)
    with pytest.raises(Refused):
        store.answer(you, task["task"], "pair", LEFT, new_id(), replaces=event)
    assert [(row["id"], row["payload"]["choice"]) for row in store.answers()] == [(newer, "bad")]


def test_the_reveal_comes_after_the_vote_and_locks_it(store, you):
    store.add_tasks("r", pairs(1, overlap=None))
    for name, kind in (("ben", "person"), ("cleo", "simulated")):
        rater = store.add_rater(name, kind=kind)
        shown = store.next_task(rater, "r")["answers"]
        vote(store, rater, payload={"choice": "left" if shown[0]["text"] == "good 0" else "right"})
    task = store.next_task(you, "r")
    with pytest.raises(Refused, match="answer first"):
        store.reveal(you, task["task"], new_id())
    event = new_id()
    store.answer(you, task["task"], "pair", LEFT, event)
    good = 0 if task["answers"][0]["text"] == "good 0" else 1
    reveal = new_id()
    found = store.reveal(you, task["task"], reveal)
    assert found == store.reveal(you, task["task"], reveal)
    assert found["models"][good] == "ppo" and found["rewards"][good] == 1.5
    assert (found["others"]["n"], found["others"]["simulated"]) == (2, 1)
    assert found["others"]["choices"] == {
        "left": 2 * (good == 0),
        "right": 2 * (good == 1),
        "tie": 0,
        "bad": 0,
    }
    with pytest.raises(Refused, match="revealed"):
        store.undo(you, "r", new_id())
    with pytest.raises(Refused, match="revealed"):
        store.answer(you, task["task"], "pair", {"choice": "right"}, new_id(), replaces=event)


@pytest.mark.parametrize(
    "kind, payload",
    [
        ("ranking", {"ranks": [1, 3, 2, 2]}),
        ("demonstration", {"text": "Dear Anna,\nthank you."}),
        ("scores", {"scores": [{"relevance": 7, "accuracy": 1, "clarity": 4}] * 4}),
        ("skip", {"reason": "too long"}),
        ("flag", {"reason": ""}),
    ],
)
def test_every_kind_of_judgement_comes_back_as_it_was_given(store, you, kind, payload):
    asked = kind if kind not in ("skip", "flag") else "ranking"
    texts = [] if kind == "demonstration" else [{"text": text} for text in ("a", "b", "c", "d")]
    store.add_tasks("r", [{"kind": asked, "prompt": "p", "completions": texts}])
    task = store.next_task(you, "r")
    store.answer(you, task["task"], kind, payload, new_id(), ms=2500, ui="test")
    (row,) = store.answers()
    assert row["payload"] == payload and row["ms"] == 2500 and row["ui"] == "test"
    assert [answer["text"] for answer in row["answers"]] == [
        answer["text"] for answer in task["answers"]
    ]
    assert store.next_task(you, "r") == {"state": "done"}


def test_a_show_of_hands_counts_as_many_votes(store):
    teacher, student = store.add_rater("teacher", kind="teacher"), store.add_rater("anna")
    store.add_tasks("r", pairs(1, overlap=None))
    task = store.next_task(teacher, "r")
    store.answer(teacher, task["task"], "hands", {"left": 17, "right": 9}, new_id())
    theirs, _, _ = vote(store, student)
    others = store.reveal(student, task["task"], new_id())["others"]
    side = "left" if theirs["answers"] == task["answers"] else "right"
    assert others["n"] == 26 and others["choices"][side] == 17


def test_the_trainer_reports_to_the_room_through_the_store(store):
    seq = store.say("report", accuracy=0.71, curve=[[20, 0.6], [40, 0.71]])
    other = Store(store.where)
    assert [row["accuracy"] for row in reports(other)] == [0.71]
    assert other.last() == seq
    for said in ({"accuracy": float("nan")}, {"more": {1: 2}}, {"more": [float("inf")]}):
        with pytest.raises(Refused, match=f"'{min(said)}.*' of a report"):
            store.say("report", **said)


def test_nobody_answers_for_another_or_what_they_were_not_given(store, you):
    other = store.add_rater("ben")
    store.add_tasks("r", pairs(2))
    task, event, _ = vote(store, you)
    for rater, of, kind, id, said in [
        (other, task["task"], "pair", new_id(), "not given"),
        (other, task["task"], "pair", event, "another event"),
        ("nobody__", task["task"], "pair", new_id(), "not given"),
        (you, "x" * 32, "pair", new_id(), "not given"),
        (you, {"a": 1}, "pair", new_id(), "an id"),
        (you, task["task"], "ranking", new_id(), "asks for a pair"),
        (you, task["task"], "undo", new_id(), "asks for a pair"),
        (you, task["task"], "pair", "x", "an id"),
    ]:
        with pytest.raises(Refused, match=said):
            store.answer(rater, of, kind, LEFT, id)
    with pytest.raises(Refused, match="no such rater"):
        store.next_task("nobody__", "r")
    assert len(store.answers()) == 1


@pytest.mark.parametrize("name", ["", " ", "x" * 41, "a\0b", "\ud800", 7])
def test_names_that_cannot_be_kept_are_refused(store, name):
    with pytest.raises(Refused, match="name"):
        store.add_rater(name)


def test_hostile_texts_come_back_letter_by_letter(store):
    text = "<script>alert(1)</script>'; DROP TABLE event; -- \u202e{{x}} 🙂"
    rater = store.add_rater("<b>anna</b>")
    store.add_tasks(
        "r",
        [{"kind": "pair", "prompt": text, "completions": [{"text": text}, {"text": "b\0\ud800"}]}],
    )
    task = store.next_task(rater, "r")
    assert task["prompt"] == text and {answer["text"] for answer in task["answers"]} == {
        text,
        "b\ufffd?",
    }


def test_importing_the_store_loads_no_torch():
    modules = ("feedback.exchange", "feedback.export", "feedback.session", "evaluation.votes")
    imports = ", ".join(f"rlhf_lessons.{name}" for name in modules)
    code = f"import sys, {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_guess_is_sealed_once_before_the_vote_and_outlives_a_restart(store, you):
    store.add_tasks("r", pairs(2))
    task = store.next_task(you, "r")["task"]
    seq = store.seal(you, task, 0.8)
    assert store.seal(you, task, 0.8) == store.seal(you, task, 0.1) == seq
    store.answer(you, task, "pair", LEFT, new_id())
    assert store.seal(you, task, 0.1) == seq  # asked again after the vote: nothing new
    assert Store(store.where).seals(you) == {task: 0.8}
    unsealed = vote(store, you)[0]["task"]
    with pytest.raises(Refused, match="answered already"):
        store.seal(you, unsealed, 0.5)
    assert [row["kind"] for row in store.answers()] == ["pair", "pair"]
    store.undo(you, "r", new_id())  # the task is open again
    assert store.seal(you, unsealed, 0.5) > seq and store.seals(you) == {
        task: 0.8,
        unsealed: 0.5,
    }


@pytest.mark.parametrize("left", [-0.1, 1.1, float("nan"), "0.5", None, True, [0.5]])
def test_what_is_no_probability_is_not_sealed(store, you, left):
    store.add_tasks("r", pairs(1))
    with pytest.raises(
        Refused, match="'left' of a seal: .* number|'left' of a seal: .* equal to [01]"
    ):
        store.seal(you, store.next_task(you, "r")["task"], left)
    assert store.seals(you) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choice",
                    "strength",
                    "ranks",
                    "scores",
                    "text",
                    "left",
                    "reason",
                    "id",
                    "hidden",
                    "state",
                ]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(
        [
            "pair",
            "ranking",
            "scores",
            "demonstration",
            "hands",
            "skip",
            "flag",
            "seal",
            "undo",
            "round",
            "hide",
            "forget",
            "report",
            "x",
        ]
    ),
    json_values,
    st.integers(0, 4),
)
@example("report", [[None, None]], 0)  # a list of pairs, which dict() would take
def test_any_payload_is_kept_in_a_known_shape_or_refused_in_words(kind, payload, n):
    try:
        kept = checked(kind, payload, n)
    except Refused as error:
        assert len(str(error)) > 10
    else:
        assert checked(kind, kept, n) == kept
