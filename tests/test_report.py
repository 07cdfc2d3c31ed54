"""A learner's report: it says what was done and no more, and shows nobody's text as markup."""

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import tiny

import rlhf_lessons as rl
from rlhf_lessons import data, paths
from rlhf_lessons.data import tasks
from rlhf_lessons.exercises import catalogue
from rlhf_lessons.exercises import check as checks
from rlhf_lessons.feedback import Store, new_id
from rlhf_lessons.reports import class_table as gather
from rlhf_lessons.reports import learner as mine
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS

NASTY = "</script><script>alert(1)</script>&<b>$\\frac{"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tiny.small_data(tmp_path_factory.mktemp("shipped"), data.SPLITS)
    tiny.checkpoints(folder / "checkpoints")
    return folder


@pytest.fixture
def home(tmp_path, shipped, monkeypatch):
    return move_to(tmp_path / "runs", shipped, monkeypatch)


def move_to(runs, shipped, monkeypatch):
    """Return an empty folder for what the reader makes; untrained models are the shipped ones."""
    monkeypatch.setattr(paths, "DATA", shipped)
    monkeypatch.setattr(mine, "DEFAULT", runs / "ratings.sqlite3")
    monkeypatch.setattr(paths, "RUNS", runs)
    return runs


def pair(prompt: str, text: str = "a dragon came", other: str = "nobody came", n: int = 0) -> dict:
    return {
        "kind": "pair",
        "prompt": prompt,
        "overlap": None,
        "completions": [
            {"text": f"{text} {n}", "model": "after"},
            {"text": f"{other} {n}", "model": "before"},
        ],
    }


def rate(home, round: str = "r", n: int = 50, repeats: float = 0.0, **texts) -> Store:
    """Let the reader prefer the dragons in `n` pairs of a round."""
    home.mkdir(exist_ok=True)
    store = Store(home / "ratings.sqlite3")
    you = store.reader()
    store.add_tasks(
        round,
        [pair(task.prompt, n=i, **texts) for i, task in enumerate(tasks("train")[:n])],
        repeats,
    )
    while (task := store.next_task(you, round))["state"] == "task":
        side = "left" if "dragon" in task["answers"][0]["text"] else "right"
        store.answer(you, task["task"], "pair", {"choice": side}, new_id(), ms=4000)
    return store


def gathered(name: str = "", rater: str = "you") -> dict:
    """What the report of a rater rests on."""
    return mine.gather(name, [row for row in mine.by_people(None) if row["name"] == rater])


def written(home) -> str:
    return (home / "report" / "report.html").read_text(encoding="utf-8")


# A learner's page


def test_with_nothing_done_it_says_so_and_makes_no_ratings_file(home, capsys):
    rl.report()
    html = written(home)
    for words in (
        "No votes yet",
        "Too few votes",
        "Nothing to compare yet",
        "No exercise passed yet",
        "No model trained and kept yet",
        "A report",
    ):
        assert words in html
    assert "<img" not in html and "–" in html and not (home / "ratings.sqlite3").exists()
    assert capsys.readouterr().out == (
        "Your report: runs/report/report.html, on 0 votes.\n"
        "To print it, or to keep it as a PDF, open it in a browser and choose Print there.\n"
    )


def test_passed_checks_are_noted_where_the_report_looks_whatever_folder_a_lesson_runs_in(
    monkeypatch,
):
    assert checks.passed_file().is_absolute() and checks.passed_file().parent == paths.RUNS


def test_it_is_a_function_however_often_it_is_called(home):
    rl.report()
    rl.report()
    assert callable(rl.report)


def test_it_shows_votes_agreement_and_what_they_taught(home):
    rate(home, "lesson 3", 40, repeats=0.25)
    found = gathered("Ada")
    repeats = found["self_agreement"]["n"]  # drawn at random
    assert found["self_agreement"]["value"] == 1.0 and repeats > 0
    assert found["votes"] == 40 + repeats and len(found["rounds"]) == 1
    assert found["rounds"]["lesson 3"]["kinds"] == {"pair": 40 + repeats}
    assert found["rounds"]["lesson 3"]["seconds"] == 4.0 and found["median_seconds"] == 4.0
    ((name, curve),) = found["curves"].items()
    assert name == "lesson 3"
    assert [point["votes"] for point in curve["points"]] == [0, 20], "repeats teach nothing new"
    assert curve["steady"]["n"] == repeats and curve["ceiling"]["value"] == 1.0
    assert found["predicted"]["n"] == 20 and found["predicted"]["value"] == 1.0, (
        "dragons are easily predicted"
    )
    assert found["blind"][0]["model"] == "after" and found["blind"][0]["value"] == 1.0
    ((worse, better),) = found["chosen"].values()
    assert (worse, better) == ("not chosen: before", "chosen: after")

    rl.report("Ada")
    html = written(home)
    assert "<h1>Ada</h1>" in html and f"{40 + repeats} pairs" in html and "100% (" in html
    assert "the interval counts votes" in html, (
        "the reason why the interval is narrower than it seems"
    )
    assert "alt='Lesson 3: of 20 votes it predicted 100%" in html


def test_votes_on_quality_and_on_taste_have_a_curve_each(home):
    rate(home, "lesson 3, pairs", 25)
    rate(home, "lesson 6, round 1", 30, text="no dragon at all", other="somebody came")
    found = gathered()
    assert [(name, curve["predicted"]["n"]) for name, curve in found["curves"].items()] == [
        ("lesson 3", 5),
        ("lesson 6", 10),
    ]
    assert found["predicted"]["n"] == 15
    rl.report()
    assert written(home).count("<img") == 2


