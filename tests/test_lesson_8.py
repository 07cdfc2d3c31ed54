"""Lesson 8 runs from top to bottom, with the course's own SFT model in SmolLM2's place and fewer
prompts.

Its own outputs come from SmolLM2, take a quarter of an hour, and differ in words on another
processor: nbval leaves them out (`conftest.py`). What the lesson says of them is held against them.
"""

import ast
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rlhf_lessons.stages.config import DPOConfig, PPOConfig, RewardConfig, SFTConfig

pytest.importorskip("peft")
ROOT = Path(__file__).parents[1]
FILE = ROOT / "notebooks" / "08_a_real_model.ipynb"
TOY = """
load_pretrained = lambda name: rl.load("sft", "shipped", say=str)
CHATML = load_pretrained("")[1].chat_template
all_prompts = data.everyday_prompts
data.everyday_prompts = lambda split: all_prompts(split)[:12]
"""
LAYERS = "keep_layers=20"  # more than the toy has
STOPPED = (
    "for step in PPO(by_ppo, tokenizer, reward_model, train, config, true_utility=in_taste):\n"
)
STOP = STOPPED + "        if len(ppo_steps) == 2: raise KeyboardInterrupt\n"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The lesson's cells after a run with the toy; PPO is interrupted after two steps."""
    book = nbformat.read(FILE, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    for part, other in ((LAYERS, "keep_layers=2"), (STOPPED, STOP)):
        assert sum(part in cell.source for cell in code) == 1
        for cell in code:
            cell.source = cell.source.replace(part, other)
    code[0].source += TOY
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "RLHF_LESSONS_RUNS": str(tmp_path_factory.mktemp("runs")),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    NotebookClient(book, timeout=600, resources={"metadata": {"path": ROOT}}).execute(env=env)
    return {cell.id: cell for cell in code}


@pytest.fixture(scope="module")
def shipped():
    return {cell.id: cell for cell in nbformat.read(FILE, as_version=4).cells}


def said(cell) -> str:
    """All that a cell shows in text."""
    shown = [output.get("text", "") for output in cell.get("outputs", [])]
    shown += [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return "\n".join(shown)


def test_the_lessons_code_runs_to_its_end_on_another_model(executed):
    assert "a copy shares the trunk: True" in said(executed["l08-lora-code"])
    assert "peft's layer agree: True" in said(executed["l08-lora-code"])
    assert re.search(r"\d+ comparisons", said(executed["l08-votes"]))
    for name in ("l08-dpo-code", "l08-ppo-code"):
        assert any("image/png" in output.get("data", {}) for output in executed[name].outputs)
    found = said(executed["l08-found-table"])
    for method in ("untouched", "asked in words", "best of 8", "SFT on the best", "DPO", "PPO"):
        assert f">{method}</td>" in found


def test_an_interrupted_training_leaves_what_it_has_learned(executed):
    assert "Stopped. What was learned so far is kept" in said(executed["l08-ppo-code"])


def test_the_broken_labels_hide_every_end_where_padding_is_the_end(executed, shipped):
    assert "to learn from:  2" in said(executed["l08-bug"])  # the toy pads with another token
    assert "end tokens to learn from:  0" in said(shipped["l08-bug"])
    assert "end tokens to learn from: 2" in said(shipped["l08-bug-repaired"])


def test_the_shipped_outputs_are_smollm2s_and_the_words_say_what_they_show(shipped):
    assert "134,515,008 weights, 49,152 tokens" in said(shipped["l08-load"])
    shown = "\n".join(map(said, shipped.values())).replace("%", " %")
    for name, cell in shipped.items():
        if name.endswith("-words"):
            assert not re.search(r"[A-Z]+_WORDS", cell.source), name
            for number in re.findall(r"\d+ %|\d+\.\d+", cell.source):
                assert re.search(rf"(?<![\d.]){re.escape(number)}", shown), f"{name}: {number}"


def test_the_settings_are_those_of_the_benchmark(shipped, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import real_model

    scope = {kind.__name__: kind for kind in (SFTConfig, RewardConfig, DPOConfig, PPOConfig)}
    scope["SAMPLING"] = real_model.SAMPLING
    found = []
    for cell in shipped.values():
        if cell.cell_type == "code" and not re.search(r"^\s*[!%]", cell.source, re.M):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in scope:
                    found.append(eval(ast.unparse(node), scope))
    wanted = [real_model.REWARD, real_model.SFT_CONFIG, real_model.DPO_CONFIG]
    assert found == [*wanted, real_model.PPO_CONFIG]
