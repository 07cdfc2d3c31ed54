"""The teacher's editions: built from a lesson, and graded by nbgrader itself, as a teacher would
have it.

Without nbgrader its tests are skipped, or fail where CI_REQUIRES_BROWSER=1 says that all tests must
run.
"""

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from teaching.editions import build, main
from teaching.lesson_cells import exercises

PROJECT = Path(__file__).parent.parent
LESSONS = sorted((PROJECT / "notebooks").glob("0*.ipynb"))
MISSING = "no nbgrader here, which the tests of grading need: see requirements-test.txt"

IMPORTS = """import math

import rlhf_lessons as rl
import sample_check as check
from rlhf_lessons.data import tasks
from rlhf_lessons.plots import canvas"""
HALF = '''def half(x: float) -> float:
    """Return the half of x."""
    raise NotImplementedError  # your code


check.half(half)'''
HALF_HELP = '''<details><summary>Hint</summary>

Divide. See the [glossary](glossary.md).

</details>

<details><summary>Solution</summary>

```python
def half(x: float) -> float:
    """Return the half of x."""
    # by two
    return x / 2
```

</details>'''
SIZE = '''def size(x: float) -> float:
    """Return how large x is, whatever its sign."""
    raise NotImplementedError  # your code


check.size(size)'''
SIZE_HELP = """<details><summary>Solution</summary>

```python
from math import copysign


def sign(x):
    return copysign(1, x)


def size(x):
    # by its sign
    return sign(x) * x
```

</details>"""
CHECKS = """from rlhf_lessons.exercises.check import exercise


@exercise((3.0,), (-1.0,))
def half(x):
    return x / 2


@exercise((3.0,), (-1.0,))
def size(x):
    return abs(x)
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder of lessons: one with two exercises in the course's form, and one without. Its checks
    can be imported."""
    folder = tmp_path_factory.mktemp("course") / "notebooks"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "map.png").write_bytes(b"png")
    (folder / "glossary.md").write_text("words, [cards](../data/README.md)")
    (folder.parent / "sample_check.py").write_text(CHECKS, "utf-8")

    def exercise(number, name, minutes, stub, help):
        text = (
            f"### Exercise 7.{number} · {name}\n\n*Core · easy · {minutes} minutes*\n\n"
            "**Goal.** A [link](a.ipynb)."
        )
        said = [new_output("stream", name="stdout", text="Not done yet.\n")]
        return [
            new_markdown_cell(text, id=f"l07-ex{number}"),
            new_code_cell(
                stub,
                id=f"l07-ex{number}-code",
                metadata={"tags": ["exercise"]},
                outputs=said,
                execution_count=number + 1,
            ),
            new_markdown_cell(help, id=f"l07-ex{number}-help"),
        ]

    python = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    title = new_markdown_cell(
        "# Lesson 7 · Samples\n\nSee [the guide](../teaching/guide.md).", id="l07-title"
    )
    heavy = new_code_cell("model, tokenizer = rl.load('sft')", id="l07-heavy")
    cells = [
        title,
        new_code_cell(IMPORTS, id="l07-imports"),
        heavy,
        *exercise(1, "Half", 8, HALF, HALF_HELP),
        *exercise(2, "Size", 5, SIZE, SIZE_HELP),
    ]
    nbformat.write(new_notebook(cells=cells, metadata=python), folder / "07_samples.ipynb")
    nbformat.write(new_notebook(cells=[title], metadata=python), folder / "08_no_exercises.ipynb")
    sys.path.insert(0, str(folder.parent))  # for the checks
    return folder


@pytest.fixture
def dist(shelf, tmp_path):
    assert build(shelf, tmp_path) == ["lesson7"]
    return tmp_path


def read(file: Path) -> dict:
    """Return a notebook's cells by id."""
    return {cell.id: cell for cell in nbformat.read(file, as_version=4).cells}


