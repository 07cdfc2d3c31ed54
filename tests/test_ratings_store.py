"""The ratings store loses no vote, counts none twice, and shows nobody anything before they have voted."""
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from rlhf_lessons.ratings import Refused, Store, near_identical, new_id, select_rows
from rlhf_lessons.ratings.judgements import checked
from rlhf_lessons.ratings.schema import events, on_network_disk

LEFT = {"choice": "left", "strength": 2}


def pairs(n, **more):
    return [{"kind": "pair", "prompt": f"prompt {i}", "completions": [
        {"text": f"good {i}", "model": "ppo", "reward": 1.5}, {"text": f"bad {i}", "model": "sft"}]} | more
        for i in range(n)]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "ratings.sqlite3")
    yield store
    store.close()


@pytest.fixture
def you(store):
    return store.reader()


def vote(store, rater, round="r", payload=LEFT, **more):
    task = store.next_task(rater, round)
    event = new_id()
    return task, event, store.answer(rater, task["task"], task["kind"], payload, event, **more)


def test_a_vote_sent_twice_is_stored_once_and_has_one_number(store, you):
    store.add_tasks("r", pairs(2))
    task, event, seq = vote(store, you)
    assert store.answer(you, task["task"], "pair", {"choice": "right"}, event) == seq
    (kept,) = store.answers()
    assert kept["payload"] == LEFT and kept["seq"] == seq


def test_the_same_task_in_the_same_order_comes_again_until_it_is_answered(store, you):
    store.add_tasks("r", pairs(3))
    first = store.next_task(you, "r")
    reopened = Store(store.where)
    assert all(s.next_task(s.reader(), "r") == first for s in (store, reopened) for _ in range(5))
    vote(store, you)
    assert store.next_task(you, "r")["task"] != first["task"]


def test_sides_are_drawn_by_lot_and_nothing_tells_who_wrote_what(store):
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


def test_an_absent_rater_blocks_nothing_and_a_late_answer_is_taken(store):
    anna, ben = store.add_rater("anna"), store.add_rater("ben")
    store.add_tasks("r", pairs(1))
    task = store.next_task(anna, "r", lease=60)
    assert store.next_task(ben, "r") == {"state": "waiting"}
    store.next_task(anna, "r", lease=-1)
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
    store.add_tasks("r", pairs(1, overlap=None, gold={"best": 0, "why": "it is right"}))
    for name in ("ben", "cleo"):
        rater = store.add_rater(name)
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
    assert found["others"]["choices"] == {"left": 2 * (good == 0), "right": 2 * (good == 1), "tie": 0, "bad": 0}
    assert found["gold"] == {"best": good, "right": good == 0, "why": "it is right"}
    with pytest.raises(Refused, match="revealed"):
        store.undo(you, "r", new_id())
    with pytest.raises(Refused, match="revealed"):
        store.answer(you, task["task"], "pair", {"choice": "right"}, new_id(), replaces=event)


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
    alike = [{"kind": "pair", "prompt": "p", "completions": [{"text": "One  two."}, {"text": "One two"}]}]
    assert store.add_tasks("r", alike) == [] and store.next_task(you, "r") == {"state": "done"}
    text = " ".join(f"word{i}" for i in range(60))
    assert near_identical(text, text.replace("word7 ", "other "))
    assert not near_identical("3-1 is 2.", "3-1 is 7.") and not near_identical(text, text.replace("word", "thing"))


def test_a_random_share_is_drawn_beside_the_least_certain_pairs(store):
    rows = pairs(40) + [{"kind": "pair", "prompt": "p", "completions": [{"text": "same"}, {"text": "same"}]}]
    chosen = select_rows(rows, [*range(40), 99], 20, random_share=0.5)
    by_lot = [row["prompt"] for row in chosen if row["source"] == "random"]
    unsure = {row["prompt"] for row in chosen if row["source"] == "uncertain"}
    left = [f"prompt {i}" for i in range(40) if f"prompt {i}" not in by_lot]
    assert len(by_lot) == 10 and unsure == set(left[-10:])
    assert chosen == select_rows(rows, [*range(40), 99], 20, random_share=0.5)
    assert len(store.add_tasks("r", chosen)) == 20


@pytest.mark.parametrize("kind, payload", [
    ("ranking", {"ranks": [1, 3, 2, 2]}), ("demonstration", {"text": "Dear Anna,\nthank you."}),
    ("scores", {"scores": [{"relevance": 7, "accuracy": 1, "clarity": 4}] * 4}), ("label", {"labels": [True] * 4}),
    ("skip", {"reason": "too long"}), ("flag", {"reason": ""})])
