"""The table of the sixty votes says what was measured, and the shipped one fits what ships."""

import importlib.util
import itertools
import json
from pathlib import Path

import tiny

from rlhf_lessons import paths
from rlhf_lessons.lm.models import to_reward_model

ROOT = Path(__file__).parent.parent
RESULTS = paths.DATA / "results"
spec = importlib.util.spec_from_file_location("sixty_votes", ROOT / "benchmarks" / "sixty_votes.py")
sixty = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sixty)


def run(n: int, seed: int, share: float, utility: float, seconds: float = 200.4) -> dict:
    """What `sixty_votes.run` gives, made up."""

    def look(share, utility):
        return {"share": [share, share - 0.05, share + 0.05], "utility": [utility] * 3}

    return {
        "taste": "dragon",
        "n": n,
        "seed": seed,
        "before": look(0.3, 0.5),
        "after": look(share, utility),
        "change": {"relevance": [0.01, -0.01, 0.03], "utility": [utility - 0.5] * 3},
        "predicted": {"words alone": 0.7, "all": 0.8},
        "best_of_16": [0.7] * 3,
        "kl": 4.04,
        "seconds": seconds,
    }


def cells_of(table: str) -> list[list[str]]:
    """The cells of each line of a table."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("|")
    ]


def test_each_taste_has_a_row_of_means_and_each_run_its_own():
    cells = cells_of(
        sixty.table([run(60, 1, 0.9, 0.6), run(60, 0, 1.0, 0.48), run(10, 0, 0.5, 0.5)])
    )
    assert cells[2][:4] == ["10", "dragon", "30%", "50% (50% to 50%)"]
    assert cells[3] == [
        "60",
        "dragon",
        "30%",
        "95% (90% to 100%)",
        "+0.01 (+0.01 to +0.01)",
        "+0.04 (-0.02 to +0.10)",
        "70%",
        "80%",
        "200",
        "2 of 2",
    ]
    assert [row[:3] for row in cells[6:]] == [
        ["10", "dragon", "0"],
        ["60", "dragon", "0"],
        ["60", "dragon", "1"],
    ]
    assert cells[-1][4:] == [
        "90% (85% to 95%)",
        "+0.01 (-0.01 to +0.03)",
        "0.50",
        "0.60",
        "+0.10 (+0.10 to +0.10)",
        "4.0",
        "70%",
        "200",
    ]


def test_a_run_reaches_its_aims_only_if_all_hold():
    assert sixty.reached(run(60, 0, 0.85, 0.46))
    assert not sixty.reached(run(60, 0, 0.84, 0.5))
    assert not sixty.reached(run(60, 0, 0.9, 0.44))
    assert not sixty.reached(run(60, 0, 0.9, 0.5, seconds=241))


def test_words_alone_see_neither_length_nor_place():
    tokenizer = tiny.tokenizer()
    model = to_reward_model(tiny.model())
    texts = ["a dragon", "dragon a", "a a a a a a a a a a dragon"]
    known = ["?"] * 3, texts, [True] * 3
    alone, all_of_it = (
        kind(model, tokenizer, known).seen(texts)
        for kind in (sixty.WordsAlone, sixty.PersonalReward)
    )
    assert alone.shape == all_of_it.shape
    assert not alone[:, len(tokenizer) :].any()
    assert not all_of_it[0].equal(all_of_it[1]) and not all_of_it[0].equal(all_of_it[2])


def test_the_shipped_table_is_of_the_shipped_measurements():
    found = json.loads((RESULTS / "sixty_votes.json").read_text(encoding="utf-8"))
    assert sixty.table(found) == (RESULTS / "sixty_votes.md").read_text(encoding="utf-8")
    proof = [(f["taste"], f["seed"]) for f in found if f["n"] == 60]
    assert sorted(proof) == sorted(itertools.product(sixty.TASTES, range(4)))
    assert {f["models"] for f in found} == {sixty.fingerprint()}
