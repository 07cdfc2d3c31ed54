"""The teacher's editions of the lessons: `python start.py teacher` builds them into `dist`, from
the lessons alone.

    dist/solved/                       the lessons, with the folded solutions in place of stubs
    dist/nbgrader/source/lesson1/...   each lesson's exercises, with nbgrader's markers and metadata

What nbgrader grades is a notebook of the exercises alone: their texts, the imports that they need,
code, checks, hints. A lesson trains models for minutes, of which a grader needs nothing, and in a
lesson the students are to change what they like. A check is worth the minutes of its exercise. Its
cell is locked and imports the check itself, so that nobody's `check` takes its place; it is tagged
`raises-exception`, so that Run All goes on to the next exercise.

In the solved edition the exercises' cells alone are run, without the rest of the lesson: seconds.

Left out: hidden tests. The check that a student runs is the one that grades.
"""

import ast
import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from teaching.lesson_cells import Exercise, exercises, imports

ROOT = Path(__file__).parent.parent
QUIET = """import warnings

warnings.simplefilter("ignore")  # nbgrader takes a warning for a failure
"""
RELATIVE_LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!https?:)[^)]*\)")
CONFIG = '''"""How nbgrader grades this course. Written once: change what you like."""
import os
import tempfile
from pathlib import Path

import nbformat
from nbgrader.converters import Autograde
from nbgrader.preprocessors import NbGraderPreprocessor


class RestoreCells(NbGraderPreprocessor):
    """Put back, in its place, each cell that a student deleted; grade the last copy of a cell."""

    def preprocess(self, book, resources):
        names, place = resources["nbgrader"], 0
        file = Path("release", names["assignment"], names["notebook"] + ".ipynb")
        for cell in nbformat.read(file, as_version=4).cells:
            id = cell.metadata.nbgrader.grade_id
            ids = [mine.metadata.get("nbgrader", {}).get("grade_id") for mine in book.cells]
            here = [n for n, mine in enumerate(ids) if mine == id]
            if not here:
                book.cells.insert(place, cell)
            for n in here[:-1]:
                del book.cells[n].metadata["nbgrader"]
            place = (here[-1] if here else place) + 1
        return book, resources


c = get_config()
usual = Autograde.sanitize_preprocessors.default_args[0]
c.Autograde.sanitize_preprocessors = [RestoreCells, *usual]
c.CourseDirectory.course_id = "rlhf_lessons"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # your code"}
# seconds for a cell, and for a kernel; PyTorch loads slowly
c.Execute.timeout = c.Execute.startup_timeout = 300
# seconds for a cell's output to arrive: nbgrader's 4 are few on a busy computer
c.Execute.iopub_timeout = 60
# what a student passed is not noted as passed by you
os.environ["RLHF_LESSONS_RUNS"] = tempfile.mkdtemp()
'''


def solved(book):
    """Return a lesson with its exercises done, and what these cells print. Links lead out of
    dist/solved."""
    book, done = nbformat.from_dict(book), {task.id: task for task in exercises(book.cells)}
    sources = {task.id: f"{task.solution}\n\n\n{task.call}" for task in done.values()}
    printed = run(needed(book, list(done.values())), sources) if done else {}
    for cell in book.cells:
        id = cell.id.removesuffix("-code")
        if cell.cell_type == "code" and id in done:
            outputs = [new_output("stream", name="stdout", text=printed[id])] if printed[id] else []
            cell.update(source=sources[id], outputs=outputs, execution_count=None)
        elif cell.cell_type == "markdown":
            cell.source = deeper(cell.source)
    return book


def run(before: str, sources: dict[str, str]) -> dict[str, str]:
    """Run the imports, then each source in the same names; return what each printed. No exercise is
    noted as passed."""
    scope, printed, kept = {}, {}, os.environ.get("RLHF_LESSONS_RUNS")
    with tempfile.TemporaryDirectory() as elsewhere:
        os.environ["RLHF_LESSONS_RUNS"] = elsewhere
        try:
            exec(before, scope)
            for id, source in sources.items():
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(source, scope)
                printed[id] = out.getvalue()
        finally:
            os.environ.pop("RLHF_LESSONS_RUNS")
            os.environ.update({"RLHF_LESSONS_RUNS": kept} if kept is not None else {})
    return printed


def deeper(text: str) -> str:
    """Return a text whose links out of the folder lead from dist/solved to where they led from
    notebooks."""
    return text.replace("](../", "](../../")