def test_every_kind_of_judgement_comes_back_as_it_was_given(store, you, kind, payload):
    asked = kind if kind not in ("skip", "flag") else "ranking"
    texts = [] if kind == "demonstration" else [{"text": text} for text in ("a", "b", "c", "d")]
    store.add_tasks("r", [{"kind": asked, "prompt": "p", "completions": texts}])
    task = store.next_task(you, "r")
    store.answer(you, task["task"], kind, payload, new_id(), ms=2500, ui="test")
    (row,) = store.answers()
    assert row["payload"] == payload and row["ms"] == 2500 and row["ui"] == "test"
    assert [answer["text"] for answer in row["answers"]] == [answer["text"] for answer in task["answers"]]
    assert store.next_task(you, "r") == {"state": "done"}


def test_a_skipped_task_goes_to_somebody_else(store, you):
    store.add_tasks("r", pairs(1))
    task = store.next_task(you, "r")
    store.answer(you, task["task"], "skip", {"reason": "no idea"}, new_id())
    assert store.next_task(store.add_rater("ben"), "r")["task"] == task["task"]


def test_a_show_of_hands_counts_as_many_votes(store):
    teacher, student = store.add_rater("teacher", kind="teacher"), store.add_rater("anna")
    store.add_tasks("r", pairs(1, overlap=None))
    task = store.next_task(teacher, "r")
    store.answer(teacher, task["task"], "hands", {"left": 17, "right": 9}, new_id())
    theirs, _, _ = vote(store, student)
    others = store.reveal(student, task["task"], new_id())["others"]
    side = "left" if theirs["answers"] == task["answers"] else "right"
    assert others["n"] == 26 and others["choices"][side] == 17


def test_what_the_teacher_hides_or_pauses_is_offered_no_more(store, you):
    store.add_tasks("r", pairs(2))
    store.set_round("r", "paused")
    assert store.next_task(you, "r") == {"state": "paused"}
    store.set_round("r")
    assert store.room().current == "r"
    first, _, _ = vote(store, you)
    (row,) = store.answers()
    store.hide(row["answers"][0]["id"])
    assert store.answers()[0]["hidden"]
    store.hide(row["answers"][0]["id"], False)
    assert not store.answers()[0]["hidden"]
    task = store.next_task(you, "r")
    store.hide(you)
    assert store.next_task(you, "r") == {"state": "removed"}
    with pytest.raises(Refused, match="removed"):
        store.answer(you, task["task"], "pair", LEFT, new_id())


def test_the_trainer_reports_to_the_room_through_the_store(store):
    seq = store.report({"accuracy": 0.71, "curve": [[20, 0.6], [40, 0.71]]})
    other = Store(store.where)
    assert [row["accuracy"] for row in other.reports()] == [0.71] and other.reports(after=seq) == []
    assert other.last() == seq
    with pytest.raises(Refused, match="JSON"):
        store.report({"accuracy": float("nan")})


def test_nobody_answers_for_another_or_what_they_were_not_given(store, you):
    other = store.add_rater("ben")
    store.add_tasks("r", pairs(2))
    task, event, _ = vote(store, you)
    for rater, of, kind, id, said in [
            (other, task["task"], "pair", new_id(), "not given"), (other, task["task"], "pair", event, "another event"),
            ("nobody__", task["task"], "pair", new_id(), "not given"), (you, "x" * 32, "pair", new_id(), "not given"),
            (you, {"a": 1}, "pair", new_id(), "an id has"), (you, task["task"], "ranking", new_id(), "asks for a pair"),
            (you, task["task"], "undo", new_id(), "asks for a pair"), (you, task["task"], "pair", "x", "an id has")]:
        with pytest.raises(Refused, match=said):
            store.answer(rater, of, kind, LEFT, id)
    with pytest.raises(Refused, match="no such rater"):
        store.next_task("nobody__", "r")
    assert len(store.answers()) == 1


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                           lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
                               ["choice", "strength", "ranks", "scores", "text", "labels", "left", "reason"]), inner),
                           max_leaves=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["pair", "ranking", "scores", "demonstration", "label", "hands", "skip", "flag", "x"]),
       json_values, st.integers(0, 4))
def test_any_payload_is_kept_in_a_known_shape_or_refused_in_words(kind, payload, n):
    try:
        kept = checked(kind, payload, n)
    except Refused as error:
        assert len(str(error)) > 10
    else:
        assert checked(kind, kept, n) == kept


def fill(path, rater, n):
    """Vote n times, each vote sent twice, in a process of its own."""
    store = Store(path)
    for _ in range(n):
        task, event, seq = vote(store, rater)
        assert store.answer(rater, task["task"], "pair", LEFT, event) == seq
    store.close()


def test_twelve_processes_write_one_file_and_nothing_is_lost_or_doubled(store):
    raters = [store.add_rater(f"rater {i}") for i in range(12)]
    store.add_tasks("r", pairs(48, overlap=2))
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    workers = [context.Process(target=fill, args=(store.where, rater, 6)) for rater in raters]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 12
    answers = store.answers()
    assert len(answers) == len({(row["task"], row["rater"]) for row in answers}) == 72
    assert max(sum(row["task"] == task for row in answers) for task in {row["task"] for row in answers}) <= 2


