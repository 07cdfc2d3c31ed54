"""What comes into the store is what left another, once each; what does not fit is named, and
nothing of it is kept.
"""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from voting import handed_over, one_of_everything, say, texts

from rlhf_lessons.data import DataError, write_rows
from rlhf_lessons.evaluation.votes import statistics
from rlhf_lessons.feedback import Refused, Store, new_id
from rlhf_lessons.feedback.exchange import forget, load, merge
from rlhf_lessons.feedback.export import FORMATS, everything, training_rows
from rlhf_lessons.feedback.schema import META, raters


@pytest.fixture
def store(store):
    one_of_everything(store)
    return store


def plain(rows):
    return sorted(
        json.dumps({k: v for k, v in row.items() if k != "group"}, sort_keys=True) for row in rows
    )


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_comes_back_the_same_and_twice_is_once(store, tmp_path, format, database):
    rows, _ = training_rows(store.answers(), format)
    write_rows(tmp_path / "out.jsonl", rows)
    copy = Store(database("copy"))
    assert load(copy, tmp_path / "out.jsonl")["new"] > 0
    assert load(copy, tmp_path / "out.jsonl")["new"] == 0
    assert plain(training_rows(copy.answers(), format)[0]) == plain(rows)


def test_equal_rows_of_one_file_are_different_votes(tmp_path, database):
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "rater": "anna"}
    write_rows(tmp_path / "in.jsonl", [row, row, row | {"chosen": "b", "rejected": "a"}])
    store = Store(database("r"))
    assert load(store, tmp_path / "in.jsonl") == {"new": 3, "known": 0, "forgotten": 0}
    assert [row["chosen"] for row in training_rows(store.answers(), "preference")[0]] == [
        "a",
        "a",
        "b",
    ]


def test_a_vote_on_two_equal_texts_leaves_and_comes_back_like_any_other(tmp_path, database):
    row = {"prompt": "p", "chosen": "a", "rejected": "a", "rater": "anna"}
    write_rows(tmp_path / "in.jsonl", [row])
    store, copy = Store(database("r")), Store(database("copy"))
    load(store, tmp_path / "in.jsonl")
    write_rows(tmp_path / "events.jsonl", everything(store))
    assert load(copy, tmp_path / "events.jsonl") == {"new": 1, "known": 0, "forgotten": 0}
    assert everything(copy) == everything(store)


def test_files_from_many_laptops_merge_with_duplicates_once(tmp_path, database):
    task = [{"kind": "pair", "prompt": "p", "completions": texts("a", "b"), "overlap": None}]
    files = []
    for name in ("anna", "ben", "cleo"):
        laptop = Store(database(name))
        laptop.add_tasks("lesson 3", task)
        rater = laptop.reader()  # each of them is called `you`
        laptop.answer(
            rater, laptop.next_task(rater, "lesson 3")["task"], "pair", {"choice": "left"}, new_id()
        )
        files.append(handed_over(laptop, tmp_path))
    room = Store(database("class"))
    assert [load(room, file)["new"] for file in [*files, *files]] == [1, 1, 1, 0, 0, 0]
    answers = room.answers()
    assert (
        len({row["rater"] for row in answers}) == 3 and len({row["task"] for row in answers}) == 1
    )


def test_a_copy_that_went_on_brings_its_undo_along(store, tmp_path, database):
    you = store.add_rater("you")
    say(store, you, "pair", {"choice": "good"}, prompt="q")
    copy = Store(database("copy"))
    load(copy, handed_over(store, tmp_path))
    round = store.answers()[-1]["round"]
    store.undo(you, round, new_id())
    with pytest.raises(Refused, match=r"answers undone or changed \(1\).*--forget"):
        load(copy, handed_over(store, tmp_path))
    assert load(copy, handed_over(store, tmp_path), forget=True)["new"] == 1
    assert copy.answers() == store.answers()


