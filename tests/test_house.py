"""The house: one room for each thing, and doors that lead down only."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import rlhf_lessons

PACKAGE = Path(rlhf_lessons.__file__).parent
LOOSE = {"__init__", "__main__", "cli", "paths", "data", "recipes", "checkpoints", "plots"}
# From the ground up; a module imports from its own floor and from those below it.
FLOORS = [
    {"paths"},
    {"world"},
    {"data"},
    {"lm"},
    {"checkpoints"},
    {"stages"},
    {"evaluation", "plots"},
    {"recipes"},
    {"feedback"},
    {"exercises", "widgets"},
    {"reports"},
    {"classroom"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Each module of the package by its dotted name, without the package's own."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = file
    return found


MODULES = modules()


def imported(file: Path) -> set[str]:
    """The package's modules that a file imports, also where a function does so later."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")[1:] if name.startswith("rlhf_lessons") else []
            while parts and ".".join(parts) not in MODULES:
                parts.pop()  # a name within a module
            if parts:
                found.add(".".join(parts))
    return found


ARROWS = {name: imported(file) for name, file in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[0]


def reach(*starts: str) -> set[str]:
    """The modules that one must open to follow these to the end."""
    found, open_ones = set(), list(starts)
    while open_ones:
        name = open_ones.pop()
        if name not in found:
            found.add(name)
            open_ones += ARROWS[name]
    return found


def test_at_most_eight_modules_lie_loose():
    assert {file.stem for file in PACKAGE.glob("*.py")} <= LOOSE
    assert len(LOOSE) <= 8


def test_every_room_has_its_floor():
    assert {room(name) for name in MODULES} == set(FLOOR)


def test_no_arrow_leads_from_a_lower_room_to_a_higher():
    up = {
        f"{name} -> {target}"
        for name, targets in ARROWS.items()
        for target in targets
        if FLOOR[room(target)] > FLOOR[room(name)]
    }
    assert not up


def test_no_two_modules_import_each_other_in_a_circle():
    TopologicalSorter(ARROWS).prepare()  # CycleError names the circle
