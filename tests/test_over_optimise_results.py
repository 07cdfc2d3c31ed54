"""What ships of over-optimisation is one script's work, and says what README and lesson 5 say."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "data" / "results"
spec = importlib.util.spec_from_file_location("over", ROOT / "benchmarks" / "over_optimise.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture(scope="module")
def shown():
    return json.loads((RESULTS / "over_optimisation.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(r"\*\*Pushed too far\.\*\*(.+)", text)[1]


def test_the_tables_are_those_of_the_measurements(shown):
    written = (RESULTS / "over_optimisation.md").read_text(encoding="utf-8")
    assert script.table(shown) == written


def test_in_every_seed_utility_gains_and_falls_while_the_reward_rises(shown):
    assert len(shown["ppo"]["one"]) == 4
    for run in shown["ppo"]["one"].values():
        found = script.stopping(run)
        assert found["peak"] - found["start"] >= 0.03 and found["peak"] - found["end"] >= 0.10
        assert found["looks with a lower reward"] == 0 and len(run["step"]) == 11
        assert found["kept"] >= 0.8
        assert run["kl"][0] == pytest.approx(0, abs=1e-3) and np.argmax(run["kl"]) > 5


def test_readme_says_what_was_measured(shown, readme):
    found = [script.stopping(run) for run in shown["ppo"]["one"].values()]
    for name in ("start", "peak", "end"):
        values = [one[name] for one in found]
        said = f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        assert said in readme, (name, said)
    best = [rungs["one"][-1]["utility"][0] for rungs in shown["best_of_n"].values()]
    assert f"{np.mean(best):.2f} ({min(best):.2f} to {max(best):.2f})" in readme
    forms = script.fits(shown)
    explained = [forms[f"PPO, seed {seed}, form for rl"].r_squared for seed in range(4)]
    assert f"{100 * min(explained):.0f} to {100 * max(explained):.0f} %" in readme
    rivals = [forms[f"PPO, seed {seed}, form for best of n"].r_squared for seed in range(4)]
    assert np.less_equal(np.round(explained, 2), np.round(rivals, 2)).sum() == 3
    worst = shown["leads"]["worst"]["end"]["by_seed"].values()
    assert f"by {max(worst):.2f}" in readme and sum(lead > 0.05 for lead in worst) == 1


def test_best_of_n_bends_down_in_two_seeds_barely(shown):
    ladders = [[rung["utility"][0] for rung in of["one"]] for of in shown["best_of_n"].values()]
    falls = [max(utility) - utility[-1] for utility in ladders]
    assert sum(fall > 0 for fall in falls) == 2 and max(falls) < 0.03


def test_no_other_way_to_spend_300_votes_is_ahead_where_it_stops(shown):
    """So the lesson says; each lead is taken against one reward model of plain votes."""
    for way in ("fresh", "off_prompt"):
        _, _, high = shown["leads"][way]["stop"]["lead"]
        assert high < 0, way
