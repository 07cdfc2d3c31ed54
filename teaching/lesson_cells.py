"""The exercises of a lesson, read from its cells: for the teacher's editions and for the tests."""

import ast
import re
from dataclasses import dataclass

HEADING = re.compile(
    r"### Exercise \d\.(\d) · .+\n\n\*(Core|More) · (?:easy|medium|hard) · (\d+) minutes\*\n"
)
CALL = re.compile(r"check\.(\w+)\((\w+)\)")
SOLUTION = re.compile(r"<summary>Solution</summary>\s+```python\n(.*?)\n```", re.S)
HINT = re.compile(r"<details>\s*<summary>Hint</summary>.*?</details>", re.S)


@dataclass(frozen=True)
class Exercise:
    """An exercise as it stands in three cells: its text, the stub with its check, hint and
    solution."""

    id: str
    number: int
    core: bool
    minutes: int
    text: str
    stub: str
    call: str  # check.NAME(FUNCTION)
    help: str

    @property
    def check(self) -> str:
        """The name of the check in `rlhf_lessons/exercises`."""
        return CALL.fullmatch(self.call)[1]

    @property
    def function(self) -> str:
        """The name of the reader's function."""
        return CALL.fullmatch(self.call)[2]

    @property
    def hint(self) -> str | None:
        """The folded hint, or None."""
        found = HINT.search(self.help)
        return found and found[0]

    @property
    def solution(self) -> str:
        """The folded solution; ValueError where there is none."""
        found = SOLUTION.search(self.help)
        if not found:
            raise ValueError(f"{self.id}: the cell after it holds no folded solution")
        return found[1]


def exercises(cells: list) -> list[Exercise]:
    """Return the exercises of a lesson's cells. ValueError names the cell that is not as it must
    be."""
    found = []
    for before, cell, after in zip(cells, cells[1:], cells[2:]):
        if "exercise" not in cell.metadata.get("tags", []):
            continue
        heading, (stub, _, call) = HEADING.match(before.source), cell.source.rpartition("\n\n\n")
        if not heading or not CALL.fullmatch(call):
            raise ValueError(
                f"{cell.id}: an exercise has a heading with minutes before it, and ends in "
                "its check"
            )
        number, level, minutes = heading.groups()
        found.append(
            Exercise(
                cell.id.removesuffix("-code"),
                int(number),
                level == "Core",
                int(minutes),
                before.source,
                stub,
                call,
                after.source,
            )
        )
    return found


def imports(cells: list) -> list[ast.Import | ast.ImportFrom]:
    """Return the imports of a lesson's cells, but for those of its cell for Colab."""
    return [
        node
        for cell in cells
        if cell.cell_type == "code" and not cell.id.endswith("-colab")
        for node in ast.parse(cell.source).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
