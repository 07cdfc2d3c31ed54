"""The command line: help for newcomers, pure JSON, exit codes that mean something."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest
import tiny

from rlhf_lessons import checkpoints, data, paths, recipes
from rlhf_lessons.cli import main
from rlhf_lessons.evaluation import ask as asking
from rlhf_lessons.lm.models import load_card, new_model, toy_config
from rlhf_lessons.lm.tokenizer import encode_prompts
from rlhf_lessons.reports import course, terminal
from rlhf_lessons.reports.course import COURSE, LARGE
from rlhf_lessons.stages.config import (
    PRETRAIN,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    SFTConfig,
)
from rlhf_lessons.stages.sft import SFT
from rlhf_lessons.world import corpus
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS

COMMANDS = [
    name.split()
    for name in (
        "ask",
        "evaluate",
        "compare",
        "diagnose",
        "course",
        "pretrain",
        "sft",
        "reward",
        "ppo",
        "data build",
        "ratings import",
        "classroom serve",
        "classroom check",
        "classroom ladder",
        "reports",
    )
]
STORY = ARTICLE_PROMPTS[0]


def run(*arguments: str) -> int:
    """Run a command in this process and return its exit code."""
    try:
        return main(list(arguments))
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tiny.small_data(tmp_path_factory.mktemp("shipped"))
    tiny.checkpoints(folder / "checkpoints")
    return folder


@pytest.fixture
def world(shipped, tmp_path, monkeypatch):
    """Untrained models as the shipped ones, an empty folder for runs, and few prompts."""
    monkeypatch.setattr(paths, "DATA", shipped)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


def test_help_names_every_command(capsys):
    assert run("--help") == 0
    said = capsys.readouterr().out
    assert all(f" • {' '.join(command)} " in said for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help_with_a_line_for_every_flag(command, capsys):
    assert run(*command, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: python -m rlhf_lessons {' '.join(command)}")
    assert len(said.splitlines()) >= 6


def test_a_stages_flags_are_its_config(capsys):
    run("ppo", "--help")
    said = capsys.readouterr().out
    assert "--kl-coef FLOAT" in said and "KL penalty: the price of one nat" in said


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "Expected one of {ask, evaluate"),
        (["fly"], "Available subcommands: ask, evaluate"),
        (["data"], "Available subcommands: data build"),
        (["data", "burn"], "Available subcommands: data build"),
        (["ask"], "What you ask"),
        (["evaluate", "--split", "mine"], "mine"),
        (["pretrain", "--steps", "many"], "many"),
        (["ask", STORY, "--n", "0"], "n must lie between"),
        (["ask", STORY, "--temperature", "-1"], "temperature must be 0 or a positive number"),
        (["ask", " "], "the prompt is empty"),
        (["ask", "x" * 5000], "is too long: "),
        (["ask", STORY, "--models", "gpt"], "base, sft, ppo"),
        (["ask", STORY, "--models", "reward"], "writes none"),
        (["ask", STORY, "--models", ","], "at least one model"),
        (["ask", STORY, "--source", "mine"], "no base model of your own"),
        (["evaluate", "--n", "0"], "n must lie between"),
        (["sft", "--epochs", "0"], "epochs must be above 0"),
        (["ppo", "--lr", "-1"], "lr must be above 0"),
        (["sft", "--demonstrations", "nowhere.jsonl"], "no such file"),
        (["reward", "--rankings", "0"], "rankings must be above 0"),
        (["sft", "--base", "nowhere"], "there is no such folder"),
        (
            ["reward", "--keep-layers", "9", "--comparisons", "COMPARISONS"],
            "keep_layers must lie between 1 and 1",
        ),
        (["ppo", "--num-minibatches", "7"], "batch_size must be a multiple of num_minibatches"),
    ],
)
def test_input_that_does_not_fit_is_named_in_a_line_and_exits_with_2(
    world, tmp_path, arguments, named, capsys
):
    file = tmp_path / "comparisons.jsonl"
    data.write_rows(file, tiny.comparisons())
    assert run(*[str(file) if word == "COMPARISONS" else word for word in arguments]) == 2
    said = capsys.readouterr().err
    assert named in said and "Traceback" not in said
    assert not (world / "sft").exists()


def test_ask_shows_the_models_side_by_side(world, capsys):
    assert run("ask", STORY, "--n", "2") == 0
    said = capsys.readouterr()
    assert [line for line in said.out.splitlines() if line in ("BASE", "SFT", "PPO")] == [
        "BASE",
        "SFT",
        "PPO",
    ]
    assert "shipped model" in said.err and "outside" not in said.err


def test_ask_gives_one_json_object_and_nothing_else(world, capsys):
    assert run("ask", STORY, "--n", "2", "--models", "ppo,sft,ppo", "--json") == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found.keys() == {"prompt", "samples"} and found["prompt"] == STORY
    assert {name: len(texts) for name, texts in found["samples"].items()} == {"ppo": 2, "sft": 2}


def test_ask_says_so_outside_the_toy_world(world, capsys):
    assert run("ask", "Who are you?", "--n", "1", "--json") == 0
    said = capsys.readouterr()
    json.loads(said.out)
    assert "no fault of yours" in said.err and "Write" in said.err
    assert asking.out_of_world_notice(STORY) is None


def test_the_same_seed_gives_the_same_answers(world):
    models = asking.load_writers(["sft"], say=lambda line: None)
    assert asking.ask(STORY, models, 2, seed=1) == asking.ask(STORY, models, 2, seed=1)
    assert asking.ask(STORY, models, 2, seed=1) != asking.ask(STORY, models, 2, seed=2)
    (greedy,) = {
        tuple(asking.ask(STORY, models, 2, temperature=0, seed=seed)["sft"]) for seed in (1, 2)
    }
    assert greedy[0] == greedy[1]


def test_the_base_reads_the_bare_prompt_and_the_others_a_conversation(world):
    for name, speakers in (("base", 0), ("sft", 2)):
        _, tokenizer = asking.load_writers([name], say=lambda line: None)[name]
        marks = tokenizer.convert_tokens_to_ids(["<user>", "<assistant>"])
        assert sum(i in marks for i in encode_prompts(tokenizer, [STORY])[0]) == speakers, name


def test_evaluate_gives_one_json_object_of_the_promised_shape(world, capsys):
    assert run("evaluate", "--models", "base,sft", "--n", "2", "--json") == 0
    found = json.loads(
        capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    assert (found["split"], found["n"], list(found["models"])) == ("heldout", 20, ["base", "sft"])
    scores = found["models"]["sft"]["overall"]
    assert scores.keys() == {"relevance", "accuracy", "clarity", "utility", "ended", "fulfils"}
    assert set(found["models"]["sft"]["families"]) == {"story", "email", "poem", "code", "maths"}
    mean, low, high = scores["clarity"]
    assert 0 <= low <= mean <= high <= 1
    assert found["win_rates"][0].keys() == {"model", "against", "rate"}


def test_evaluate_prints_a_table(world, capsys):
    assert run("evaluate", "--models", "sft", "--split", "validation", "--n", "1") == 0
    said = capsys.readouterr().out
    assert (
        "10 answers a model to validation prompts" in said and "fulfils" in said and "maths" in said
    )


def test_diagnose_exits_with_1_where_a_stage_failed(world, capsys):
    assert run("diagnose", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == "base"
    assert run("diagnose") == 1
    assert "FAILED" in capsys.readouterr().out


def test_text_for_a_terminal_holds_nothing_that_a_terminal_obeys():
    said = terminal.side_by_side("p\x1b[2J", {"sft": ["a\x07b", "", "  two\n  lines"]})
    assert "\x1b" not in said and "\x07" not in said
    assert "ended at once" in said and "        lines" in said


def test_json_has_null_for_what_is_not_finite():
    assert json.loads(data.to_json({"a": [float("nan"), (float("inf"), 1.5)], "b": "ä"})) == {
        "a": [None, [None, 1.5]],
        "b": "ä",
    }


def test_data_build_writes_where_it_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "SCRAPS", 300)
    monkeypatch.setattr(data, "corpus_hash", lambda: "none")
    assert run("data", "build", "--folder", str(tmp_path / "new")) == 0
    assert "demonstrations.jsonl" in capsys.readouterr().out
    assert len(list(data.lines_of(tmp_path / "new" / "corpus_sample.jsonl"))) == 200


@pytest.fixture
def small_recipes(world, monkeypatch):
    """Recipes of a few steps each, for models of one layer."""
    monkeypatch.setattr(recipes, "VOCABULARY", 300)
    monkeypatch.setattr(
        recipes, "toy_config", lambda size, *_: toy_config(size, 1, width=16, heads=2, mlp=32)
    )
    monkeypatch.setattr(recipes, "scraps", lambda n, seed=0: corpus.scraps(min(n, 300), seed))
    monkeypatch.setattr(data, "corpus_hash", lambda: "none")
    monkeypatch.setattr(
        recipes, "make_comparisons", lambda *arguments, **options: tiny.comparisons()
    )
    monkeypatch.setattr(
        recipes,
        "make_base",
        partial(recipes.make_base, config=PretrainConfig(steps=3, batch_size=2, context=32)),
    )
    monkeypatch.setattr(recipes, "make_sft", partial(recipes.make_sft, config=SFTConfig(epochs=1)))
    for name in ("make_first_reward", "make_reward"):
        make = partial(getattr(recipes, name), config=RewardConfig(epochs=1))
        monkeypatch.setattr(recipes, name, make)
    few = PPOConfig(steps=2, batch_size=8, critic_warmup=1, max_new_tokens=8)
    for name in ("make_first", "make_ppo"):
        monkeypatch.setattr(recipes, name, partial(getattr(recipes, name), config=few))
    return world


def test_course_trains_everything_resumes_what_is_there_and_compares(small_recipes, capsys):
    assert run("course") == 0
    said = capsys.readouterr().out
    assert "Step 6 of 6" in said and "minutes" in said and "True utility by family" in said
    assert all(f"> {prompt}" in said for prompt in ARTICLE_PROMPTS)
    names = {path.relative_to(small_recipes).as_posix() for path in small_recipes.rglob("*")}
    assert {
        "base/card.json",
        "sft/card.json",
        "first/card.json",
        "first_reward/card.json",
        "reward/card.json",
        "ppo/card.json",
        "ppo.run/metrics.jsonl",
        "evaluation.json",
        "before_after.txt",
        "figures/4_ppo.png",
        "figures/5_before_after.png",
    } <= names
    assert not [name for name in names if name.endswith("state.pt")]
    before = load_card(small_recipes / "base")

    assert run("course") == 0
    assert capsys.readouterr().out.count("Finished before") == 6

    (small_recipes / "reward" / "card.json").touch()  # a new reward model: only PPO is out of date
    assert run("course") == 0
    assert capsys.readouterr().out.count("Finished before") == 5
    assert load_card(small_recipes / "base") == before


def test_a_course_with_a_large_model_has_a_folder_of_its_own(small_recipes, monkeypatch, capsys):
    few = {"base": PretrainConfig(steps=3, batch_size=2, context=32), "sft": SFTConfig(epochs=1)}
    few |= dict.fromkeys(["first_reward", "reward"], RewardConfig(epochs=1))
    ppo = PPOConfig(steps=2, batch_size=8, critic_warmup=1, max_new_tokens=8, seed=3)
    monkeypatch.setattr(course, "LARGE", few | dict.fromkeys(["first", "ppo"], ppo))
    assert run("course", "--preset", "gpu") == 0
    assert f"into {small_recipes / 'gpu'}" in capsys.readouterr().out
    assert load_card(small_recipes / "gpu" / "ppo")["config"]["seed"] == 3
    assert not (small_recipes / "ppo").exists()


def test_the_large_model_is_ten_times_larger():
    def parameters(config: PretrainConfig) -> int:
        shape = toy_config(recipes.VOCABULARY, config.layers, config.width)
        return new_model(shape).num_parameters()

    assert parameters(PRETRAIN) == 1_049_728
    assert 10 < parameters(LARGE["base"]) / parameters(PRETRAIN) < 13
    assert LARGE.keys() == COURSE.keys()


@pytest.mark.parametrize("width", [100, 33, 16, 66, 48])
def test_a_width_that_heads_cannot_share_is_refused(world, capsys, width):
    assert run("pretrain", "--width", str(width)) == 2
    assert f"width {width} is no multiple of 32" in capsys.readouterr().err


def test_a_head_that_cannot_turn_pairs_is_refused():
    with pytest.raises(ValueError, match="no multiple of 4"):
        toy_config(300, width=66, heads=2)


def test_a_device_that_is_not_there_is_named_in_one_line():
    found = subprocess.run(
        [sys.executable, "-m", "rlhf_lessons", "ask", "Hi", "--models", "sft"],
        env=os.environ | {"RLHF_LESSONS_DEVICE": "abacus"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2
    assert "RLHF_LESSONS_DEVICE is abacus, but" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_stage_takes_flags_and_foreign_data_and_its_model_is_told_of(world, tmp_path, capsys):
    rows = tmp_path / "mine.jsonl"
    data.write_rows(rows, [{"prompt": "Say hi.", "completion": "hi"}] * 4)
    out = tmp_path / "models" / "mine"
    assert (
        run(
            "sft",
            "--epochs",
            "1",
            "--batch-size",
            "2",
            "--demonstrations",
            str(rows),
            "--out",
            str(out),
        )
        == 0
    )
    card = load_card(out)
    assert (
        card["config"]["epochs"],
        card["config"]["batch_size"],
        card["measured"]["demonstrations"],
    ) == (1, 2, 4)
    said = capsys.readouterr().out
    assert "base: the shipped model." in said and f"Finished: {out}" in said
    assert checkpoints.choose("sft")[0] == checkpoints.shipped(
        "sft"
    )  # elsewhere is nobody's default


def test_bad_rows_stop_a_command_or_are_left_out_on_request(world, tmp_path, capsys):
    good, bad = {"prompt": "Say hi.", "completion": "hi"}, {"prompt": "Say hi.", "completion": ""}
    data.write_rows(tmp_path / "mine.jsonl", [good, good, bad])
    command = ("sft", "--epochs", "1", "--demonstrations", str(tmp_path / "mine.jsonl"))
    assert run(*command) == 2
    assert "row 3: the field 'completion' is empty" in capsys.readouterr().err
    assert run(*command, "--skip-bad-rows") == 0
    assert "1 of 3 rows left out" in capsys.readouterr().out
    assert load_card(world / "sft")["measured"]["demonstrations"] == 2


def test_a_folder_that_holds_something_else_is_left_alone(world, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"\xff")
    assert run("sft", "--out", str(tmp_path / "photos")) == 2
    assert "--out" in capsys.readouterr().err
    assert (tmp_path / "photos" / "holiday.jpg").is_file()


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(world, monkeypatch, capsys):
    train_step = SFT.train_step

    def pressed(self, step):
        if step == 1:
            signal.raise_signal(signal.SIGINT)
        return train_step(self, step)

    monkeypatch.setattr(SFT, "train_step", pressed)
    assert run("sft", "--epochs", "1") == 130
    assert "continues from there" in capsys.readouterr().err
    assert not (world / "sft").exists() and (world / "sft.run" / "state.pt").is_file()


def test_a_loss_that_is_no_number_exits_with_1(world, capsys):
    assert run("sft", "--lr", "1e30", "--epochs", "1", "--warmup", "1") == 1
    said = capsys.readouterr().err
    assert "step" in said and "Traceback" not in said
    assert not (world / "sft").exists()


def test_a_damaged_model_is_named(world, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "DATA", tiny.small_data(tmp_path / "damaged"))
    tiny.checkpoints(tmp_path / "damaged" / "checkpoints")
    (tmp_path / "damaged" / "checkpoints" / "ppo" / "model.safetensors").write_bytes(b"oops")
    assert run("ask", STORY, "--json") == 2
    said = capsys.readouterr()
    assert said.out == "" and "damaged or truncated" in said.err


def test_a_fault_of_ours_is_not_hidden(world, monkeypatch):
    monkeypatch.setattr(asking, "out_of_world_notice", lambda prompt: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("ask", STORY, "--n", "1")


def test_as_a_program_it_keeps_stdout_pure_and_returns_its_code(shipped, tmp_path):
    shutil.copytree(shipped, tmp_path / "data")
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RLHF_LESSONS_DATA": str(tmp_path / "data"),
        "RLHF_LESSONS_RUNS": str(tmp_path / "runs"),
    }
    found = subprocess.run(
        [sys.executable, "-m", "rlhf_lessons", "ask", STORY, "--json"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["samples"].keys() == {"base", "sft", "ppo"}
    wrong = subprocess.run(
        [sys.executable, "-m", "rlhf_lessons", "fly"], env=env, capture_output=True, text=True
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
