"""What leaves the store comes back the same, fits the trainers as it is, and nothing is left out unseen."""
import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlhf_lessons.data import DataError, read_rows, write_rows
from rlhf_lessons.ratings import Refused, Store, new_id
from rlhf_lessons.ratings.export import (
    FORMATS,
    NOTICE,
    demonstrations,
    everything,
    preferences,
    rankings,
    safe_cell,
    table,
    taken_back,
    unpaired,
)
from rlhf_lessons.ratings.importing import forget, load, merge

SCORES = [{"relevance": 7, "accuracy": 6, "clarity": 5}, {"relevance": 1, "accuracy": 2, "clarity": 3}]


def texts(*words):
    return [{"text": word, "ended": word != "cut", "model": "sft"} for word in words]


def say(store, rater, kind, said, prompt="p", words=("good", "poor")):
    """Record a judgement of texts given in a fixed order, whatever the order on the screen."""
    round = new_id()
    store.add_tasks(round, [{"kind": kind if kind not in ("skip", "flag", "hands") else "pair", "prompt": prompt,
                             "completions": texts(*words)}])
    task = store.next_task(rater, round)
    order = [words.index(answer["text"]) for answer in task["answers"]]
    payload = dict(said)
    if said.get("choice") in words:
        payload["choice"] = ("left", "right")[order.index(words.index(said["choice"]))]
    for field in ("ranks", "scores", "labels"):
        if field in said:
            payload[field] = [said[field][i] for i in order]
    return store.answer(rater, task["task"], kind, payload, new_id(), ms=1234)


@pytest.fixture
def store(tmp_path):
    """One of everything: three decided pairs (one by a show of hands), what decides nothing, and the other kinds."""
    store = Store(tmp_path / "ratings.sqlite3")
    anna, ben = store.add_rater("anna", "red"), store.add_rater("=ben", "blue")
    say(store, anna, "pair", {"choice": "good", "strength": 2})
    say(store, ben, "pair", {"choice": "cut", "strength": 1}, words=("whole", "cut"))
    say(store, anna, "pair", {"choice": "tie"})
    say(store, anna, "pair", {"choice": "bad"})
    say(store, ben, "skip", {"reason": "Anna told me"})
    say(store, ben, "flag", {})
    say(store, anna, "ranking", {"ranks": [1, 4, 2, 2]}, words=("best", "worst", "b", "c"))
    say(store, ben, "scores", {"scores": SCORES})
    say(store, ben, "demonstration", {"text": "+1 is right\nsaid =ben"}, words=())
    say(store, ben, "label", {"labels": [True]}, words=("fine",))
    yield store
    store.close()


def plain(rows):
    return sorted(json.dumps({k: v for k, v in row.items() if k != "group"}, sort_keys=True) for row in rows)


def test_preferences_are_what_read_rows_and_the_reward_model_take(store, tmp_path):
    rows, left_out = preferences(store.answers())
    file = tmp_path / "out" / "preference.jsonl"
    write_rows(file, rows)
    assert read_rows(file, "comparisons") == rows
    first = rows[0] | {"group": None}
    assert first == {"prompt": "p", "chosen": "good", "rejected": "poor", "ended": [True, True], "strength": 2,
                     "rater": "anna", "team": "red", "group": None}
    assert rows[1]["ended"] == [False, True]
    assert left_out == {"a tie": 2, "both bad": 1, "skipped": 1, "flagged": 1, "no comparison (scores)": 1,
                        "no comparison (demonstration)": 1, "no comparison (label)": 1}


def test_exported_preferences_train_a_reward_model(store, tokenizer):
    from rlhf_lessons.stages.reward import to_rankings
    found = to_rankings(tokenizer, preferences(store.answers())[0])
    assert sorted(len(ranking.pairs) for ranking in found) == [1, 1, 5]  # the ranking's tie is no pair


