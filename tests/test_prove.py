"""The proof's figures are of what was measured, and its tables of the figures."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import prove  # noqa: E402
import prove_figures  # noqa: E402
import prove_measure  # noqa: E402
from prove_table import table  # noqa: E402

from rlhf_lessons import data  # noqa: E402
from rlhf_lessons.world.answers import TASTES  # noqa: E402
from rlhf_lessons.world.judge import judge  # noqa: E402
from rlhf_lessons.world.raters import Rater  # noqa: E402
from rlhf_lessons.world.tasks import FAMILIES, parse  # noqa: E402

RESULTS = ROOT / "data" / "results"
SPLITS = ("validation", "heldout")
PROMPTS = 25  # of each split
REWARD_MODEL = {
    "agreement": {name: [0.9, 0.8, 1.0] for name in (*FAMILIES, "all")},
    "calibration": [(0.6, 0.57, 300), (0.9, 0.94, 100), (0.97, 0.9, 100)],
    "by_parts": {name: [None, -0.5, 0.25, 1.5] for name in FAMILIES},
}


def looked_at(utility: float) -> dict:
    """What `prove_measure.look` gives, made up: all answers are alike."""
    return {
        "utility": [[utility] * 2] * PROMPTS,
        "fulfils": [[round(utility)] * 2] * PROMPTS,
        "words": [[10, 20]] * PROMPTS,
        "tastes": {taste: [utility] * PROMPTS for taste in TASTES},
        "entropy": 0.5,
    }


def in_article(share: float) -> dict:
    """What `prove_measure.article` gives, made up."""
    return {str(t): {"fulfils": [share, share]} for t in prove_measure.TEMPERATURES}


def write(file: Path, found: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found), encoding="utf-8")


def write_seed(folder: Path, ppo: float) -> None:
    """Write what is measured of a seed: all have 0.5 but PPO, and the best 10 % colder."""
    write(folder / "own_best.json", {"rows": [], "seconds": 30})
    write(folder / "own_marked.json", {"rows": [], "marks": 8000, "seconds": 20})
    for name in ("first_reward", "first", "reward", *prove_measure.MODELS):
        write(folder / name / "card.json", {"seconds": 10, "measured": {"kl": 2.5}})
    for split in SPLITS:
        for name in prove_measure.MODELS:
            at = {}
            for temperature in prove_measure.TEMPERATURES:
                at[str(temperature)] = looked_at(ppo if name == "ppo" else 0.5)
                at[str(temperature)]["best"] = looked_at(0.7)
            if name == "best10":
                at["0.3"] = looked_at(0.6)
                at["0.7"] = looked_at(0.9 if split == "heldout" else 0.1)
            write(folder / split / f"{name}.json", at)
        write(folder / split / "truth.json", {"1.0": looked_at(1.0)})
        write(folder / split / "distinct.json", {"sft": 1.0, "ppo": 0.8})
        write(folder / split / "reward_model.json", REWARD_MODEL)
        write(folder / split / "article.json", {"sft": in_article(0.0), "ppo": in_article(1.0)})


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> dict:
    """The figures of two seeds, made up."""
    runs = tmp_path_factory.mktemp("runs")
    write_seed(runs / "seed0", ppo=0.8)
    write_seed(runs / "seed1", ppo=0.9)
    base = {"base": {"1.0": looked_at(0.0)}, "probes": {"adds": 0.9}}
    write(runs / "base_heldout.json", base | {"article": in_article(0.0)})
    tasks = data.tasks("heldout")[:PROMPTS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "tasks", lambda split: tasks)
        return prove_figures.figures(runs, "heldout")


def rows_of(text: str) -> dict[str, list[str]]:
    """The cells of each row, by the text of its first one."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in others] for first, *others in lines}


def test_a_rival_has_the_temperature_that_is_best_on_validation(figures):
    assert figures["best_temperature"]["SFT, best 10 %"] == 0.3  # not 0.7, best on held-out
    rivals = {row["rival"]: row for row in figures["temperature"]["rivals"]}
    assert rivals["SFT, best 10 %"]["utility"] == [0.6, 0.6, 0.6]
    assert rivals["SFT, best 10 %"]["judgements"] == len(data.demonstrations())
    assert rivals["PPO"]["judgements"] == 4000 * 15  # rankings, pairs of six
    assert rivals["SFT on its best of 16"]["seconds"] == 4 * 10 + 30 + 10


def test_ppo_is_compared_with_the_best_rival_in_each_seed(figures):
    by_seed = figures["by_seed"]
    rivals = [found["rivals"]["from writers"] for found in by_seed.values()]
    assert {rival["name"] for rival in rivals} == {"SFT, best 10 %"}
    assert [rival["lead"][0] for rival in rivals] == [0.2, 0.3]
    assert rivals[1]["wins_colder"] == [1.0, 1.0, 1.0]
    own = by_seed["0"]["rivals"]["from judgements of its own answers"]
    assert (own["utility"], own["lead"][0]) == ([0.5, 0.5, 0.5], 0.3)
    assert by_seed["0"]["share_of_true_gain"] == [0.6, 0.6, 0.6]  # 0.3 of 0.5


def test_the_rows_by_temperature_are_means_over_the_seeds(figures):
    found = figures["temperature"]
    assert len(found["rows"]) == 10 * 5
    assert found["rows"][-1] == {
        "model": "PPO",
        "temperature": 0.0,
        "utility": [0.85, 0.85, 0.85],
        "fulfils": [1.0, 1.0, 1.0],
        "entropy": 0.5,
        "words": 15.0,
        "seeds": 2,
    }
    assert found["side_effects"][0]["shift"] == [0.35, 0.35, 0.35]