def test_stubs_become_the_folded_solutions_which_pass_and_nothing_else_changes(shelf, dist):
    before, after = (read(folder / "07_samples.ipynb") for folder in (shelf, dist / "solved"))
    changed = [id for id in before if before[id] != after[id]]
    assert (
        changed == ["l07-title", "l07-ex1-code", "l07-ex2-code"] and before.keys() == after.keys()
    )
    cell = after["l07-ex1-code"]
    assert (
        cell.source.endswith("    return x / 2\n\n\ncheck.half(half)")
        and "your code" not in cell.source
    )
    assert [output.text for output in cell.outputs] == [
        "✓ Right.\n"
    ] and cell.execution_count is None
    assert "(../../teaching/guide.md)" in after["l07-title"].source
    assert "(../../data/README.md)" in (dist / "solved" / "glossary.md").read_text("utf-8")
    assert (dist / "solved" / "08_no_exercises.ipynb").is_file()
    assert (dist / "solved" / "images" / "map.png").is_file()


# ---- The graded edition
# --------------------------------------------------------------------------------


def graded(dist: Path, name: str = "lesson7") -> dict:
    return read(dist / "nbgrader" / "source" / name / f"{name}.ipynb")


def test_an_exercise_becomes_a_marked_solution_and_a_locked_test_worth_its_minutes(dist):
    cells = graded(dist)
    assert (
        cells["l07-ex1-code"].source
        == '''def half(x: float) -> float:
    """Return the half of x."""
    ### BEGIN SOLUTION
    # by two
    return x / 2
    ### END SOLUTION'''
    )
    assert (
        cells["l07-ex1-check"].source
        == "import sample_check as check\n\ncheck.half(half, raise_errors=True)"
    )
    assert cells["l07-ex1-code"].metadata.nbgrader == {
        "grade": False,
        "grade_id": "l07-ex1-code",
        "locked": False,
        "schema_version": 3,
        "solution": True,
        "task": False,
    }
    assert cells["l07-ex1-check"].metadata.nbgrader == {
        "grade": True,
        "grade_id": "l07-ex1-check",
        "locked": True,
        "points": 8,
        "schema_version": 3,
        "solution": False,
        "task": False,
    }


def test_helpers_of_a_solution_stay_between_the_markers(dist):
    source = graded(dist)["l07-ex2-code"].source
    between = source[source.index("### BEGIN") : source.index("### END")]
    assert "def sign" in between and "copysign" in between and "# by its sign" in between
    assert source.startswith("def size(x: float) -> float:"), "the stub's line, types and all"
    scope = {}
    exec(source, scope)
    assert scope["size"](-2.0) == 2.0


def test_it_holds_the_exercises_alone_and_no_solution_in_its_texts(dist):
    cells = graded(dist)
    assert list(cells) == [
        "opening",
        "imports",
        "l07-ex1-text",
        "l07-ex1-code",
        "l07-ex1-check",
        "l07-ex1-hint",
        "l07-ex2-text",
        "l07-ex2-code",
        "l07-ex2-check",
    ]
    first, second, *_ = cells["imports"].source.splitlines()
    assert (first, second) == ("import math", "import sample_check as check")
    assert "rlhf_lessons" not in cells["imports"].source, "what needs models stays out"
    texts = "".join(cell.source for cell in cells.values() if cell.cell_type == "markdown")
    assert "13 points" in texts and "Solution" not in texts
    assert "(glossary.md)" not in texts and "(a.ipynb)" not in texts, "students get this file alone"


