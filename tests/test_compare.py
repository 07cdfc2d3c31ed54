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
from rlhf_lessons.lm.sampling import generate, logprobs_of
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
    for name, value in {"POOL": 8, "RUNGS": (1, 4), "POINTS": 2, "BEST_OF": 2}.items():
        monkeypatch.setattr(compare, name, value)
    return tmp_path


def test_every_method_is_trained_measured_and_kept(small, capsys):
    methods = ",".join(compare.METHODS)
    assert main(["compare", "--methods", methods, "--seeds", "2"]) == 0
    said = capsys.readouterr().out
    assert all(line.split()[0] in compare.METHODS for line in said.splitlines()[2:] if line.strip())
    file = small / "runs" / "compare" / "validation.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {(row["method"], row["seed"]) for row in rows} == {
        (method, seed) for method in compare.METHODS for seed in (0, 1)
    }
    for row in rows:
        assert len(row["utility"]) == len(row["fulfils"]) == 3 and row["config"]
        if row["method"] == "bon":
            assert 0 <= row["kl"] <= kl_bound(row["step"]) + 1e-6
    models = small / "runs" / "compare" / "validation" / "seed1"
    assert all((models / method / "card.json").is_file() for method in compare.METHODS[:-2])
    assert read_metrics(models / "rloo.run")[-1]["seconds"] > 0


def test_what_is_there_is_not_made_again(small, monkeypatch):
    main(["compare", "--methods", "rloo", "--seeds", "1"])
    monkeypatch.setattr(compare, "trained", None)
    assert main(["compare", "--methods", "rloo", "--seeds", "1"]) == 0


def test_an_unknown_method_is_named_before_anything_is_loaded(small, capsys):
    assert main(["compare", "--methods", "ppo,pqo", "--seeds", "1"]) == 2
    assert "there is no method 'pqo'" in capsys.readouterr().err


def test_chains_give_each_seed_its_own_models_and_votes(small):
    chains = small / "chains"
    for seed in (0, 1):
        for name in ("sft", "reward"):
            tiny.checkpoint(chains / f"seed{seed}" / name, seed=seed)
    run = chains / "seed1" / "reward.run"
    data.write_rows(run / "comparisons_4_seed1_x.jsonl", tiny.comparisons(4))
    one, other = (compare.starts(2, "validation", chains)[seed]() for seed in (0, 1))
    assert len(other.comparisons()) == 4
    with pytest.raises(data.DataError, match="holds no comparisons"):
        one.comparisons()
    weights = [next(start.sft.parameters()) for start in (one, other)]
    assert not torch.equal(*weights)


def test_the_kl_is_the_mean_log_ratio_of_what_was_sampled(tokenizer):
    policy, reference = tiny_llama(tokenizer), tiny_llama(tokenizer, seed=1)
    samples = generate(policy, tokenizer, ["a", "Write about anna.", "b"], 6, seed=3)
    suppressed = compare.suppressed_ids(policy, tokenizer)
    totals = []
    for model in (policy, reference):
        found = logprobs_of(model, samples.ids, samples.attention_mask, suppressed=suppressed)
        places = found[:, samples.context_length - 1 :]
        totals.append(places.masked_fill(~samples.response_mask, 0.0).sum(1))
    right = (totals[0] - totals[1]).mean().item()
    assert compare.kl_from(reference, tokenizer, samples) == pytest.approx(right, abs=1e-3)
    assert compare.kl_from(policy, tokenizer, samples) == pytest.approx(0, abs=1e-4)


def row(step, seconds, kl, utility):
    return {
        "step": step,
        "seconds": seconds,
        "kl": kl,
        "utility": [utility] * 3,
        "fulfils": [utility / 2] * 3,
    }


RUN = [row(1, 10.0, 1.0, 0.4), row(2, 20.0, 3.0, 0.8)]


def test_between_two_measurements_lies_a_straight_line():
    assert compare.at(RUN, "kl", 2.0) == pytest.approx(0.6)
    assert compare.at(RUN, "seconds", 20.0) == pytest.approx(0.8)
    assert compare.at(RUN, "kl", 4.0) is None


def test_the_summary_pairs_methods_by_seed():
    slow = [row(1, 30.0, 1.0, 0.5), row(2, 60.0, 2.0, 0.7)]
    found = compare.summary({"ppo": {0: RUN}, "dpo": {0: slow}})
    assert found["ppo"]["utility"] == [0.8] and found["dpo"]["utility at 2 nats"] == [0.7]
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


def test_a_verified_answer_earns_more(tokenizer):
    from rlhf_lessons.lm.models import to_reward_model
    from rlhf_lessons.stages.reward import score

    model = to_reward_model(tiny_llama(tokenizer))
    sums = ARTICLE_PROMPTS[1]
    texts = ["4-2 is 2, and 3-1 is 2.", "4-2 is 2."]
    plain = score(model, tokenizer, [sums] * 2, texts)
    both = recipes.with_verified(model, tokenizer, 3.0)([sums] * 2, texts, [True, True])
    np.testing.assert_allclose(both - plain, [3.0, 0.0], atol=1e-6)
