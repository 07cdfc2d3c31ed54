"""The front page's table and figure are of the shipped measurements; its pictures are small."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from rlhf_lessons import plots

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
RESULTS = PROJECT / "data" / "results" / "temperature.json"
MODELS = (
    *("SFT", "SFT, best 3 %", "SFT, best 10 %", "SFT, best 20 %", "SFT, best 40 %"),
    *("SFT, 8 epochs", "SFT, 25 demonstrations", "SFT on its own winners"),
    *("SFT on its own best 2.5 %", "PPO"),
)
spec = importlib.util.spec_from_file_location(
    "front_page", PROJECT / "notebooks" / "images" / "front_page.py"
)
front_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(front_page)


def row(name: str, temperature: float, utility: float) -> dict:
    """What a model reaches at a temperature, made up."""
    figure = [utility, utility - 0.1, utility + 0.1]
    about = {"model": name, "rival": name, "temperature": temperature, "judgements": 800}
    return about | {"utility": figure, "fulfils": figure, "entropy": temperature}


@pytest.fixture
def found() -> dict:
    """The form of temperature.json: PPO reaches 0.9, SFT at most 0.4, on the best 20 % 0.6."""
    best = dict(zip(MODELS, (0.4, 0.5, 0.5, 0.6, 0.5, 0.4, 0.5, 0.6, 0.6, 0.9), strict=True))
    rows = [row(name, t, best[name] - 0.1 * t) for name in MODELS for t in (1.0, 0.5, 0.0)]
    rivals = [row("SFT, colder", 0.0, 0.4), row("PPO", 1.0, 0.8), row("PPO", 0.0, 0.9)]
    rivals += [row(name, 0.0, best[name]) for name in MODELS[1:-1]]
    rivals += [row("best of 16 by reward", 1.0, 0.7), row("SFT on its best of 16", 0.0, 0.6)]
    return {"split": "heldout", "rows": rows, "rivals": rivals}


def test_the_table_holds_sft_the_best_of_each_rival_and_ppo(found):
    lines = [line.strip("| ").split(" | ") for line in front_page.table(found).splitlines()[2:]]
    assert [line[:2] for line in lines] == [
        ["SFT", "1"],
        ["SFT, colder", "0"],
        ["SFT, best 20 %", "0"],
        ["SFT, 8 epochs", "0"],
        ["SFT, 25 demonstrations", "0"],
        ["SFT on its own winners", "0"],
        ["SFT on its own best 2.5 %", "0"],
        ["best of 16 by reward", "1"],
        ["SFT on its best of 16", "0"],
        ["PPO", "1"],
        ["PPO", "0"],
    ]
    assert lines[0][2:] == ["0.30 (0.20 to 0.40)", "30 % (20 to 40)", "0"]
    assert lines[-1][2:] == ["0.90 (0.80 to 1.00)", "90 % (80 to 100)", "800"]


def test_the_table_takes_the_place_of_the_last_one(found):
    once = front_page.with_table(README, found)
    assert "| SFT, best 20 % |" in once and front_page.with_table(once, found) == once


def test_the_front_pages_table_is_of_the_shipped_measurements():
    if not RESULTS.is_file():
        pytest.skip("the proof has not been run on the shipped models yet")
    shipped = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert front_page.with_table(README, shipped) == README


def test_its_pictures_are_small_and_have_words():
    for alt, name in re.findall(r"!\[(.*?)\]\((.+?)\)", README):
        assert len(alt) > 100
        if RESULTS.is_file():
            assert (PROJECT / name).stat().st_size < 150_000, name


def test_the_figure_tells_the_temperatures_of_sft_and_ppo_and_who_is_best(found):
    figure = plots.utility_against_entropy(found["rows"])
    (axis,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(MODELS)
    assert [text.get_text() for text in axis.texts] == ["1", "0.5", "0"] * 2
    assert axis.get_title("left") == (
        "At the best temperature: PPO 0.90, ways without a reward model 0.60"
    )
