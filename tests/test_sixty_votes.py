"""The table of the sixty votes says what was measured, and the shipped one fits what ships."""

import importlib.util
import json
from pathlib import Path

from rlhf_lessons import paths

ROOT = Path(__file__).parent.parent
RESULTS = paths.DATA / "results"
spec = importlib.util.spec_from_file_location("sixty_votes", ROOT / "benchmarks" / "sixty_votes.py")
sixty = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sixty)


def run(n: int, seed: int, share: float, relevance: float) -> dict:
    """What `sixty_votes.run` gives, made up."""

    def look(share, relevance):
        return {"share": [share, share - 0.05, share + 0.05], "relevance": [relevance] * 3}

    return {
        "taste": "dragon",
        "n": n,
        "seed": seed,
        "before": look(0.3, 0.8),
        "after": look(share, relevance),
        "relevance_change": [relevance - 0.8] * 3,
        "best_of_16": [0.7] * 3,
        "seconds": 200.4,
    }


def test_each_run_has_a_row_and_each_number_of_votes_its_mean():
    lines = sixty.table(
        [run(60, 1, 0.9, 0.84), run(60, 0, 1.0, 0.78), run(10, 0, 0.5, 0.8)]
    ).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    assert [row[:3] for row in cells[2:5]] == [
        ["10", "dragon", "0"],
        ["60", "dragon", "0"],
        ["60", "dragon", "1"],
    ]
    assert cells[4][3:] == [
        "30%",
        "90% (85% to 95%)",
        "0.80",
        "0.84",
        "+0.04 (+0.04 to +0.04)",
        "70%",
        "200",
    ]
    assert cells[-1] == ["60", "2", "95% (90% to 100%)", "+0.01 (-0.02 to +0.04)"]


def test_the_shipped_table_is_of_the_shipped_measurements():
    found = json.loads((RESULTS / "sixty_votes.json").read_text(encoding="utf-8"))
    assert sixty.table(found) == (RESULTS / "sixty_votes.md").read_text(encoding="utf-8")
    proof = [f for f in found if f["n"] == 60 and f["taste"] in sixty.TASTES]
    assert {(f["taste"], f["seed"]) for f in proof} == {
        (taste, seed) for taste in sixty.TASTES for seed in range(4)
    }