def test_who_is_forgotten_leaves_no_trace_and_does_not_come_back(store, tmp_path):
    write_rows(tmp_path / "old.jsonl", everything(store))
    store.say("hide", id=store.raters()[1]["id"], hidden=True)
    assert forget(store, "=ben") == {"events": 7, "finished": True}
    assert {row["name"] for row in store.raters()} == {"anna"}
    assert load(store, tmp_path / "old.jsonl") == {"new": 0, "known": 4, "forgotten": 6}
    assert len(store.answers()) == 4
    kept = on_the_disk(store, tmp_path)
    assert b"Anna told me" not in kept and b"=ben" not in kept and b"anna" in kept
    with pytest.raises(Refused, match="nobody"):
        forget(store, "=ben")
    with store.write() as c:  # as from two laptops
        c.execute(raters.insert(), dict(id="b" * 32, name="anna", team="", kind="person"))
    with pytest.raises(Refused, match="2 raters"):
        forget(store, "anna")


def test_an_import_that_was_forgotten_elsewhere_is_forgotten_here(store, tmp_path, database):
    copy = Store(database("copy"))
    load(copy, handed_over(store, tmp_path))
    forget(store, "anna")
    with pytest.raises(Refused, match=r"all events of 'anna' deleted \(4\).*--forget"):
        load(copy, handed_over(store, tmp_path))
    assert len(copy.raters()) == 2
    load(copy, handed_over(store, tmp_path), forget=True)
    assert [row["name"] for row in copy.raters()] == ["=ben"]


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "holds no rows"),
        ("[1]", "row 1"),
        ('{"a": 1}', "row 1"),
        ('{"prompt": "p", "chosen": 5}', "row 1"),
        ('{"prompt": "p", "completion": "x", "label": 1}', "true or false"),
        ('{"prompt": "p", "completions": ["a", "b"], "ranks": [1]}', "row 1"),
        ('{"table": "users"}', "'table' is 'users'"),
        ('{"table": "event", "id": 7}', "'id' of the table 'event'"),
        (
            json.dumps(
                {
                    "table": "completion",
                    "id": "c" * 9,
                    "prompt": "nowhere",
                    "text": "a",
                    "ended": True,
                    "model": "",
                }
            ),
            "not in the file",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_named_by_row_and_nothing_of_it_is_kept(
    store, tmp_path, content, said
):
    before = everything(store)
    file = tmp_path / "in.jsonl"
    file.write_text(
        json.dumps({"prompt": "p", "completion": "x"}) + "\n" + content
        if content.startswith('{"prompt')
        else content
    )
    with pytest.raises(DataError, match=said.replace("row 1", "row")):
        load(store, file)
    assert everything(store) == before


def test_a_forged_judgement_in_an_events_file_is_refused(store):
    rows = everything(store)
    event = next(row for row in rows if row["table"] == "event" and row["kind"] == "pair")
    for payload, shown in [
        ({"choice": "evil"}, event["shown"]),
        ({"choice": "left"}, ["nowhere", "nowhere"]),
    ]:
        with pytest.raises(DataError):
            forged = event | {"id": new_id(), "payload": payload, "shown": shown}
            merge(store, [(1, forged)])


def on_the_disk(store, folder):
    """All that the database holds: the bytes of its files, or the rows of a server's tables."""
    if store.engine.name == "sqlite":
        return b"".join(file.read_bytes() for file in folder.glob("ratings.sqlite3*"))
    with store.read() as c:
        rows = [c.execute(table.select()).all() for table in META.sorted_tables]
    return repr(rows).encode()


rows_of = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["p", "=1+1", "q\nr"]),
        "chosen": st.text(max_size=5),
        "rejected": st.text(max_size=5),
        "rater": st.sampled_from(["anna", "ben", ""]),
    }
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(rows_of, min_size=1, max_size=6))
def test_any_preferences_come_in_once_and_go_out_as_they_came(database, tmp_path, rows):
    folder = tmp_path / new_id()
    write_rows(folder / "in.jsonl", [row for row in rows])
    store = Store(database(folder.name))
    assert (
        load(store, folder / "in.jsonl")["new"] == len(rows)
        and load(store, folder / "in.jsonl")["new"] == 0
    )
    found, left_out = training_rows(store.answers(), "preference")
    store.close()
    clean = lambda text: text.replace("\0", "\ufffd")  # noqa: E731
    wanted = [
        (row["prompt"], clean(row["chosen"]), clean(row["rejected"]))
        for row in rows
        if clean(row["chosen"]) != clean(row["rejected"])
    ]
    assert sorted((row["prompt"], row["chosen"], row["rejected"]) for row in found) == sorted(
        wanted
    )
    assert left_out == (
        {"identical texts": len(rows) - len(wanted)} if len(wanted) < len(rows) else {}
    )