def test_the_tables_say_what_the_figures_are(figures):
    found = rows_of(table(figures))
    assert found["PPO, utility"] == ["≥ 0.80", "0.80 (0.80 to 0.80)", "0.90 (0.90 to 0.90)"]
    assert found["best rival that learns from writers"][1:] == ["SFT, best 10 %"] * 2
    assert found["PPO minus this rival"][1] == "+0.30 (+0.30 to +0.30)"  # the last one's
    assert found["calibration error, mean over pairs"] == ["", "0.04", "0.04"]
    assert found["... worst bin off by"] == ["≤ 0.05", "0.07", "0.07"]
    assert found["... story"] == ["", "–, -0.5, +0.2, +1.5", "–, -0.5, +0.2, +1.5"]  # the last one
    assert found["... PPO greedily"] == ["yes"] * 3
    assert found["distinct of 64 stories, SFT, PPO"][1] == "100 %, 80 %: 80 %"


def test_shipped_tables_are_of_the_shipped_figures():
    file = RESULTS / "temperature.json"
    if not file.is_file():
        pytest.skip("the proof has not been run on the shipped models yet")
    found = json.loads((RESULTS / "proof.json").read_text(encoding="utf-8"))
    assert json.loads(file.read_text(encoding="utf-8")) == found["temperature"]
    assert table(found) == (RESULTS / "proof.md").read_text(encoding="utf-8")


def test_raters_sort_each_family_by_their_marks(monkeypatch):
    monkeypatch.setattr(prove.course, "RATER", Rater())
    chosen = prove.best_marked(data.demonstrations(), 0.1, seed=0)
    families = [parse(row["prompt"])["family"] for row in chosen]
    assert {family: families.count(family) for family in FAMILIES} == dict.fromkeys(FAMILIES, 16)
    everything = data.demonstrations()
    best, mean = (
        np.mean([judge(row["prompt"], row["completion"]).utility for row in rows])
        for rows in (chosen, everything)
    )
    assert best > mean + 0.1


def test_rewards_are_told_apart_by_the_parts_of_an_answer(monkeypatch):
    def paid(model, tokenizer, prompts, texts, ended):
        return np.array([len(text) for text in texts])

    monkeypatch.setattr(prove_measure, "score", paid)
    sums = "What is 4-2 and 3-1?"
    texts = ("4-2 is 2.", "3-1 is 2.", "4-2 is 2, and 3-1 is 2.")
    pairs = [{"prompt": sums, "chosen": texts[2], "rejected": t, "ended": [1, 1]} for t in texts]
    assert prove_measure.by_parts(None, None, pairs)["maths"] == [None, 9.0, 23.0]


def test_own_answers_are_sorted_over_all_prompts_and_unfinished_ones_left_out(monkeypatch):
    sums = [f"What is {n}-1 and 5+1?" for n in range(2, 10)]
    answers = ["5+1 is 6.", "5+1"] * 2 + ["nothing"]

    def answer_all(model, tokenizer, prompts, n, seed):
        texts = [
            [*answers[:4], f"{prompt[8:11]} is {int(prompt[8]) - 1}, and 5+1 is 6."]
            for prompt in prompts[:2]
        ]
        texts += [answers] * (len(prompts) - 2)
        return texts, [[True, False, True, False, True]] * len(prompts)

    monkeypatch.setattr(prove, "load_model", lambda path: (None, None))
    monkeypatch.setattr(prove, "answer_all", answer_all)
    monkeypatch.setattr(data, "prompts_of", lambda split: sums)
    monkeypatch.setattr(prove.course, "RATER", Rater())
    monkeypatch.setattr(prove, "OWN_SHARE", 2 / 24)
    found = prove.own_marked(Path(), 0)
    assert found["marks"] == 24
    assert {row["completion"] for row in found["rows"]} == {
        "2-1 is 1, and 5+1 is 6.",
        "3-1 is 2, and 5+1 is 6.",
    }


def test_winners_won_most_of_the_comparisons_of_their_ranking():
    won = [("p", "a", "c", 0), ("p", "b", "c", 0), ("p", "b", "a", 0), ("p", "c", "d", 0)]
    won.append(("q", "d", "e", 1))
    rows = [dict(zip(("prompt", "chosen", "rejected", "group"), row, strict=True)) for row in won]
    found = {row["prompt"]: row["completion"] for row in prove.winners(rows)}
    assert found == {"p": "b", "q": "d"}


def test_marks_that_slip_go_to_other_demonstrations(monkeypatch):
    rows = data.demonstrations()[:100]
    monkeypatch.setattr(prove.course, "RATER", Rater())
    exact = prove.marks(rows, np.random.default_rng(0))
    monkeypatch.setattr(prove.course, "RATER", Rater(flip_rate=0.5))
    slipped = prove.marks(rows, np.random.default_rng(0))
    assert sorted(exact) == sorted(slipped)
    assert 0.1 < np.mean(exact != slipped) < 0.6


def test_what_is_measured_is_kept(tmp_path):
    assert prove_measure.kept(tmp_path / "seed0" / "x.json", lambda: [1.5]) == [1.5]
    assert prove_measure.kept(tmp_path / "seed0" / "x.json", lambda: [2.5]) == [1.5]