@pytest.mark.parametrize(
    "id, old, new, said",
    [
        ("l07-ex1", "minutes*", "hours*", "l07-ex1-code: an exercise has a heading with minutes"),
        (
            "l07-ex1-help",
            "Solution",
            "Answer",
            "l07-ex1: the cell after it holds no folded solution",
        ),
        ("l07-ex1-help", "half(x: float)", "half(y: float)", "l07-ex1: .* with the same arguments"),
        (
            "l07-ex1-code",
            "    raise",
            "    y = x\n    raise",
            "l07-ex1: the stub must hold a docstring and `raise NotImplementedError`",
        ),
    ],
)
def test_an_exercise_in_another_form_is_named(shelf, tmp_path, id, old, new, said):
    book = nbformat.read(shelf / "07_samples.ipynb", as_version=4)
    (cell,) = [cell for cell in book.cells if cell.id == id]
    cell.source = cell.source.replace(old, new)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(book, tmp_path / "notebooks" / "07_samples.ipynb")
    with pytest.raises(ValueError, match=said):
        build(tmp_path / "notebooks", tmp_path / "dist")


def test_building_again_leaves_grades_and_settings_alone(shelf, dist):
    (dist / "nbgrader" / "gradebook.db").write_text("grades")
    (dist / "nbgrader" / "nbgrader_config.py").write_text("# mine")
    build(shelf, dist)
    assert (dist / "nbgrader" / "gradebook.db").read_text() == "grades"
    assert (dist / "nbgrader" / "nbgrader_config.py").read_text() == "# mine"


def test_the_command_builds_the_lessons_of_this_course_and_their_solutions_pass(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("RLHF_LESSONS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("teaching.editions.ROOT", tmp_path)
    shutil.copytree(PROJECT / "notebooks", tmp_path / "notebooks")
    assert main() == 0
    assert "dist/solved" in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "dist" / "solved").glob("*.ipynb")} == {
        file.name for file in LESSONS
    }
    assert not (tmp_path / "runs").exists(), "what the solutions pass is not noted as passed"
    for lesson in LESSONS:
        for cell in read(tmp_path / "dist" / "solved" / lesson.name).values():
            assert "exercise" not in cell.metadata.get("tags", []) or cell.outputs[0].text.endswith(
                "✓ Right.\n"
            )
        name = f"lesson{int(lesson.name[:2])}"
        n = len(exercises(nbformat.read(lesson, as_version=4).cells))
        assert (
            n == 0
            or len([id for id in graded(tmp_path / "dist", name) if id.endswith("-check")]) == n
        )


# ---- nbgrader
# ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nbgrader():
    """Run nbgrader in a folder and return what it said: `nbgrader(folder, "validate", ...)`."""
    if not importlib.util.find_spec("nbgrader"):
        pytest.fail(MISSING, pytrace=False) if os.environ.get(
            "CI_REQUIRES_BROWSER"
        ) == "1" else pytest.skip(MISSING)

    def run(folder: Path, *words: str) -> str:
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(folder.parent)]),
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def points(course: Path) -> dict:
    """Return {(student, assignment): points} from the gradebook."""
    query = """select sub.student_id, a.name, sum(coalesce(g.manual_score, g.auto_score, 0))
        from grade g join submitted_notebook n on g.notebook_id = n.id
        join submitted_assignment sub on n.assignment_id = sub.id
        join assignment a on sub.assignment_id = a.id
        group by 1, 2"""
    with sqlite3.connect(course / "gradebook.db") as db:
        return {row[:2]: row[2] for row in db.execute(query)}


