"""The comparison that ships is what its script makes of its measurements, and says what README
says."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from rlhf_lessons.data import json_rows
from rlhf_lessons.exercises.bugs import BUGS
from rlhf_lessons.reports.compare import METHODS, NATS, POINTS, RUNGS, config_of, summary

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "data" / "results"
spec = importlib.util.spec_from_file_location("compare_all", ROOT / "benchmarks" / "compare.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture(scope="module")
def found():
    runs = {}
    for row in json_rows(RESULTS / "compare.jsonl"):
        runs.setdefault(row["method"], {}).setdefault(row["seed"], []).append(row)
    return runs


def test_the_table_is_that_of_the_measurements(found):
    assert script.table(found) == (RESULTS / "compare.md").read_text(encoding="utf-8")


def test_every_run_is_there_with_todays_settings(found):
    for method, runs in found.items():
        assert method in METHODS and len(runs) in (1, 4)
        for seed, rows in runs.items():
            assert all(row["config"] == config_of(method, seed) for row in rows)
            assert len(rows) == (len(RUNGS) if method == "bon" else POINTS + 1)
            for row in rows:
                for mean, low, high in (row["utility"], row["fulfils"]):
                    assert 0 <= low <= mean <= high <= 1
    assert set(found) == set(METHODS) - {"dr_grpo"}
    assert {len(runs) for runs in found.values()} == {4}


def test_all_methods_of_a_seed_start_at_one_place(found):
    """The SFT model, measured by each; best of 1 is it too, from another sample."""
    for seed in range(4):
        starts = [runs[seed][0] for method, runs in found.items() if seed in runs]
        trained = [row for row in starts if row["method"] != "bon"]
        assert len({row["utility"][0] for row in trained}) == 1
        assert max(abs(row["kl"]) for row in starts) < 1e-3
        assert np.ptp([row["utility"][0] for row in starts]) < 0.03


def test_what_is_broken_stands_beside_the_same_run_without_the_mistake(found):
    rows = json_rows(RESULTS / "compare_broken.jsonl")
    assert {(row["method"], row["bug"]) for row in rows} == set(script.BUGS.items())
    for row in rows:
        assert row["bug"] in BUGS and row["seed"] in found[row["method"]]
        right = found[row["method"]][row["seed"]]
        assert row["config"] == right[0]["config"]
        assert row["step"] in [other["step"] for other in right]


def test_readme_says_what_was_measured(found):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    means = summary(found)
    for method, name in (("rloo", "RLOO"), ("grpo", "GRPO"), ("dpo", "DPO"), ("bon", "best of 64")):
        mean, low, high = re.search(
            rf"{name} (?:reaches )?([\d.]+) \(([\d.]+) to ([\d.]+)\)", readme
        ).groups()
        utility = means[method]["utility"]
        assert [float(mean), float(low), float(high)] == pytest.approx(
            [np.mean(utility), min(utility), max(utility)], abs=0.00501
        )
        lead = min(script.leads(utility, list(found[method])))
        assert lead >= 0.1, "the README says that each leads by 0.10 and more"
    assert NATS[1] == 2.0
