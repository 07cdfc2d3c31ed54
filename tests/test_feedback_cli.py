"""`ratings export|import|stats|merge|forget`: help for newcomers, pure JSON, and a line for what
does not fit.
"""

import json

import pytest
from voting import handed_over

from rlhf_lessons.cli import main
from rlhf_lessons.feedback import Store, new_id

COMMANDS = ("export", "import", "stats", "merge", "forget")


def run(*arguments):
    try:
        return main(["ratings", *map(str, arguments)])
    except SystemExit as end:
        return end.code


@pytest.fixture
def db(database):
    """Three votes by anna, one of them undone."""
    where = database("class")
    store = Store(where)
    anna = store.add_rater("anna")
    store.add_tasks(
        "r",
        [
            {"kind": "pair", "prompt": f"p{i}", "completions": [{"text": "a"}, {"text": "b"}]}
            for i in range(3)
        ],
    )
    for choice in ("left", "tie", "right"):
        store.answer(anna, store.next_task(anna, "r")["task"], "pair", {"choice": choice}, new_id())
    store.undo(anna, "r", new_id())
    store.close()
    return where


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    said = capsys.readouterr().out
    assert all(f" • ratings {command} " in said for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command, capsys):
    assert run(command, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: python -m rlhf_lessons ratings {command}") and "--json" in said


def test_export_says_what_it_wrote_and_what_it_left_out(db, tmp_path, capsys):
    assert run("export", tmp_path / "out.jsonl", "--db", db) == 0
    said = capsys.readouterr().out
    assert "1 rows written" in said and "1 (a tie)" in said and "1 (undone or changed)" in said
    assert run("export", tmp_path / "out.jsonl", "--db", db, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == (tmp_path / "out.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("format, name", [("events", "e.jsonl"), ("preference", "p.jsonl")])
def test_what_was_exported_can_be_imported(db, tmp_path, capsys, format, name):
    assert run("export", tmp_path / name, "--format", format, "--db", db) == 0
    capsys.readouterr()
    other = tmp_path / "other.sqlite3"
    assert run("import", tmp_path / name, "--db", other, "--json") == 0
    assert json.loads(capsys.readouterr().out)["new"] == {"events": 4, "preference": 1}[format]


def test_a_table_is_for_reading_and_import_says_what_comes_back(db, tmp_path, capsys):
    assert run("export", tmp_path / "t.csv", "--format", "csv", "--db", db) == 0
    assert run("import", tmp_path / "t.csv", "--db", tmp_path / "other.sqlite3") == 2
    assert "`events` can be imported" in capsys.readouterr().err


def test_merge_counts_what_is_in_two_files_once(db, database, tmp_path, capsys):
    file = handed_over(Store(db), tmp_path)
    assert run("merge", database("all"), file, file, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"new": 4, "known": 4, "forgotten": 0}


def test_stats_are_a_table_or_one_json_object(db, capsys):
    assert run("stats", "--db", db) == 0
    said = capsys.readouterr().out
    assert "2 answers by 1 raters" in said and "no pair of answers was judged by two raters" in said
    assert run("stats", "--db", db, "--json") == 0
    assert json.loads(capsys.readouterr().out)["side_bias"]["n"] == 1


def test_forget_deletes_a_rater(db, capsys):
    assert run("forget", "anna", "--db", db, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"events": 4, "finished": True}
    assert Store(db).raters() == []


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "Available subcommands: ratings export"),
        (["fly"], "Unrecognized options: ratings, fly"),
        (["stats", "--db", "nowhere.sqlite3"], "no ratings yet"),
        (["export", "OUT", "--db", "nowhere.sqlite3"], "no ratings yet"),
        (["export"], "The file to write"),
        (["export", "OUT", "--format", "xml"], "xml"),
        (["import", "nowhere.jsonl", "--db", "OUT"], "no such file"),
        (["export", "OUT", "--db", "DB", "--format", "events", "--round", "r"], "always all"),
        (["forget", "ben", "--db", "DB"], "nobody here"),
        (["merge", "OUT"], "name the files"),
        (["stats", "--db", "nosuch://x"], "no database can be opened"),
    ],
)
def test_input_that_does_not_fit_is_named_in_a_line_and_exits_with_2(
    db, tmp_path, arguments, named, capsys
):
    places = {"DB": db, "OUT": tmp_path / "out"}
    assert run(*[places.get(word, word) for word in arguments]) == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
