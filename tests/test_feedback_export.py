"""What leaves the store fits the trainers as it is, comes back the same, and nothing is left out
unseen.
"""

import ast
import csv
import glob
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voting import handed_over, one_of_everything, say, texts

from rlhf_lessons.data import read_rows, safe_cell, write_rows
from rlhf_lessons.evaluation.votes import comparisons
from rlhf_lessons.feedback import Store, new_id
from rlhf_lessons.feedback.exchange import load
from rlhf_lessons.feedback.export import (
    FORMATS,
    NOTICE,
    everything,
    snippet,
    table,
    taken_back,
    training_rows,
    written,
)


@pytest.fixture
def store(store):
    one_of_everything(store)
    return store


def test_preferences_are_what_read_rows_and_the_reward_model_take(store, tmp_path):
    rows, left_out = training_rows(store.answers(), "preference")
    file = tmp_path / "out" / "preference.jsonl"
    write_rows(file, rows)
    assert read_rows(file, "comparisons") == rows
    first = rows[0] | {"group": None}
    assert first == {
        "prompt": "p",
        "chosen": "good",
        "rejected": "poor",
        "ended": [True, True],
        "strength": 2,
        "rater": "anna",
        "team": "red",
        "group": None,
    }
    assert rows[1]["ended"] == [False, True]
    assert left_out == {
        "a tie": 2,
        "both bad": 1,
        "skipped": 1,
        "flagged": 1,
        "no comparison (scores)": 2,
        "no comparison (demonstration)": 1,
    }


def test_exported_preferences_train_a_reward_model(store, tokenizer):
    from rlhf_lessons.stages.reward import to_rankings

    found = to_rankings(tokenizer, training_rows(store.answers(), "preference")[0])
    assert sorted(len(ranking.pairs) for ranking in found) == [
        1,
        1,
        5,
    ]  # the ranking's tie is no pair


def test_a_ranking_gives_all_its_pairs_with_one_group(store):
    rows = [
        row
        for row in training_rows(store.answers(), "preference")[0]
        if {row["chosen"], row["rejected"]} & {"best", "worst"}
    ]
    assert {(row["chosen"], row["rejected"], row["strength"]) for row in rows} == {
        ("best", "worst", 2),
        ("best", "b", 1),
        ("best", "c", 1),
        ("b", "worst", 1),
        ("c", "worst", 1),
    }
    assert len({row["group"] for row in rows}) == 1


def test_a_show_of_hands_gives_a_row_a_hand(store):
    say(store, store.add_rater("teacher"), "hands", {"left": 3, "right": 2, "tie": 4, "bad": 0})
    rows, left_out = training_rows(store.answers(), "preference")
    assert len([row for row in rows if row["rater"] == "teacher"]) == 5 and left_out["a tie"] == 6


def test_unpaired_rows_are_good_or_bad(store):
    rows, left_out = training_rows(store.answers(), "unpaired")
    labels = sorted((row["completion"], row["label"]) for row in rows)
    assert labels == sorted(
        [
            ("good", True),
            ("poor", False),
            ("cut", True),
            ("whole", False),
            ("good", False),
            ("poor", False),
            ("best", True),
            ("worst", False),
            ("good", True),
            ("poor", False),
            ("fine", True),
        ]
    )
    assert left_out["a tie or in the middle"] == 4


def test_rankings_and_demonstrations_leave_in_their_own_formats(store):
    (row,), _ = training_rows(store.answers(), "rankings")
    assert dict(zip(row["completions"], row["ranks"], strict=True)) == {
        "best": 1,
        "worst": 3,
        "b": 2,
        "c": 2,
    }
    (row,), _ = training_rows(store.answers(), "demonstrations")
    assert row["prompt"] == "p" and row["completion"] == "+1 is right\nsaid =ben"


def test_hidden_and_repeated_votes_are_left_out_and_counted(database):
    store = Store(database("r"))
    you, other = store.reader(), store.add_rater("other")
    store.add_tasks(
        "r", [{"kind": "pair", "prompt": "p", "completions": texts("a", "b")}], repeats=1.0
    )
    for _ in range(2):
        store.answer(you, store.next_task(you, "r")["task"], "pair", {"choice": "left"}, new_id())
    say(store, other, "pair", {"choice": "good"})
    store.say("hide", id=other, hidden=True)
    rows, left_out = training_rows(store.answers(), "preference")
    assert len(rows) == 1
    assert left_out == {"a repeat, which measures the rater": 1, "hidden by the teacher": 1}
    store.undo(you, "r", new_id())
    assert taken_back(store) == 1


