"""The proof's tables say what was measured; its mean over seeds is the mean of their prompts."""

import importlib.util
from pathlib import Path

from rlhf_lessons.evaluation.arena import METRICS
from rlhf_lessons.world.tasks import FAMILIES

spec = importlib.util.spec_from_file_location(
    "prove", Path(__file__).parent.parent / "benchmarks" / "prove.py"
)
prove = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prove)


def measured(seed: int, utility: float) -> dict:
    """What `prove.measure` gives, made up: PPO's answers to four prompts have the same utility."""
    means = {
        name: {m: [value] * 4 for m in METRICS}
        for name, value in (("base", 0.0), ("sft", 0.5), ("ppo", utility))
    }
    gain = [utility - 0.5] * 3
    return {
        "seed": seed,
        "prompt_means": means,
        "gain": gain,
        "gain_by_family": dict.fromkeys(FAMILIES, gain),
        "true_gain": [0.4, 0.3, 0.5],
        "win_rate": [0.8, 0.7, 0.9],
        "best_of_16": [0.2, 0.1, 0.3],
        "kl": 2.5,
        "reward_model": {
            name: {"agreement": 0.8 + 0.01 * i} for i, name in enumerate((*FAMILIES, "all"))
        },
        "article": {
            name: [{"fulfils": share}, {"fulfils": share}]
            for name, share in (("base", 0.0), ("sft", 0.3), ("ppo", utility))
        },
        "distinct": {"sft": 0.99, "ppo": 0.9},
    }


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each row, by the text of its first one."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line
    ]
    return {first: others for first, *others in lines}


def test_the_means_are_over_seeds_and_each_seed_has_a_column():
    found = rows(prove.table([measured(0, 0.7), measured(1, 0.9)], {}))
    assert found["utility"] == ["0.00 (0.00 to 0.00)", "0.50 (0.50 to 0.50)", "0.80 (0.80 to 0.80)"]
    assert found["fulfils"][2] == "80 % (80 to 80)"
    assert found["PPO over SFT, utility"] == ["+0.20 (+0.20 to +0.20)", "+0.40 (+0.40 to +0.40)"]
    assert found["reward model agrees with the truth"] == ["85 %", "85 %"]
    assert found["... least of the families"] == ["80 %", "80 %"]
    assert found[f"*{prove.ARTICLE_PROMPTS[1]}* fulfilled"] == [
        "0 % (0 to 0)",
        "30 % (30 to 30)",
        "80 % (70 to 90)",
    ]


def test_tastes_stand_below_where_they_were_measured():
    half = {"share": [0.5, 0.4, 0.6], "relevance": [0.8, 0.7, 0.9]}
    found = rows(prove.table([measured(0, 0.7)], {"dragon": {"sft": half, "ppo": half}}))
    assert found["dragon"] == ["50 % (40 to 60)"] * 2 + ["0.80 (0.70 to 0.90)"] * 2
