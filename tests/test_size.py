"""The core stays small enough to be read whole."""

from pathlib import Path

import rlhf_lessons

PACKAGE = Path(rlhf_lessons.__file__).parent
CORE = [
    file
    for folder in ("world", "lm", "stages", "evaluation")
    for file in sorted((PACKAGE / folder).glob("*.py"))
]


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def test_the_core_has_at_most_2000_lines():
    """Counted are the lines that are not blank, docstrings and comments included, of world, lm, stages, evaluation
    and plots.py. Blank lines stand where PEP 8 wants them; word lists are data, in .toml files beside the code."""
    sizes = {
        file.name: sum(bool(line.strip()) for line in lines(file))
        for file in [*CORE, PACKAGE / "plots.py"]
    }
    assert sum(sizes.values()) <= 2000, sizes


def test_ppo_has_at_most_250_lines_blank_ones_too():
    assert len(lines(PACKAGE / "stages" / "ppo.py")) <= 250
