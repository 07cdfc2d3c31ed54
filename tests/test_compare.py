"""Comparing methods: all begin alike, what is there is not made again, and figures are paired."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from tiny_models import tiny_llama

from rlhf_lessons import data, paths, recipes
from rlhf_lessons.cli import main
from rlhf_lessons.evaluation.best_of_n import kl_bound
from rlhf_lessons.reports import compare
from rlhf_lessons.reports.terminal import compared_table
from rlhf_lessons.stages import config as settings
from rlhf_lessons.stages.run import read_metrics
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Untrained models as the shipped ones, and settings of seconds."""
    folder = tiny.small_data(tmp_path / "data")
    tiny.checkpoints(folder / "checkpoints")
    data.write_rows(folder / "comparisons.jsonl", tiny.comparisons())
    monkeypatch.setattr(paths, "DATA", folder)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    few = {"steps": 2, "batch_size": 8, "num_minibatches": 2, "max_new_tokens": 6}
    for name, (stage, config) in list(compare.ON_POLICY.items()):
        groups = {} if name == "ppo" else {"group_size": 4}
        monkeypatch.setitem(compare.ON_POLICY, name, (stage, replace(config, **few, **groups)))
    monkeypatch.setattr(settings, "DPO_RECIPE", settings.DPOConfig(batch_size=8))
    monkeypatch.setattr(settings, "SFT_RECIPE", settings.SFTConfig(epochs=1))
    for name, value in {
        "POOL": 8,
        "RUNGS": (1, 4),
        "POINTS": 2,
        "BEST_OF": 2,
        "TRIES": 2,
        "WARM_STEPS": 2,
    }.items():
        monkeypatch.setattr(compare, name, value)
    return tmp_path