def test_processes_may_open_a_new_file_at_once(tmp_path):
    file = tmp_path / "new.sqlite3"
    code = f"from rlhf_lessons.ratings import Store; Store({str(file)!r}).reader()"
    workers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert len(Store(file).raters()) == 1


def test_changing_threads_may_use_one_store(store, you):
    store.add_tasks("r", pairs(40, overlap=None))
    others = [store.add_rater(f"rater {i}") for i in range(4)]
    threads = [threading.Thread(target=lambda r=rater: [vote(store, r) for _ in range(10)]) for rater in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.answers()) == 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_opens_the_file_anew(store, you):
    store.add_tasks("r", pairs(2))
    vote(store, you)
    worker = multiprocessing.get_context("fork").Process(target=vote, args=(store, you))
    worker.start()
    worker.join()
    assert worker.exitcode == 0 and len(store.answers()) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_process_killed_in_the_middle_loses_no_acknowledged_vote(store, you):
    store.add_tasks("r", pairs(400))
    code = (f"from rlhf_lessons.ratings import Store, new_id\ns = Store({str(store.where)!r}); you = s.reader()\n"
            "while True:\n    task = s.next_task(you, 'r')['task']; e = new_id()\n"
            "    s.answer(you, task, 'pair', {'choice': 'left'}, e); print(e, flush=True)\n")
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    acknowledged = [worker.stdout.readline().strip() for _ in range(25)]
    worker.kill()
    acknowledged += [line.strip() for line in worker.stdout.read().split("\n")[:-1]]
    worker.wait()
    stored = [row["id"] for row in Store(store.where).answers()]
    assert len(acknowledged) >= 25 and set(acknowledged) <= set(stored) and len(stored) <= len(acknowledged) + 1
    with sqlite3.connect(store.where) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert vote(store, you)[2]


def test_calls_in_one_transaction_are_kept_or_dropped_together(store, you):
    store.add_tasks("r", pairs(2))
    with pytest.raises(ZeroDivisionError), store.write():
        vote(store, you)
        raise ZeroDivisionError
    assert store.answers() == []
    with store.write():
        vote(store, you)
        following = store.next_task(you, "r")
    assert len(store.answers()) == 1 and store.next_task(you, "r") == following


def test_a_commit_waits_for_the_disk_and_writers_take_their_turn(store):
    with store.read() as c:
        ask = lambda what: c.exec_driver_sql(f"PRAGMA {what}").scalar()  # noqa: E731
        assert (ask("journal_mode"), ask("synchronous"), ask("busy_timeout")) == ("wal", 2, 30000)
    with store.write():
        other = sqlite3.connect(store.where, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_network_disks_are_told_from_local_ones(monkeypatch):
    mounts = "/dev/sda / ext4 rw 0 0\nserver:/home /home/nfs nfs4 rw 0 0\nC: /mnt/c 9p rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
    assert on_network_disk(Path("/home/nfs/anna/r.sqlite3")) and on_network_disk(Path("/mnt/c/r.sqlite3"))
    assert not on_network_disk(Path("/home/anna/r.sqlite3"))


@pytest.mark.parametrize("where, said", [("nosuch://x", "no database can be opened"), ("FILE", "no ratings file")])
def test_what_is_no_database_is_named(tmp_path, where, said):
    file = tmp_path / "notes.txt"
    file.write_text("these are notes " * 100)
    with pytest.raises(ValueError, match=said):
        Store(file if where == "FILE" else where)
    assert file.read_text().startswith("these are notes")


@pytest.mark.parametrize("name", ["", " ", "x" * 41, "a\0b", "\ud800", 7])
def test_names_that_cannot_be_kept_are_refused(store, name):
    with pytest.raises(Refused, match="name"):
        store.add_rater(name)


def test_hostile_texts_come_back_letter_by_letter(store):
    text = "<script>alert(1)</script>'; DROP TABLE event; -- \u202e{{x}} 🙂"
    rater = store.add_rater("<b>anna</b>")
    store.add_tasks("r", [{"kind": "pair", "prompt": text, "completions": [{"text": text}, {"text": "b\0\ud800"}]}])
    task = store.next_task(rater, "r")
    assert task["prompt"] == text and {answer["text"] for answer in task["answers"]} == {text, "b\ufffd?"}


def test_answers_keep_the_guideline_they_were_given_under(store, you):
    store.add_tasks("r", pairs(2))
    first = store.set_guideline("Be kind.")
    assert vote(store, you)[0]["guideline"] == "Be kind."
    time.sleep(0.01)
    second = store.set_guideline("Be strict.")
    assert vote(store, you)[0]["guideline"] == "Be strict."
    assert [row["guideline"] for row in store.answers()] == [first, second]


def test_importing_the_store_loads_no_torch():
    code = "import sys, rlhf_lessons.ratings.commands, rlhf_lessons.ratings.stats; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