def test_a_ranking_gives_all_its_pairs_with_one_group(store):
    rows = [row for row in preferences(store.answers())[0] if {row["chosen"], row["rejected"]} & {"best", "worst"}]
    assert {(row["chosen"], row["rejected"], row["strength"]) for row in rows} == {
        ("best", "worst", 2), ("best", "b", 1), ("best", "c", 1), ("b", "worst", 1), ("c", "worst", 1)}
    assert len({row["group"] for row in rows}) == 1


def test_a_show_of_hands_gives_a_row_a_hand(store):
    say(store, store.add_rater("teacher"), "hands", {"left": 3, "right": 2, "tie": 4, "bad": 0})
    rows, left_out = preferences(store.answers())
    assert len([row for row in rows if row["rater"] == "teacher"]) == 5 and left_out["a tie"] == 6


def test_unpaired_rows_are_good_or_bad(store):
    rows, left_out = unpaired(store.answers())
    labels = sorted((row["completion"], row["label"]) for row in rows)
    assert labels == sorted([("good", True), ("poor", False), ("cut", True), ("whole", False), ("good", False),
                             ("poor", False), ("best", True), ("worst", False), ("good", True), ("poor", False),
                             ("fine", True)])
    assert left_out["a tie or in the middle"] == 4


def test_rankings_and_demonstrations_leave_in_their_own_formats(store):
    (row,), _ = rankings(store.answers())
    assert dict(zip(row["completions"], row["ranks"])) == {"best": 1, "worst": 3, "b": 2, "c": 2}
    (row,), _ = demonstrations(store.answers())
    assert row["prompt"] == "p" and row["completion"] == "+1 is right\nsaid =ben"


def test_hidden_and_repeated_votes_are_left_out_and_counted(tmp_path):
    store = Store(tmp_path / "r.sqlite3")
    you, other = store.reader(), store.add_rater("other")
    store.add_tasks("r", [{"kind": "pair", "prompt": "p", "completions": texts("a", "b")}], repeats=1.0)
    for _ in range(2):
        store.answer(you, store.next_task(you, "r")["task"], "pair", {"choice": "left"}, new_id())
    say(store, other, "pair", {"choice": "good"})
    store.hide(other)
    rows, left_out = preferences(store.answers())
    assert len(rows) == 1
    assert left_out == {"a repeat, which measures the rater": 1, "hidden by the teacher": 1}
    store.undo(you, "r", new_id())
    assert taken_back(store) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_comes_back_the_same_and_twice_is_once(store, tmp_path, format):
    rows, _ = FORMATS[format](store.answers())
    write_rows(tmp_path / "out.jsonl", rows)
    copy = Store(tmp_path / "copy.sqlite3")
    assert load(copy, tmp_path / "out.jsonl")["new"] > 0
    assert load(copy, tmp_path / "out.jsonl")["new"] == 0
    assert plain(FORMATS[format](copy.answers())[0]) == plain(rows)


def test_a_ranking_comes_back_from_its_pairs(store, tmp_path):
    write_rows(tmp_path / "out.jsonl", preferences(store.answers())[0])
    copy = Store(tmp_path / "copy.sqlite3")
    load(copy, tmp_path / "out.jsonl")
    (row,), _ = rankings(copy.answers())
    assert dict(zip(row["completions"], row["ranks"])) == {"best": 1, "worst": 3, "b": 2, "c": 2}


def test_equal_rows_of_one_file_are_different_votes(tmp_path):
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "rater": "anna"}
    write_rows(tmp_path / "in.jsonl", [row, row, row | {"chosen": "b", "rejected": "a"}])
    store = Store(tmp_path / "r.sqlite3")
    assert load(store, tmp_path / "in.jsonl") == {"new": 3, "known": 0, "forgotten": 0}
    assert [row["chosen"] for row in preferences(store.answers())[0]] == ["a", "a", "b"]