def rows_of(small, seed: int, method: str) -> list[dict]:
    (file,) = (small / "runs" / "compare" / "validation").glob(f"seed{seed}_*/{method}.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_every_method_is_trained_measured_and_kept(small, capsys, monkeypatch):
    # An untrained model never does what is asked: here any answer that says something is right.
    def said(prompts, texts, ended):
        return torch.tensor([bool(text.strip()) for text in texts]).float()

    monkeypatch.setattr(recipes, "verified_reward", said)
    methods = ", ".join(compare.METHODS)
    assert main(["compare", "--methods", methods, "--seeds", "2"]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {line[0] for line in said if line} >= set(compare.METHODS)
    for method in compare.METHODS:
        rows = rows_of(small, 1, method)
        assert len(rows) >= 2 and all(row["config"] and row["seed"] == 1 for row in rows)
        for row in rows:
            assert len(row["utility"]) == len(row["fulfils"]) == 3
        if method == "bon":
            assert all(0 <= row["kl"] <= kl_bound(row["step"]) + 1e-6 for row in rows)
            continue
        seconds = [row["seconds"] for row in rows]
        assert seconds == sorted(seconds) and rows[0]["kl"] == pytest.approx(0, abs=1e-3)
        (card,) = small.glob(f"runs/compare/validation/seed1_*/{method}/card.json")
        assert json.loads(card.read_text(encoding="utf-8"))["stage"] == method


def test_what_is_there_is_made_again_for_other_settings_only(small, monkeypatch):
    main(["compare", "--methods", "rloo", "--seeds", "1"])
    made = []
    monkeypatch.setattr(
        compare, "trained", lambda method, *_: made.append(method) or [row(1, 1, 1, 1)]
    )
    main(["compare", "--methods", "rloo", "--seeds", "1"])
    assert not made
    stage, config = compare.ON_POLICY["rloo"]
    monkeypatch.setitem(compare.ON_POLICY, "rloo", (stage, replace(config, lr=1e-5)))
    main(["compare", "--methods", "rloo", "--seeds", "1"])
    assert made == ["rloo"]


def test_a_stopped_run_continues_and_its_seconds_too(small, monkeypatch):
    plain = compare.measured
    monkeypatch.setattr(compare, "POINTS", 1)
    monkeypatch.setattr("rlhf_lessons.stages.run.SAVE_SECONDS", 0)
    monkeypatch.setattr(compare, "measured", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["compare", "--methods", "rloo", "--seeds", "1"]) == 130
    monkeypatch.setattr(compare, "measured", plain)
    assert main(["compare", "--methods", "rloo", "--seeds", "1"]) == 0
    (state,) = small.glob("runs/compare/validation/seed0_*/rloo.run")
    seconds = [step["seconds"] for step in read_metrics(state)]
    assert len(seconds) == 2 and seconds == sorted(seconds)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "ppo,pqo"], "there is no method 'pqo'"),
        (["--seeds", "0"], "seeds must be 1 or more"),
        (["--chains", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_trained(small, capsys, arguments, words):
    assert main(["compare", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_chains_give_each_seed_its_own_models_and_votes(small):
    chains = small / "chains"
    for seed in (0, 1):
        for name in ("sft", "reward"):
            tiny.checkpoint(chains / f"seed{seed}" / name, seed=seed)
    with pytest.raises(data.DataError, match="holds no comparisons"):
        compare.chains_of(2, chains, ["rloo", "dpo"])
    for seed in (0, 1):
        run = chains / f"seed{seed}" / "reward.run"
        data.write_rows(run / f"comparisons_{seed}.jsonl", tiny.comparisons(4 + seed))
    one, other = compare.chains_of(2, chains, ["dpo"])
    assert one.name != other.name
    starts = [chain.load(["a"]) for chain in (one, other)]
    assert [len(start.comparisons()) for start in starts] == [4, 5]
    assert not torch.equal(*(next(start.sft.parameters()) for start in starts))


def row(step, seconds, kl, utility):
    return {
        "step": step,
        "seconds": seconds,
        "kl": kl,
        "utility": [utility] * 3,
        "fulfils": [utility / 2] * 3,
    }


RUN = [row(1, 10.0, 1.0, 0.4), row(2, 20.0, 3.0, 0.8)]


def test_a_run_that_comes_back_counts_with_the_best_it_has_within_the_distance():
    assert compare.within([*RUN, row(3, 30.0, 1.0, 0.9)], "kl", 2.0) == pytest.approx(0.9)
    assert compare.within([*RUN, row(3, 30.0, 1.0, 0.2)], "kl", 2.0) == pytest.approx(0.6)


def test_what_was_not_measured_is_not_read():
    free = [one | {"seconds": None} for one in RUN]
    assert compare.within(free, "seconds", 15.0) is None


def test_between_two_measurements_lies_a_straight_line():
    assert compare.within(RUN, "kl", 2.0) == pytest.approx(0.6)
    assert compare.within(RUN, "seconds", 20.0) == pytest.approx(0.8)
    assert compare.within(RUN, "kl", 4.0) == pytest.approx(0.8), "it ends before"
    assert compare.within(RUN, "kl", 0.5) is None


def test_the_summary_pairs_methods_by_seed():
    slow = [row(1, 30.0, 1.0, 0.5), row(2, 60.0, 2.0, 0.7)]
    found = compare.summary({"ppo": {0: RUN}, "dpo": {0: slow}})
    assert found["ppo"]["utility"] == [0.8] and found["dpo"]["utility within 2 nats"] == [0.7]
    assert found["dpo"]["seconds to PPO's utility"] == [None]
    assert found["ppo"]["seconds to PPO's utility"] == [20.0]
    text = compared_table(found)
    assert "0.80 (0.80 to 0.80)" in text and "-" in text


def test_only_what_a_program_can_check_is_verified():
    story, sums = ARTICLE_PROMPTS
    right = "4-2 is 2, and 3-1 is 2."
    prompts = [sums, sums, sums, story]
    texts = [right, "4-2 is 2.", right, "Princess Anastasia loved a soldier."]
    found = recipes.verified_reward(prompts, texts, [True, True, False, True])
    assert found.tolist() == [1, 0, 0, 0]


def test_a_warm_start_takes_different_right_answers_to_what_a_program_can_check(monkeypatch):
    story, sums = ARTICLE_PROMPTS
    first, second, third = (
        "4-2 is 2, and 3-1 is 2.",
        "4-2 is 2. And 3-1 is 2.",
        "2 and 2: 4-2, 3-1.",
    )
    tries = {
        sums: ["no", first, first, second, third],
        "What is 5-2 and 3-1?": [
            "no",
            "5-2 is 4, and 3-1 is 2.",
            "5-2 is 3, and 3-1 is 2.",
            "",
            "",
        ],
    }
    monkeypatch.setattr(compare, "TRIES", 5)
    monkeypatch.setattr(compare, "KEPT", 2)
    monkeypatch.setattr(compare.data, "prompts_of", lambda split: [story, *tries])

    def answer_all(model, tokenizer, prompts, n, seed):
        assert (prompts, n) == (list(tries), 5)
        return list(tries.values()), [[True] * 5, [True, True, False, True, True]]

    monkeypatch.setattr(compare, "answer_all", answer_all)
    found = compare.right_answers(None, None, seed=0)
    assert found == [{"prompt": sums, "completion": answer} for answer in (first, second)]


def test_where_no_answer_is_right_a_warm_start_is_refused(small, capsys):
    assert main(["compare", "--methods", "warm_verified", "--seeds", "1"]) == 2
    assert "none of 2 answers to any prompt is right" in capsys.readouterr().err


def test_a_verified_answer_earns_more(tokenizer):
    from rlhf_lessons.lm.models import to_reward_model
    from rlhf_lessons.stages.reward import score

    model = to_reward_model(tiny_llama(tokenizer))
    sums = ARTICLE_PROMPTS[1]
    texts = ["4-2 is 2, and 3-1 is 2.", "4-2 is 2."]
    plain = score(model, tokenizer, [sums] * 2, texts)
    both = compare.with_verified(model, tokenizer)([sums] * 2, texts, [True, True])
    np.testing.assert_allclose(both - plain, [compare.WEIGHT, 0.0], atol=1e-6)
