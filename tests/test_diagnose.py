"""Each stage's failure is named, with the evidence, and a sound chain is left in peace."""

import json
import shutil

import pytest
import tiny

from rlhf_lessons import checkpoints, paths
from rlhf_lessons.evaluation import diagnose
from rlhf_lessons.lm.models import CheckpointError
from rlhf_lessons.reports.terminal import diagnosis

SOUND = {
    "base": {"copies_name": 1.0, "adds": 0.99},
    "sft": {"ended": 0.99},
    "reward": {"accuracy": 0.83, "true_accuracy": 0.88, "ceiling": 0.9, "pairs": 1000},
    "best_of": {"n": 16, "gain": [0.2, 0.15, 0.25]},
    "ppo": {"explained_variance": [-0.5, 0.2, 0.5, 0.6], "kl": [0.1, 2.0, 4.0, 6.0]},
}
# What is changed in a sound chain: the stage, the check and the evidence that must be named
FAILURES = {
    "base cannot copy": (
        "base",
        {"copies_name": 0.1},
        "base",
        "copies and adds",
        "copies_name 0.10",
    ),
    "base cannot add": ("base", {"adds": float("nan")}, "base", "copies and adds", "adds nan"),
    "SFT never ends": ("sft", {"ended": 0.2}, "sft", "ends its answers", "0.20"),
    "reward model at chance": (
        "reward",
        {"true_accuracy": 0.51},
        "reward",
        "better than chance",
        "0.51",
    ),
    "reward model below chance": (
        "reward",
        {"true_accuracy": 0.12},
        "reward",
        "better than chance",
        "0.12",
    ),
    "reward model above its ceiling": (
        "reward",
        {"accuracy": 0.98},
        "reward",
        "not above its ceiling",
        "0.98",
    ),
    "best-of-16 gains nothing": (
        "best_of",
        {"gain": [0.01, -0.02, 0.04]},
        "reward",
        "best-of-16 gains",
        "+0.010",
    ),
    "best-of-16 loses": (
        "best_of",
        {"gain": [-0.1, -0.2, -0.05]},
        "reward",
        "best-of-16 gains",
        "-0.100",
    ),
    "critic explains nothing": (
        "ppo",
        {"explained_variance": [0.9, 0.9, 0.0, 0.05]},
        "ppo",
        "the critic explains",
        "0.03",
    ),
    "KL runs away": ("ppo", {"kl": [0.0, 5.0, 80.0, 9.0]}, "ppo", "the KL stays in bounds", "80.0"),
    "KL is no number": ("ppo", {"kl": [0.0, None]}, "ppo", "the KL stays in bounds", "inf"),
}


def test_a_sound_chain_has_no_failure():
    found = diagnose.diagnose(SOUND)
    assert all(verdict["ok"] is True for verdict in found["verdicts"])
    assert found["failed"] is None and "No stage" in diagnosis(found)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_named_with_its_evidence_and_what_to_do(name):
    part, change, stage, check, evidence = FAILURES[name]
    found = diagnose.diagnose(SOUND | {part: SOUND[part] | change})
    (failed,) = [verdict for verdict in found["verdicts"] if verdict["ok"] is False]
    assert (failed["stage"], failed["check"]) == (stage, check)
    assert evidence in failed["evidence"] and failed["advice"]
    assert f"Fix this stage first: {stage}" in diagnosis(found)


def test_the_first_stage_that_failed_is_the_one_to_fix():
    broken = SOUND | {"sft": {"ended": 0.1}, "best_of": {"n": 16, "gain": [0, -1, 1]}}
    assert diagnose.diagnose(broken)["failed"] == "sft"


def test_a_few_pairs_above_the_ceiling_are_no_leak():
    few = SOUND["reward"] | {
        "accuracy": 0.93,
        "pairs": 50,
    }  # 2 standard errors of 50 pairs are 0.14
    assert all(found.ok for found in diagnose.check_reward(**few))


def test_a_summary_is_plain_data():
    json.dumps(diagnose.diagnose(SOUND), allow_nan=False)


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """The four stages, untrained, as the shipped ones, and no runs; few prompts."""
    monkeypatch.setattr(paths, "DATA", tiny.small_data(tmp_path / "shipped"))
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    tiny.checkpoints(tmp_path / "shipped" / "checkpoints")
    return tmp_path


def test_untrained_models_are_measured_and_fail_at_the_base(chain):
    said = []
    measured = diagnose.measure(said.append)
    assert measured["base"].keys() >= {"copies_name", "adds"}
    assert len(measured["best_of"]["gain"]) == 3
    found = diagnose.diagnose(measured)
    assert found["failed"] == "base"
    ends = [each["ok"] for each in found["verdicts"] if each["check"] == "ends its answers"]
    assert ends == [False]
    assert all(str(chain / "shipped") in line for line in said)


def test_the_readers_own_run_is_looked_at_first_finished_or_not(chain):
    run = chain / "runs" / "ppo.run"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text(
        '{"step": 0, "kl": 99.0, "explained_variance": 0.0}\n', encoding="utf-8"
    )
    (run / "state.pt").write_bytes(b"")
    said = []
    measured = diagnose.measure(said.append)
    assert measured["ppo"] == {"explained_variance": [0.0], "kl": [99.0]}
    assert "stopped" in said[-1]


def test_a_model_that_is_missing_is_named(chain):
    shutil.rmtree(chain / "shipped" / "checkpoints" / "reward")
    with pytest.raises(CheckpointError, match="reward: there is no such folder"):
        diagnose.measure(lambda line: None)


def test_the_shipped_models_are_sound():
    found = diagnose.diagnose(diagnose.measure(lambda line: None))
    assert found["failed"] is None
    assert {each["stage"] for each in found["verdicts"] if each["ok"]} == set(checkpoints.STAGES)