def marked(task: Exercise) -> str:
    """Return the stub with the solution between nbgrader's markers, which make the stub of it
    again."""
    (*_, stub), (*helpers, done) = (ast.parse(source).body for source in (task.stub, task.solution))
    if not isinstance(done, ast.FunctionDef) or [a.arg for a in stub.args.args] != [
        a.arg for a in done.args.args
    ]:
        raise ValueError(
            f"{task.id}: the solution must end in the stub's function, with the same arguments"
        )
    if len(stub.body) != 2 or ast.unparse(stub.body[1]) != "raise NotImplementedError":
        raise ValueError(
            f"{task.id}: the stub must hold a docstring and "
            "`raise NotImplementedError`, and nothing else"
        )
    lines, first = task.solution.splitlines(), done.body[0]
    begins = first.end_lineno if ast.get_docstring(done) else first.lineno - 1
    while (
        lines[begins - 1].lstrip().startswith("#")
    ):  # a comment above the first statement belongs to it
        begins -= 1
    body = lines[begins : done.end_lineno]
    if helpers:  # what the solution needs besides moves into the function
        body = [textwrap.indent("\n".join(lines[: done.lineno - 1]).rstrip(), "    "), *body]
    signature = task.stub.splitlines()[: stub.body[1].lineno - 1]
    return "\n".join([*signature, "    ### BEGIN SOLUTION", *body, "    ### END SOLUTION"])


def needed(book, tasks: list[Exercise]) -> str:
    """Return the lesson's imports: all of other packages, and of the course's own those that the
    exercises name."""
    named = set()
    for task in tasks:
        for source in (task.stub, task.solution, task.call):
            nodes = ast.walk(ast.parse(source))
            named |= {node.id for node in nodes if isinstance(node, ast.Name)}
    lines = []
    for node in imports(book.cells):
        if "rlhf_lessons" in ast.unparse(node):
            node.names = [name for name in node.names if (name.asname or name.name) in named]
        if node.names:
            lines.append(ast.unparse(node))
    return "\n".join(dict.fromkeys(lines))


def cell(make, id: str, source: str, points: int | None = None, solution: bool = False):
    """Return a cell for nbgrader: a solution, a test that is worth points, or, as all else, one to
    read."""
    keys = {
        "grade": points is not None,
        "grade_id": id,
        "locked": not solution,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    } | ({} if points is None else {"points": points})
    tags = {} if points is None else {"tags": ["raises-exception"]}
    return make(source, id=id, metadata={"nbgrader": keys, **tags})


def graded(book):
    """Return a lesson's exercises as nbgrader's source of an assignment."""
    tasks, title = exercises(book.cells), book.cells[0].source.splitlines()[0].removeprefix("# ")
    needs = needed(book, tasks)
    check = next(line for line in needs.splitlines() if line.endswith(" as check"))
    points = sum(task.minutes for task in tasks)
    opening = (
        f"# {title}: the exercises\n\n{len(tasks)} exercises, {points} points: one for each "
        "minute that an exercise should take. Put your code in place of "
        "`raise NotImplementedError`, run the cell, and then the cell below it, which checks it: "
        "an error says what is likely wrong. The lesson explains the rest."
    )
    cells = [
        cell(new_markdown_cell, "opening", opening),
        cell(new_code_cell, "imports", f"{needs}\n{QUIET.strip()}"),
    ]
    for task in tasks:
        cells += [
            cell(new_markdown_cell, f"{task.id}-text", RELATIVE_LINK.sub(r"\1", task.text)),
            cell(new_code_cell, f"{task.id}-code", marked(task), solution=True),
            cell(
                new_code_cell,
                f"{task.id}-check",
                f"{check}\n\n{task.call[:-1]}, raise_errors=True)",
                points=task.minutes,
            ),
        ]
        if task.hint:
            hint = RELATIVE_LINK.sub(r"\1", task.hint)
            cells.append(cell(new_markdown_cell, f"{task.id}-hint", hint))
    return new_notebook(cells=cells, metadata=book.metadata)


def build(notebooks: Path, dist: Path) -> list[str]:
    """Build both editions and return the names of the assignments. A gradebook that is there
    already stays."""
    names = []
    shutil.rmtree(dist / "solved", ignore_errors=True)
    shutil.copytree(notebooks, dist / "solved", ignore=shutil.ignore_patterns(".*", "*.ipynb"))
    for page in (dist / "solved").glob("*.md"):
        page.write_text(deeper(page.read_text("utf-8")), "utf-8", newline="\n")
    for file in sorted(notebooks.glob("*.ipynb")):
        book = nbformat.read(file, as_version=4)
        nbformat.write(solved(book), dist / "solved" / file.name)
        if exercises(book.cells):
            names.append(f"lesson{int(file.name[:2])}")
            home = dist / "nbgrader" / "source" / names[-1]
            home.mkdir(parents=True, exist_ok=True)
            nbformat.write(graded(book), home / f"{names[-1]}.ipynb")
    config = dist / "nbgrader" / "nbgrader_config.py"
    if names and not config.exists():
        config.write_text(CONFIG, encoding="utf-8")
    return names


def main() -> int:
    """Build the editions of this course and say where they are; return the exit code."""
    try:
        names = build(ROOT / "notebooks", ROOT / "dist")
    except (OSError, ValueError) as error:
        print(f"The teacher's editions could not be built: {error}", file=sys.stderr)
        return 1
    print("dist/solved: the lessons with their exercises done.")
    if names:
        print(
            f"dist/nbgrader: {', '.join(names)}. Copy the folder to where you keep "
            "grades; what to do there is in teaching/rubric.md."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
