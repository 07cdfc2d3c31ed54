"""A class's reports become a table; hostile ones are named, and harm nothing."""

import csv
import json
import os
import re
import sys

import pytest
import tiny
from test_report import move_to, rate, written

import rlhf_lessons as rl
from rlhf_lessons import data
from rlhf_lessons.cli import main
from rlhf_lessons.reports import class_table as gather

NUMBERS = re.compile(re.escape(gather.OPENING) + "(.*?)" + gather.CLOSING, re.S)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tiny.small_data(tmp_path_factory.mktemp("shipped"), data.SPLITS)
    tiny.checkpoints(folder / "checkpoints")
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory, shipped):
    """The text of a true report."""
    with pytest.MonkeyPatch.context() as patch:
        home = move_to(tmp_path_factory.mktemp("ada") / "runs", shipped, patch)
        rate(home, n=3)
        rl.report("=Ada")
        return written(home)


def table(file) -> list[dict]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def test_reports_become_rows_and_shared_votes_are_named(report, tmp_path, capsys):
    handed_in = tmp_path / "handed in"
    for folder in ("ada", "bob"):
        (handed_in / folder).mkdir(parents=True)
        (handed_in / folder / "report.html").write_text(report, encoding="utf-8")
    assert main(["reports", str(handed_in), "--out", str(tmp_path / "class.csv")]) == 0
    assert "2 reports written" in capsys.readouterr().out
    ada, bob = table(tmp_path / "class.csv")
    assert ada["file"] == "ada/report.html" and ada["votes"] == "3" and ada["self_agreement"] == ""
    assert ada["name"] == "'=Ada", "no formula for a spreadsheet"
    assert (ada["core"], ada["core_of"], ada["median_seconds"]) == ("0", "18", "4.0")
    assert (ada["blind_model"], ada["blind_won"], ada["blind_of"]) == ("after", "1.0", "3")
    assert 0 < float(ada["blind_low"]) < 1 == float(ada["blind_high"])
    assert ada["same_votes_as"] == "bob/report.html" and bob["same_votes_as"] == "ada/report.html"


def numbers(report: str, **changed) -> str:
    """The report with some numbers of its summary replaced."""
    data = json.loads(NUMBERS.search(report)[1]) | changed
    return re.sub(
        r"(id=\"rlhf-lessons-report\">).*?(</script>)",
        lambda m: m[1] + json.dumps(data) + m[2],
        report,
        flags=re.S,
    )


HOSTILE = {
    "no_report": lambda report: "<h1>hello</h1>",
    "two_in_one": lambda report: report + report,
    "cut_short": lambda report: report[: len(report) // 4],
    "no_json": lambda report: NUMBERS.sub(
        '<script type="application/json" id="rlhf-lessons-report">{</script>', report
    ),
    "deep": lambda report: NUMBERS.sub(
        f'<script type="application/json" id="rlhf-lessons-report">{"[" * 100_000}</script>', report
    ),
    "list": lambda report: NUMBERS.sub(
        '<script type="application/json" id="rlhf-lessons-report">[]</script>', report
    ),
    "text_for_number": lambda report: numbers(report, votes="=1+1"),
    "list_for_text": lambda report: numbers(report, name=["x"]),
    "below_zero": lambda report: numbers(report, votes=-1),
    "too_many": lambda report: numbers(report, votes=10**30),
    "no_number": lambda report: numbers(report, predicted={"value": float("nan")}),
    "true": lambda report: numbers(report, votes=True),
    "above_one": lambda report: numbers(report, self_agreement={"value": 7.5}),
    "many_digits": lambda report: report.replace('"votes": 3', '"votes": ' + "9" * 5000),
    "opened_often": lambda report: gather.OPENING * 50_000,
    "long_name": lambda report: numbers(report, name="x" * 501),
    "won_twice": lambda report: numbers(report, blind=[{"value": 2.0}]),
    "list_for_model": lambda report: numbers(report, blind=[{"model": ["=1"]}]),
    "text_for_core": lambda report: numbers(report, own={"tally": {"core": "2 of 2"}}),
    "large": lambda report: report + " " * gather.LARGEST,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_named_and_the_others_are_read(report, tmp_path, capsys, kind):
    handed_in = tmp_path / "in"
    handed_in.mkdir()
    (handed_in / f"{kind}.html").write_text(HOSTILE[kind](report), encoding="utf-8")
    (handed_in / "good.html").write_text(report, encoding="utf-8")
    (handed_in / "binary.html").write_bytes(bytes(range(256)))
    (handed_in / "folder.html").mkdir()
    assert main(["reports", str(handed_in), "--out", str(tmp_path / "class.csv")]) == 1
    said = capsys.readouterr()
    assert [line.split(": ")[1] for line in said.err.splitlines()] == sorted(
        [f"{kind}.html", "binary.html", "folder.html"]
    )
    assert [row["file"] for row in table(tmp_path / "class.csv")] == ["good.html"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files have no such names")
def test_a_files_own_name_may_be_anything(report, tmp_path):
    (tmp_path / "in").mkdir()
    for name in (b"caf\xe9.html", b"=1\n\x1b[2J.html"):
        with open(os.fsencode(tmp_path / "in") + b"/" + name, "w", encoding="utf-8") as file:
            file.write(report)
    assert gather.gather(tmp_path / "in", tmp_path / "class.csv") == (2, [])
    assert [row["file"] for row in table(tmp_path / "class.csv")] == ["'=1??[2J.html", "caf?.html"]


def test_control_characters_in_a_name_reach_no_terminal_and_no_table(report, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(numbers(report, name="a\x1b[2J\nb"), encoding="utf-8")
    assert gather.read(file).name == "a?[2J b"


def test_the_command_has_help(capsys):
    with pytest.raises(SystemExit):
        main(["reports", "--help"])
    said = capsys.readouterr().out
    assert said.startswith("usage: python -m rlhf_lessons reports") and "--out" in said


@pytest.mark.parametrize(
    "folder, said", [("nowhere", "there is no such folder"), ("", "there is no report in it")]
)
def test_a_folder_without_reports_is_named(tmp_path, capsys, folder, said):
    assert main(["reports", str(tmp_path / folder), "--out", str(tmp_path / "class.csv")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "class.csv").exists()