absurd = st.sampled_from(
    [
        None,
        True,
        -1,
        2**31,
        2**70,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\0",
        "\ud800",
        [],
        {},
        [1],
        ["x"],
        [[]],
        {"best": 9},
        {"best": []},
        {"choice": []},
        {"id": [], "hidden": 1},
    ]
)


@pytest.mark.parametrize(
    "row, field",
    [
        ({"table": "rater", "id": "m" * 65}, "id"),
        ({"table": "rater", "kind": "k" * 21}, "kind"),
        ({"kind": "round", "payload": {"round": "a\0b", "state": "open"}}, "round"),
        ({"kind": "hide", "payload": {"id": "a\0b", "hidden": True}}, "id"),
    ],
)
def test_what_one_of_the_databases_cannot_hold_is_refused_by_all(store, row, field):
    plain = {
        "rater": {"id": new_id(), "name": "M", "team": "", "kind": "person"},
        "event": {"id": new_id(), "time": 1.0, "ui": ""},
    }
    name = row.get("table", "event")
    before = everything(store)
    with pytest.raises(DataError, match=f"row 1: the field '{field}'"):
        merge(store, [(1, plain[name] | {"table": name} | row)], forget=True)
    assert everything(store) == before


@pytest.mark.parametrize("field", ["id", "replaces", "rater", "task", "kind", "ui"])
def test_half_an_emoji_in_any_field_of_an_event_is_refused_by_row_and_field(
    store, tmp_path, field, database
):
    rows = everything(store)
    place = next(i for i, row in enumerate(rows) if row["table"] == "event")
    rows[place][field] = "\ud800"
    file = tmp_path / "half.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    copy = Store(database("copy"))
    with pytest.raises(
        DataError, match=rf"row {place + 1}: the field '{field}' of the table 'event'"
    ):
        load(copy, file)
    assert everything(copy) == []
    copy.close()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_an_events_file_with_an_absurd_value_is_refused_in_a_line_or_does_no_harm(
    store, tmp_path, database, data
):
    rows = everything(store)
    row = data.draw(st.sampled_from(rows))
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(absurd)
    file, copy = tmp_path / f"{new_id()}.jsonl", Store(database(new_id()))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    try:
        load(copy, file)
    except DataError as error:
        assert "\n" not in str(error) and str(file) in str(error) and everything(copy) == []
    statistics(copy.answers())
    for rater in copy.raters():
        for round in {row["round"] for row in copy.answers()}:
            copy.next_task(rater["id"], round)
            copy.progress(rater["id"], round)
    copy.close()


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 100,
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"SQLite format 3\0" + b"x" * 2000,
        b'{"prompt": ' + b"9" * 5000 + b"}",
        b'{"prompt": "p", "chosen": ["a"], "rejected": "b", "group": 1}\n' * 2,
        b'{"prompt": "p", "chosen": "a", "rejected": "b", "ended": 5, "group": 1}\n' * 2,
    ],
)
def test_what_is_no_file_of_ratings_is_named_in_a_line(tmp_path, content, database):
    file, empty = tmp_path / "in.jsonl", Store(database("r"))
    file.write_bytes(content)
    with pytest.raises(ValueError, match="in.jsonl") as error:
        load(empty, file)
    assert "\n" not in str(error.value) and everything(empty) == []
