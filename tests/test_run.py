"""Runs stop, continue and fail as the learner is told: bit for bit, whatever stopped them."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import tiny
import torch

from rlhf_lessons.stages import run as runs
from rlhf_lessons.stages.run import load_state


def weights(stage) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in stage.models.state_dict().items()}


def assert_same(stage, other):
    mine, theirs = weights(stage), weights(other)
    assert mine.keys() == theirs.keys()
    assert [key for key in mine if not torch.equal(mine[key], theirs[key])] == []


@pytest.fixture(scope="module", params=tiny.STAGES)
def whole(request, tmp_path_factory):
    """A run that nothing disturbed: the stage's name, the stage at its end, and its metrics."""
    stage = tiny.stage(request.param)
    return (
        request.param,
        stage,
        runs.train(stage, tmp_path_factory.mktemp("whole") / "run", "whole"),
    )


def interrupt_in_step(stage, number: int):
    """Let Ctrl-C be pressed in the middle of a step."""
    train_step = stage.train_step

    def step_and_signal(step):
        if step == number:
            signal.raise_signal(signal.SIGINT)
        return train_step(step)

    stage.train_step = step_and_signal


def test_ctrl_c_finishes_the_step_and_the_run_continues_bit_for_bit(whole, tmp_path):
    handler = signal.getsignal(
        signal.SIGINT
    )  # a run in the background starts with the signal ignored
    name, undisturbed, metrics = whole
    stage = tiny.stage(name)
    interrupt_in_step(stage, 4)
    with pytest.raises(runs.Interrupted, match="stopped after step 5 of"):
        runs.train(stage, tmp_path / "run", name)
    resumed = tiny.stage(name)
    assert runs.train(resumed, tmp_path / "run", name) == metrics
    assert_same(resumed, undisturbed)
    assert signal.getsignal(signal.SIGINT) is handler  # given back after the run


def test_a_killed_run_continues_bit_for_bit(whole, tmp_path):
    name, undisturbed, metrics = whole
    file = tmp_path / "run" / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, tiny.__file__, name, str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    until = time.monotonic() + 120
    while not (file.is_file() and file.read_text(encoding="utf-8").count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < until, (
            "the run ended before it could be killed"
        )
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = load_state(tmp_path / "run" / "state.pt")["step"]
    assert done < len(undisturbed), "it was killed after the last step"
    resumed = tiny.stage(name)
    assert runs.train(resumed, tmp_path / "run", name) == metrics
    assert_same(resumed, undisturbed)
    assert runs.read_metrics(tmp_path / "run") == metrics


@pytest.mark.parametrize("name", tiny.STAGES)
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(
    name, tmp_path, monkeypatch
):
    stage = tiny.stage(name)
    good = {}
    train_step = stage.train_step

    def poisoned(step):
        if step == 3:
            good.update(weights(stage))
            with torch.no_grad():
                next(stage.models["critic" if name == "ppo" else "model"].parameters()).fill_(
                    math.nan
                )
        return train_step(step)

    stage.train_step = poisoned
    monkeypatch.setattr(runs, "SAVE_SECONDS", 0)
    with pytest.raises(runs.Stopped, match="step 3") as caught:
        runs.train(stage, tmp_path, name)
    assert not isinstance(caught.value, runs.Interrupted)
    state = load_state(tmp_path / "state.pt")
    assert state["step"] == 3
    assert all(torch.equal(state["models"][key], good[key]) for key in good)


def test_metrics_are_a_json_object_a_step_without_nan(whole, tmp_path):
    _, stage, metrics = whole
    assert [row["step"] for row in metrics] == list(range(len(stage)))
    json.dumps(metrics, allow_nan=False)


def test_a_finished_run_forgets_its_state_and_keeps_its_metrics(tmp_path):
    runs.train(tiny.stage("sft"), tmp_path, "sft")
    runs.finished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def stop_early(stage, folder):
    interrupt_in_step(stage, 1)
    with pytest.raises(runs.Interrupted):
        runs.train(stage, folder, "early")


def test_a_stopped_run_does_not_continue_from_another_model(tmp_path):
    stop_early(tiny.stage("sft"), tmp_path)
    with pytest.raises(ValueError, match="other weights.*") as caught:
        runs.train(tiny.stage("sft", seed=1), tmp_path, "sft")
    assert "--fresh" in str(caught.value)


def test_a_stopped_run_does_not_continue_with_other_data(tmp_path):
    stop_early(tiny.stage("sft"), tmp_path)
    other = tiny.stage("sft")
    other.rows[0] = other.rows[1]
    with pytest.raises(ValueError, match="other weights or data"):
        runs.train(other, tmp_path, "sft")


def test_a_damaged_state_is_named(tmp_path):
    stop_early(tiny.stage("sft"), tmp_path)
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(ValueError, match="state.pt"):
        runs.train(tiny.stage("sft"), tmp_path, "sft")


def test_a_run_that_fails_keeps_the_metrics_of_all_its_steps(tmp_path):
    stage = tiny.stage("sft")
    train_step = stage.train_step

    def broken(step):
        if step == 3:
            raise ZeroDivisionError
        return train_step(step)

    stage.train_step = broken
    with pytest.raises(ZeroDivisionError):
        runs.train(stage, tmp_path, "sft")
    assert [row["step"] for row in runs.read_metrics(tmp_path)] == [0, 1, 2]
    assert load_state(tmp_path / "state.pt")["step"] == 0  # saved before the first step


def test_a_run_that_never_began_has_no_metrics(tmp_path):
    assert runs.read_metrics(tmp_path / "nothing") == []