def test_a_table_comes_back_and_no_cell_is_a_formula(store, tmp_path):
    text, left_out = table(store.answers())
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 10 and left_out == {}
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    (tmp_path / "out.csv").write_text("\ufeff" + text, encoding="utf-8", newline="")
    copy = Store(tmp_path / "copy.sqlite3")
    assert load(copy, tmp_path / "out.csv")["new"] == 10
    assert load(store, tmp_path / "out.csv") == {"new": 0, "known": 10, "forgotten": 0}
    assert table(copy.answers())[0] == text


@given(st.text())
def test_a_safe_cell_gives_the_text_back(text):
    cell = safe_cell(text)
    assert not cell.startswith(("=", "+", "-", "@")) and (cell[1:] if cell.startswith("'") else cell) == text


def test_events_lose_nothing(store, tmp_path):
    anna = store.raters()[0]["id"]
    store.add_tasks("r", [{"kind": "pair", "prompt": "q", "completions": texts("a", "b")}], repeats=1.0)
    task = store.next_task(anna, "r")["task"]
    store.answer(anna, task, "pair", {"choice": "left"}, new_id())
    store.undo(anna, "r", new_id())
    store.answer(anna, task, "pair", {"choice": "bad"}, new_id())
    store.reveal(anna, task, new_id())
    store.report({"accuracy": 0.5})
    store.set_round("r", "paused")
    write_rows(tmp_path / "events.jsonl", everything(store))
    copy = Store(tmp_path / "copy.sqlite3")
    found = load(copy, tmp_path / "events.jsonl")
    assert everything(copy) == everything(store) and copy.room() == store.room()
    assert load(copy, tmp_path / "events.jsonl") == {"new": 0, "known": found["new"], "forgotten": 0}
    assert load(copy, tmp_path / "ratings.sqlite3")["new"] == 0


def test_files_from_many_laptops_merge_with_duplicates_once(tmp_path):
    task = [{"kind": "pair", "prompt": "p", "completions": texts("a", "b"), "overlap": None}]
    files = []
    for name in ("anna", "ben", "cleo"):
        laptop = Store(tmp_path / f"{name}.sqlite3")
        laptop.add_tasks("lesson 3", task)
        rater = laptop.reader()  # each of them is called `you`
        laptop.answer(rater, laptop.next_task(rater, "lesson 3")["task"], "pair", {"choice": "left"}, new_id())
        files.append(tmp_path / f"{name}.sqlite3")
    room = Store(tmp_path / "class.sqlite3")
    assert [load(room, file)["new"] for file in [*files, *files]] == [1, 1, 1, 0, 0, 0]
    answers = room.answers()
    assert len({row["rater"] for row in answers}) == 3 and len({row["task"] for row in answers}) == 1


def test_a_copy_that_went_on_brings_its_undo_along(store, tmp_path):
    you = store.add_rater("you")
    say(store, you, "pair", {"choice": "good"}, prompt="q")
    copy = Store(tmp_path / "copy.sqlite3")
    load(copy, tmp_path / "ratings.sqlite3")
    round = store.answers()[-1]["round"]
    store.undo(you, round, new_id())
    assert load(copy, tmp_path / "ratings.sqlite3")["new"] == 1
    assert copy.answers() == store.answers()


def test_anonymous_exports_name_nobody(store):
    for format in FORMATS.values():
        rows, _ = format(store.answers(), anonymous=True)
        assert {row["rater"] for row in rows} <= {"rater 1", "rater 2"}
    raters = [row["id"] for row in store.raters()]
    said = json.dumps(everything(store, anonymous=True)) + table(store.answers(), anonymous=True)[0]
    assert '"anna"' not in said and '"=ben"' not in said and "Anna told me" not in said
    assert not any(rater in said for rater in raters)