def test_the_dotted_line_leaves_out_what_the_test_of_the_reward_model_leaves_out(home):
    """Repeats in which a verdict was a tie: agreement on a side would seem lower than a coin's."""
    home.mkdir()
    store = Store(home / "ratings.sqlite3")
    you, first = store.reader(), {}
    store.add_tasks(
        "r", [pair(task.prompt, n=i) for i, task in enumerate(tasks("train")[:20])], 1.0
    )
    while (task := store.next_task(you, "r"))["state"] == "task":
        again, n = task["prompt"] in first, len(first)
        side = "left" if "dragon" in task["answers"][0]["text"] else "right"
        choice = side if (first.setdefault(task["prompt"], n) % 2 == 0 or not again) else "tie"
        store.answer(you, task["task"], "pair", {"choice": choice}, new_id(), ms=4000)
    rows = store.answers()
    told, drawn = mine.statistics(rows)["self_agreement"], mine.decided_twice(rows)
    assert (told["n"], told["value"]) == (20, 0.5) and (drawn["n"], drawn["value"]) == (10, 1.0)


def test_somebody_who_voted_on_the_class_page_gets_a_report_of_votes_alone(home, capsys):
    store = rate(home, n=2)
    otter = store.add_rater("otter 1")
    store.add_tasks(
        "round 1: pairs, stories",
        [pair(task.prompt, n=i) for i, task in enumerate(tasks("train")[:3])],
    )
    while (task := store.next_task(otter, "round 1: pairs, stories"))["state"] == "task":
        store.answer(otter, task["task"], "pair", {"choice": "left"}, new_id(), ms=2000, ui="page")
    checks.remember("lesson1.surprise")
    rl.report("Ada", rater="otter 1")
    file = home / "report" / "report_otter_1.html"
    assert not (home / "report" / "report.html").exists()
    assert "on 3 votes." in capsys.readouterr().out
    html = file.read_text(encoding="utf-8")
    assert "<h1>Ada</h1>" in html and "Voted on the class page" in html and "surprise" not in html
    row = gather.read(file)
    assert (row.votes, row.median_seconds) == (3, 2.0)
    assert row.core is None and row.exercises_of is None
    rl.report("Ada", rater="oter")
    assert "nobody called 'oter' has voted here. Who has: otter 1, you." in capsys.readouterr().out


def test_votes_of_others_and_of_simulated_raters_are_not_the_readers(home):
    store = rate(home, n=3)
    other, simulated = store.reader("eve"), store.reader(kind="simulated")
    for rater in (other, simulated):
        task = store.next_task(rater, "r")
        store.answer(rater, task["task"], "pair", {"choice": "tie"}, new_id())
    assert gathered()["votes"] == 3 and gathered(rater="eve")["votes"] == 1


def test_exercises_count_once_and_only_those_that_there_are(home, monkeypatch):
    monkeypatch.setattr(mine, "catalogue", lambda: {"lesson9": {"half": True, "size_of": False}})
    for name in ("lesson9.half", "lesson9.half", "lesson9.none", "lesson1.other"):
        checks.remember(name)
    with checks.passed_file().open("a") as file:
        file.write('[]\n"text"\n{"exercise": 3, "at": 1}\n{"exer')
    found = gathered()["own"]
    assert found["tally"] == {"core": 1, "core_of": 1, "passed": 1, "of": 2}
    half, size_of = found["exercises"]
    assert half == {"lesson": "lesson9", "name": "half", "core": True, "passed": True}
    assert (size_of["core"], size_of["passed"]) == (False, False)
    rl.report()
    assert "<dd>1 of 1</dd><dt>core exercises</dt>" in written(home)
    assert "<dd>1 of 2</dd><dt>exercises passed</dt>" in written(home)
    assert "<td>half (core)</td>" in written(home)


def test_the_core_exercises_are_those_that_the_lessons_mark():
    marked = set()
    for file in (Path(__file__).parents[1] / "notebooks").glob("0*.ipynb"):
        cells = nbformat.read(file, as_version=4).cells
        marked |= {
            f"lesson{int(file.name[:2])}.{re.search(r'check[.](.+)[(]', code.source)[1]}"
            for text, code in zip(cells, cells[1:])
            if "\n*Core · " in text.source
        }
    counted = {
        f"{lesson}.{name}"
        for lesson, names in catalogue().items()
        for name, core in names.items()
        if core
    }
    assert marked == counted
    core = Counter(each["lesson"] for each in mine.exercises() if each["core"])
    assert set(core.values()) == {2}


def test_models_stand_beside_the_shipped_ones_and_a_damaged_one_is_left_out(home):
    tiny.checkpoint(home / "sft", quality=0.4)
    (home / "ppo").mkdir()
    (home / "ppo" / "card.json").write_text('{"stage": "ppo"}')
    found = gathered()["own"]
    ((folder, model),) = found["models"].items()
    assert (folder, model["quality"], model["shipped"]) == ("sft", 0.4, 0.5)
    for texts in found["before_after"].values():
        assert list(texts) == ["before: base", "after: sft"]
    assert list(found["before_after"]) == list(ARTICLE_PROMPTS)


def test_what_others_wrote_is_no_markup_on_the_page(home):
    rate(home, NASTY, 2, text=f"{NASTY} dragon", other=NASTY)
    rl.report(NASTY)
    html = written(home)
    assert html.count("<script") == 1 and "alert(1)</script>" not in html and "<b>" not in html
    assert "default-src 'none'" in html
    assert gather.read(home / "report" / "report.html").name == NASTY
