"""The exercises: their stubs stop nothing, the folded solutions pass, and each wrong solution hears what is wrong.

`tests/exercises/lesson1.py` and so on hold a class for each exercise, named as its check, with static functions
`right_...`, other ways of writing it, and `wrong_...`, whose docstring is part of the hint that must come.
"""

import ast
import contextlib
import importlib
import inspect
import io
import re
from pathlib import Path

import nbformat
import pytest

from rlhf_lessons.exercises.check import Mistake, NotDone

FOLDER = Path(__file__).parent.parent / "notebooks"
FOLDED = re.compile(
    r"<details><summary>Hint</summary>\n\n[^<\s](?:(?!</details>).)+?\n\n</details>\s+"
    r"<details><summary>Solution</summary>\n\n(?:(?!</details>).)+?\n\n</details>",
    re.S,
)
SOLUTION = re.compile(r"<summary>Solution</summary>\s+```python\n(.*?)```", re.S)
HEADING = re.compile(
    r"### Exercise (\d)\.(\d) · (.+)\n\n\*(Core|More) · (easy|medium|hard) · (\d+) minutes\*\n"
)


class Exercise:
    """An exercise of a notebook: the text, the stub and its check, hint and solution."""

    def __init__(self, lesson, book, cell, before, after):
        self.lesson, self.book, self.cell, self.before, self.after = (
            lesson,
            book,
            cell,
            before.source,
            after.source,
        )
        self.stub, _, call = cell.source.rpartition("\n\n\n")
        self.name, self.function = re.fullmatch(r"check\.(\w+)\((\w+)\)", call).groups()
        self.check = getattr(
            importlib.import_module(f"rlhf_lessons.exercises.lesson{self.lesson}"), self.name
        )
        self.id = f"{self.lesson}.{self.name}"

    def run(self, source: str):
        """Return the function that some source defines, with the imports of its notebook."""
        scope = {}
        imports = [
            node
            for cell in self.book.cells
            if cell.cell_type == "code" and "colab" not in cell.id
            for node in ast.parse(cell.source).body
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        exec(compile(ast.Module(imports, []), self.id, "exec"), scope)
        exec(source, scope)
        return scope[self.function]

    def others(self, kind: str) -> dict:
        """Return the functions `kind`_... that the tests hold for this exercise."""
        held = getattr(importlib.import_module(f"exercises.lesson{self.lesson}"), self.name)
        return {
            name: f
            for name, f in inspect.getmembers(held, inspect.isfunction)
            if name.startswith(kind)
        }


def exercises() -> list[Exercise]:
    found = []
    for file in sorted(FOLDER.glob("0*.ipynb")):
        book = nbformat.read(file, as_version=4)
        for before, cell, after in zip(book.cells, book.cells[1:], book.cells[2:]):
            if "exercise" in cell.metadata.get("tags", []):
                found.append(Exercise(file.name[1], book, cell, before, after))
    return found


EXERCISES = exercises()
each = pytest.mark.parametrize("task", EXERCISES, ids=lambda task: getattr(task, "id", None))


@pytest.mark.parametrize(
    "lesson, least", [("0", 2), ("1", 5), ("2", 5), ("3", 5), ("4", 5), ("6", 2)]
)
def test_a_lesson_has_its_exercises_and_two_of_the_core(lesson, least):
    headings = [HEADING.match(task.before) for task in EXERCISES if task.lesson == lesson]
    assert [int(heading[2]) for heading in headings] == list(range(1, len(headings) + 1))
    assert len(headings) >= least and [heading[4] for heading in headings].count("Core") == 2


@each
def test_it_has_its_parts_in_their_order(task):
    lesson, _, _, _, _, minutes = HEADING.match(task.before).groups()
    assert lesson == task.lesson and 1 <= int(minutes) <= 30
    assert "**Goal.**" in task.before and "**Pitfalls.**" in task.before
    assert FOLDED.fullmatch(task.after.strip()) and SOLUTION.search(task.after)
    assert re.search(r"^    (\.\.\.)( +#.*)?$", task.stub, re.M), (
        "the stub says ... where code is to go"
    )
    (function,) = [node for node in ast.parse(task.stub).body if isinstance(node, ast.FunctionDef)]
    assert (
        ast.get_docstring(function)
        and all(a.annotation for a in function.args.args)
        and function.returns
    )


@each
def test_the_committed_stub_is_not_done_yet_and_stops_nothing(task):
    with pytest.raises(NotDone):
        task.check(task.run(task.stub), raise_errors=True)
    (output,) = task.cell.outputs
    assert output["text"].startswith("Not done yet.")


@each
def test_the_solution_folded_in_the_text_passes(task):
    solution = task.run(SOLUTION.search(task.after)[1])
    task.check(solution, raise_errors=True)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        task.check(solution)
    assert said.getvalue() == "✓ Right.\n"


@each
def test_two_other_right_solutions_pass(task):
    others = task.others("right_")
    assert len(others) >= 2
    for solution in others.values():
        task.check(solution, raise_errors=True)


@each
def test_four_wrong_solutions_are_rejected_each_with_a_hint_of_its_own(task):
    wrong, hints = task.others("wrong_"), set()
    for name, solution in wrong.items():
        with pytest.raises(Mistake) as caught:
            task.check(solution, raise_errors=True)
        phrase = inspect.getdoc(solution)
        assert len(phrase) >= 8 and phrase in str(caught.value), f"{name} heard: {caught.value}"
        hints.add(str(caught.value))
    assert len(hints) == len(wrong) >= 4