def test_who_is_forgotten_leaves_no_trace_and_does_not_come_back(store, tmp_path):
    write_rows(tmp_path / "old.jsonl", everything(store))
    store.hide(store.raters()[1]["id"])
    n = forget(store, "=ben")
    assert n == 7 and {row["name"] for row in store.raters()} == {"anna"}
    assert load(store, tmp_path / "old.jsonl") == {"new": 0, "known": 4, "forgotten": 6}
    assert len(store.answers()) == 4
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("ratings.sqlite3*"))
    assert b"Anna told me" not in kept and b"=ben" not in kept and b"anna" in kept
    with pytest.raises(Refused, match="nobody"):
        forget(store, "=ben")
    store.add_rater("anna")
    with pytest.raises(Refused, match="2 raters"):
        forget(store, "anna")


def test_an_import_that_was_forgotten_elsewhere_is_forgotten_here(store, tmp_path):
    copy = Store(tmp_path / "copy.sqlite3")
    load(copy, tmp_path / "ratings.sqlite3")
    forget(store, "anna")
    load(copy, tmp_path / "ratings.sqlite3")
    assert [row["name"] for row in copy.raters()] == ["=ben"]


@pytest.mark.parametrize("content, said", [
    ("", "holds no rows"), ("[1]", "row 1"), ('{"a": 1}', "row 1"), ('{"prompt": "p", "chosen": 5}', "row 1"),
    ('{"prompt": "p", "completion": "x", "label": 1}', "true or false"),
    ('{"prompt": "p", "completions": ["a", "b"], "ranks": [1]}', "row 1"),
    ('{"table": "users"}', "'table' is 'users'"), ('{"table": "event", "id": 7}', "'id' of a event"),
    (json.dumps({"table": "completion", "id": "c" * 9, "prompt": "nowhere", "text": "a", "ended": True, "model": ""}),
     "not in the file")])
def test_a_file_that_does_not_fit_is_named_by_row_and_nothing_of_it_is_kept(store, tmp_path, content, said):
    before = everything(store)
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps({"prompt": "p", "completion": "x"}) + "\n" + content
                    if content.startswith('{"prompt') else content)
    with pytest.raises(DataError, match=said.replace("row 1", "row")):
        load(store, file)
    assert everything(store) == before


def test_a_forged_judgement_in_an_events_file_is_refused(store):
    rows = everything(store)
    event = next(row for row in rows if row["table"] == "event" and row["kind"] == "pair")
    for payload, shown in [({"choice": "evil"}, event["shown"]), ({"choice": "left"}, ["nowhere", "nowhere"])]:
        with pytest.raises(DataError):
            merge(store, [event | {"id": new_id(), "payload": payload, "shown": shown}])


rows_of = st.fixed_dictionaries({
    "prompt": st.sampled_from(["p", "=1+1", "q\nr"]), "chosen": st.text(max_size=5), "rejected": st.text(max_size=5),
    "rater": st.sampled_from(["anna", "ben", ""])})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows_of, min_size=1, max_size=6))
def test_any_preferences_come_in_once_and_go_out_as_they_came(tmp_path, rows):
    folder = tmp_path / new_id()
    write_rows(folder / "in.jsonl", [row for row in rows])
    store = Store(folder / "r.sqlite3")
    assert load(store, folder / "in.jsonl")["new"] == len(rows) and load(store, folder / "in.jsonl")["new"] == 0
    found, left_out = preferences(store.answers())
    store.close()
    clean = lambda text: text.replace("\0", "\ufffd")  # noqa: E731
    wanted = [(row["prompt"], clean(row["chosen"]), clean(row["rejected"])) for row in rows
              if clean(row["chosen"]) != clean(row["rejected"])]
    assert sorted((row["prompt"], row["chosen"], row["rejected"]) for row in found) == sorted(wanted)
    assert left_out == ({"identical texts": len(rows) - len(wanted)} if len(wanted) < len(rows) else {})


def test_the_notice_says_where_and_how_to_leave():
    said = NOTICE.format(where="runs/ratings.sqlite3")
    assert "runs/ratings.sqlite3" in said and "ratings forget" in said