def hand_in(course: Path, name: str) -> tuple[float, float]:
    """Hand in a right submission, by ada, and a wrong one, by bob; return the points that they
    should get.

    Bob has the first exercise right and answers 42 to the others, whose checks he has changed into
    nothing.
    """
    sheet, key = (
        nbformat.read(course / kind / name / f"{name}.ipynb", as_version=4)
        for kind in ("release", "source")
    )
    answers = {cell.id: cell.source for cell in key.cells}
    tests = [cell for cell in sheet.cells if cell.metadata.nbgrader.get("grade")]
    assert not any("BEGIN SOLUTION" in cell.source for cell in sheet.cells)
    stubs = [cell for cell in sheet.cells if cell.metadata.nbgrader.get("solution")]
    assert len(stubs) == len(tests) and all(
        cell.source.endswith("    raise NotImplementedError  # your code") for cell in stubs
    )
    for student in ("ada", "bob"):
        for n, (stub, test) in enumerate(zip(stubs, tests)):
            stub.source = answers[stub.id].replace(
                "### BEGIN SOLUTION", "warnings.warn('no mistake')"
            )
            if student == "bob" and n:
                function = stub.source.split("(")[0].removeprefix("def ")
                stub.source, test.source = (
                    f"def {function}(*anything):\n    return 42.0\ncheck = None",
                    "check",
                )
        home = course / "submitted" / student / name
        home.mkdir(parents=True)
        nbformat.write(sheet, home / f"{name}.ipynb")
    return sum(cell.metadata.nbgrader.points for cell in tests), tests[0].metadata.nbgrader.points


def spoil(course: Path, name: str, student: str, change) -> None:
    """Hand in what ada did, with its cells changed: some deleted, or copied."""
    book = nbformat.read(course / "submitted" / "ada" / name / f"{name}.ipynb", as_version=4)
    book.cells = change(book.cells)
    home = course / "submitted" / student / name
    home.mkdir(parents=True)
    nbformat.write(book, home / f"{name}.ipynb")


def twice(id: str):
    """Return a change that copies a cell, as JupyterLab does: with another id, and nbgrader's
    metadata."""

    def change(cells):
        found = []
        for cell in cells:
            found += [cell, {**cell, "id": "copied"}] if cell.id == id else [cell]
        return [nbformat.from_dict(cell) for cell in found]

    return change


def test_nbgrader_grades_right_wrong_and_damaged_submissions(nbgrader, dist, shelf):
    shutil.copy(shelf.parent / "sample_check.py", dist)
    course = dist / "nbgrader"
    assert "passes all the tests" in nbgrader(course, "validate", "source/lesson7/lesson7.ipynb")
    nbgrader(course, "generate_assignment", "lesson7")
    assert hand_in(course, "lesson7") == (13, 8)
    spoil(course, "lesson7", "cleo", lambda cells: [c for c in cells if c.id != "l07-ex1-check"])
    spoil(course, "lesson7", "dan", lambda cells: [c for c in cells if "ex2" not in c.id])
    spoil(course, "lesson7", "eve", lambda cells: [c for c in cells if c.id != "imports"])
    spoil(course, "lesson7", "finn", twice("l07-ex1-check"))
    spoil(course, "lesson7", "gail", twice("l07-ex1-code"))
    nbgrader(course, "autograde", "lesson7")
    assert {student: given for (student, _), given in points(course).items()} == {
        "ada": 13,
        "bob": 8,
        "cleo": 13,
        "dan": 8,
        "eve": 13,
        "finn": 13,
        "gail": 13,
    }
    with sqlite3.connect(course / "gradebook.db") as db:
        assert db.execute("select sum(needs_manual_grade) from grade").fetchone() == (0,)
    graded = read(course / "autograded" / "bob" / "lesson7" / "lesson7.ipynb")
    (error,) = graded["l07-ex2-check"].outputs
    assert error.traceback == [
        "✗ Not yet. On input 1 of 2 (3.0), you return 42, where 3 was expected."
    ]


def test_nbgrader_grades_every_lesson_that_has_exercises(nbgrader, tmp_path):
    names, course = build(PROJECT / "notebooks", tmp_path), tmp_path / "nbgrader"
    if not names:
        pytest.skip("no lesson has exercises yet")
    said = nbgrader(course, "validate", *[f"source/{name}/{name}.ipynb" for name in names])
    assert said.count("passes all the tests") == len(names), said
    wanted = {}
    for name in names:
        nbgrader(course, "generate_assignment", name)
        wanted["ada", name], wanted["bob", name] = hand_in(course, name)
        nbgrader(course, "autograde", name)
    assert points(course) == wanted
