"""The exercises: their stubs stop nothing, the folded solutions pass, and each known mistake hears
its own hint.

`tests/exercises/lesson1.py` and so on hold a class for each exercise, named as its check, with
static functions `right_...`, other ways of writing it, and `wrong_...`, whose docstring is part of
what must be heard.
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

from rlhf_lessons.exercises import catalogue, hints
from rlhf_lessons.exercises.check import Mistake, NotDone
from teaching.lesson_cells import exercises, imports

FOLDER = Path(__file__).parent.parent / "notebooks"
FOLDED = re.compile(
    r"<details><summary>Hint</summary>\n\n[^<\s](?:(?!</details>).)+?\n\n</details>\s+"
    r"<details><summary>Solution</summary>\n\n(?:(?!</details>).)+?\n\n</details>",
    re.S,
)
BOOKS = {
    f"lesson{int(file.name[:2])}": nbformat.read(file, as_version=4)
    for file in sorted(FOLDER.glob("0*.ipynb"))
}
TASKS = [(lesson, task) for lesson, book in BOOKS.items() for task in exercises(book.cells)]
each = pytest.mark.parametrize("lesson, task", TASKS, ids=lambda x: getattr(x, "check", x))


def check_of(lesson, task):
    """Return the check of an exercise."""
    return getattr(importlib.import_module(f"rlhf_lessons.exercises.{lesson}"), task.check)


def run(lesson, task, source: str):
    """Return the function that some source defines, with the imports of its notebook."""
    scope = {}
    exec(compile(ast.Module(imports(BOOKS[lesson].cells), []), task.id, "exec"), scope)
    exec(source, scope)
    return scope[task.function]


def others(lesson, task, kind: str) -> dict:
    """Return the functions `kind`_... that the tests hold for this exercise."""
    held = getattr(importlib.import_module(f"exercises.{lesson}"), task.check)
    functions = inspect.getmembers(held, inspect.isfunction)
    return {name: function for name, function in functions if name.startswith(kind)}


def test_the_lessons_have_their_exercises_and_two_of_the_core_each():
    """By the headings; the same as the hints say, which the report counts."""
    least = {
        "lesson0": 2,
        "lesson1": 5,
        "lesson2": 5,
        "lesson3": 5,
        "lesson4": 5,
        "lesson5": 7,
        "lesson6": 2,
        "lesson7": 6,
        "lesson8": 7,
    }
    marked = {
        lesson: {task.check: task.core for name, task in TASKS if name == lesson}
        for lesson in least
    }
    assert marked == catalogue()
    for lesson, book in BOOKS.items():
        numbers = [task.number for task in exercises(book.cells)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= least.get(lesson, 0)
        assert list(marked.get(lesson, {0: 1, 1: 1}).values()).count(True) == 2


@each
def test_it_has_its_parts_in_their_order(lesson, task):
    assert task.text.startswith(f"### Exercise {lesson[-1]}.") and 1 <= task.minutes <= 30
    assert "**Goal.**" in task.text and "**Pitfalls.**" in task.text
    assert FOLDED.fullmatch(task.help.strip()) and task.solution
    (function,) = [node for node in ast.parse(task.stub).body if isinstance(node, ast.FunctionDef)]
    assert task.stub.endswith("\n    raise NotImplementedError  # your code")
    assert ast.get_docstring(function) and function.returns
    assert all(argument.annotation for argument in function.args.args)


@each
def test_the_committed_stub_is_not_done_yet_and_stops_nothing(lesson, task):
    with pytest.raises(NotDone) as caught:
        check_of(lesson, task)(run(lesson, task, task.stub), raise_errors=True)
    (cell,) = [cell for cell in BOOKS[lesson].cells if cell.id == f"{task.id}-code"]
    (output,) = cell.outputs
    assert output["text"] == f"{caught.value}\n" and output["text"].startswith("Not done yet.")


@each
def test_the_solution_folded_in_the_text_passes(lesson, task):
    check, solution = check_of(lesson, task), run(lesson, task, task.solution)
    check(solution, raise_errors=True)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        check(solution)
    assert said.getvalue() == "✓ Right.\n"


@each
def test_two_other_right_solutions_pass(lesson, task):
    solutions = others(lesson, task, "right_")
    assert len(solutions) >= 2
    for solution in solutions.values():
        check_of(lesson, task)(solution, raise_errors=True)


@each
def test_each_known_mistake_hears_its_own_hint(lesson, task):
    """Four at least, each way of making it, and no two with one hint."""
    check, known = check_of(lesson, task), hints(lesson)[task.check]
    texts = {mistake["hint"] for mistake in known.values()}
    assert {hint for hint, _ in check.mistakes} == texts and len(texts) == len(known) >= 4
    for hint, wrong in check.mistakes:
        with pytest.raises(Mistake) as caught:
            check(wrong, raise_errors=True)
        assert hint in str(caught.value), f"{hint} heard: {caught.value}"


@each
def test_other_wrong_solutions_are_rejected_each_with_words_of_its_own(lesson, task):
    for name, solution in others(lesson, task, "wrong_").items():
        with pytest.raises(Mistake) as caught:
            check_of(lesson, task)(solution, raise_errors=True)
        phrase = inspect.getdoc(solution)
        assert len(phrase) >= 8 and phrase in str(caught.value), f"{name} heard: {caught.value}"