def test_a_guess_at_who_wrote_an_answer_is_no_preference(database):
    store = Store(database("r"))
    you = store.reader()
    row = {"kind": "pair", "prompt": "p", "completions": texts("a", "b"), "source": "guess"}
    store.add_tasks("whose is whose", [row])
    store.answer(
        you, store.next_task(you, "whose is whose")["task"], "pair", {"choice": "left"}, new_id()
    )
    assert training_rows(store.answers(), "preference") == ([], {"a guess at who wrote it": 1})
    assert comparisons(store.answers()) == []


def test_no_cell_of_a_table_is_a_formula(store):
    rows, left_out = table(store.answers())
    text = written(store, "csv")[0].removeprefix("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 10 and left_out == {}
    assert not any(
        cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values()
    )


@given(st.text(alphabet="=+-@;\"' \t\n\rab＝") | st.text())
def test_a_safe_cell_is_no_formula_however_a_line_is_split(text):
    cell = safe_cell(text)
    assert cell.replace("'", "") == text.replace("'", "")  # nothing else is added
    for sign in ",;\t\n\r":
        for part in cell.split(sign) if sign != "," else [cell]:
            assert not part.strip(' "\t\n\r').startswith(("=", "+", "-", "@", "＝"))


def test_events_lose_nothing(store, tmp_path, database):
    anna = store.raters()[0]["id"]
    store.add_tasks(
        "r", [{"kind": "pair", "prompt": "q", "completions": texts("a", "b")}], repeats=1.0
    )
    task = store.next_task(anna, "r")["task"]
    store.seal(anna, task, 0.75)
    store.answer(anna, task, "pair", {"choice": "left"}, new_id())
    store.undo(anna, "r", new_id())
    store.answer(anna, task, "pair", {"choice": "bad"}, new_id())
    store.reveal(anna, task, new_id())
    store.say("report", accuracy=0.5)
    store.say("round", round="r", state="paused")
    write_rows(tmp_path / "events.jsonl", everything(store))
    copy = Store(database("copy"))
    found = load(copy, tmp_path / "events.jsonl")
    assert everything(copy) == everything(store) and copy.room() == store.room()
    assert copy.answers() == store.answers() and copy.seals(anna) == {task: 0.75}
    assert load(copy, tmp_path / "events.jsonl") == {
        "new": 0,
        "known": found["new"],
        "forgotten": 0,
    }
    assert load(copy, handed_over(store, tmp_path))["new"] == 0


def test_anonymous_exports_name_nobody(store):
    for format in FORMATS:
        rows, _ = training_rows(store.answers(), format, anonymous=True)
        assert {row["rater"] for row in rows} <= {"rater 1", "rater 2"}
    raters = [row["id"] for row in store.raters()]
    said = (
        json.dumps(everything(store, anonymous=True))
        + written(store, "csv", None, anonymous=True)[0]
    )
    assert '"anna"' not in said and '"=ben"' not in said and "Anna told me" not in said
    assert not any(rater in said for rater in raters)


def test_the_notice_says_where_and_how_to_leave():
    said = NOTICE.format(where="runs/ratings.sqlite3")
    assert "runs/ratings.sqlite3" in said and "ratings forget" in said


def test_every_file_says_how_many_rows_it_has_and_what_it_leaves_out(store):
    for format, rows in (("preference", 7), ("csv", 10), ("events", len(everything(store)))):
        text, n, left_out = written(store, format)
        lines = (
            len(list(csv.DictReader(io.StringIO(text, newline=""))))
            if format == "csv"
            else text.count("\n")
        )
        assert n == lines == rows and ("a tie" in left_out) == (format == "preference")
    store.undo(store.raters()[1]["id"], store.answers()[-1]["round"], new_id())
    assert written(store, "csv")[1:] == (9, {"undone or changed": 1})


def test_the_code_for_trl_reads_the_file_that_was_written_and_no_other(tmp_path):
    for name in ("votes[1].jsonl", "votes1.jsonl", "it's.jsonl"):
        (tmp_path / name).write_text("{}\n")
    for name in ("votes[1].jsonl", "it's.jsonl"):
        code = snippet("preference", tmp_path / name)
        compile(code, "code", "exec")
        named = ast.literal_eval(re.search(r"data_files=(.*), split", code)[1])
        assert glob.glob(named) == [str(tmp_path / name)]
