"""An interrupted run continues bit for bit; a bad number leaves the last good state."""

import random
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_llama

import rlhf_lessons
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.config import (
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    RLOOConfig,
    SFTConfig,
)
from rlhf_lessons.stages.dpo import DPO
from rlhf_lessons.stages.loop import NonFiniteLoss
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.pretrain import Pretrain
from rlhf_lessons.stages.reward import RewardModelling
from rlhf_lessons.stages.rloo import GRPO, RLOO
from rlhf_lessons.stages.run import load_state, save_state
from rlhf_lessons.stages.sft import SFT


@pytest.fixture(params=["pretrain", "sft", "reward", "ppo", "rloo", "grpo", "dpo"])
def make_stage(request, tokenizer, demonstrations, rankings):
    """A function that makes the stage afresh, as a new process would."""

    def make():
        model = tiny_llama(tokenizer)
        if request.param == "pretrain":
            text = torch.randint(5, 300, (1000,), generator=torch.Generator().manual_seed(0))
            config = PretrainConfig(steps=6, batch_size=4, context=32, warmup=2, validate_every=2)
            return Pretrain(model, text, text[:200], config)
        if request.param == "sft":
            return SFT(model, tokenizer, demonstrations, SFTConfig(epochs=2, warmup=2))
        if request.param == "reward":
            return RewardModelling(
                model, tokenizer, rankings[:24], RewardConfig(epochs=3, batch_size=12)
            )
        if request.param == "dpo":
            return DPO(model, tokenizer, rankings[:24], DPOConfig(epochs=3, batch_size=12))
        stage, config = {
            "ppo": (PPO, PPOConfig(steps=6, batch_size=16, critic_warmup=1, max_new_tokens=8)),
            "rloo": (RLOO, RLOOConfig(steps=6, batch_size=16, group_size=4, max_new_tokens=8)),
            "grpo": (GRPO, GRPOConfig(steps=6, batch_size=16, group_size=4, max_new_tokens=8)),
        }[request.param]
        prompts = ["Write about anna.", "What is 4-2?", "a"]
        return stage(model, tokenizer, to_reward_model(model), prompts, config)

    return make


def assert_same(first: dict, second: dict):
    """Equal to the last bit: plain data, and every tensor at any depth."""
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, dict):
            assert_same(value, second[key])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
        else:
            assert value == second[key], key


@pytest.mark.parametrize("after", [1, 4])
def test_interrupted_run_continues_bit_for_bit(make_stage, tmp_path, after):
    whole = make_stage()
    steps = list(whole)
    first = make_stage()
    begun = [next(first) for _ in range(after)]
    save_state(first.state_dict(), tmp_path / "state.pt")
    random.random(), torch.rand(3)  # what else happens in a process must not matter
    second = make_stage()
    second.load_state_dict(load_state(tmp_path / "state.pt"))
    assert begun + list(second) == steps and len(steps) == len(whole) == 6
    assert_same(second.state_dict(), whole.state_dict())


def test_bad_number_stops_the_run_at_its_step_with_the_weights_of_the_step_before(make_stage):
    run = make_stage()
    next(run), next(run)
    name = next(name for name in ("critic", "reference", "model") if name in run.models)
    weight = next(run.models[name].parameters())
    with torch.no_grad():
        weight[:, 0] = float("inf")
    before = {k: v.clone() for k, v in run.models[name].state_dict().items()}
    with pytest.raises(NonFiniteLoss, match="step 2"):
        next(run)
    assert run.step == 2
    assert_same(run.models[name].state_dict(), before)


def test_a_state_that_lacks_a_weight_is_refused(make_stage):
    run = make_stage()
    state = run.state_dict()
    del state["models"][next(iter(state["models"]))]
    with pytest.raises(RuntimeError, match="Missing key"):
        run.load_state_dict(state)


def test_state_of_another_run_is_refused(make_stage):
    run = make_stage()
    state = run.state_dict()
    with pytest.raises(ValueError, match="stage"):
        run.load_state_dict({**state, "stage": "Other"})
    with pytest.raises(ValueError, match="config"):
        run.load_state_dict({**state, "config": repr(replace(run.config, seed=9))})


def test_damaged_state_is_named(tmp_path):
    file = tmp_path / "state.pt"
    save_state({"step": 3, "w": torch.ones(4)}, file)
    assert load_state(file)["step"] == 3
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ValueError, match="state.pt"):
        load_state(file)
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "none.pt")


def test_state_cannot_run_code(tmp_path):
    torch.save({"step": textwrap.dedent}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="no readable training state"):
        load_state(tmp_path / "state.pt")


def test_killed_process_leaves_a_whole_state(tmp_path):
    """A process that does nothing but save is killed (SIGKILL) at a moment of chance; its last
    state is whole."""
    code = """
        import sys
        import torch
        from rlhf_lessons.stages.run import save_state
        step = 0
        while True:
            step += 1
            save_state({"step": step, "w": torch.full((300_000,), float(step))}, sys.argv[1])
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "state.pt")]
    process = subprocess.Popen(arguments, cwd=Path(rlhf_lessons.__file__).parents[1])
    try:
        deadline = time.time() + 60
        while not (tmp_path / "state.pt").exists():
            assert process.poll() is None and time.time() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    state = load_state(tmp_path / "state.pt")
    assert state["step"] >= 1 and (state["w"] == state["step"]).all()
