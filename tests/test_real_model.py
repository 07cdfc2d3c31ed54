"""The benchmark of lesson 8: what it counts as learned, its rivals, its tables."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rlhf_lessons import data
from rlhf_lessons.lm.sampling import Samples
from rlhf_lessons.world.everyday import TASTES

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import real_model

    return real_model


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import real_model_table

    return real_model_table


def row(hits: list[bool], seed=1, method="PPO", nats=4.0, logratio=1.0, each=2) -> dict:
    """A result of which `hits` say which answers are short; each has two tokens."""
    answers = [
        {"text": "one two three", "ended": hit, "nats": nats, "tokens": 2, "logratio": logratio}
        for hit in hits
    ]
    found = {"split": "heldout", "taste": "short", "seed": seed, "method": method}
    return found | {"each": each, "answers": answers}


BEFORE = [row([False, False, False, True], seed, "untouched", 2.0, 0.0) for seed in (1, 2)]


def test_a_summary_is_over_all_answers(table):
    found = table.summary([row([True, True, False, False]), row([True, False, False, False])])
    assert found["share"] == 3 / 8
    assert found["perplexity"] == pytest.approx(np.exp(2))
    assert (found["kl"], found["words"]) == (1, 3)


def test_the_numbers_of_a_list_are_no_words(table):
    assert table.words("1. Wash it. 2. 3rd 4. 5.") == 3


def test_answers_are_grouped_by_prompt_for_the_intervals(table):
    share = table.arrays([row([True, True, False, False], seed) for seed in (1, 2)])["share"]
    assert share.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("second", "passes"),
    [
        ({"nats": 2.8}, True),  # a ratio of exp(0.4) = 1.49
        ({"nats": 2.9}, False),  # exp(0.45) = 1.57
        ({"logratio": 20.0, "nats": 2.0}, True),
        ({"logratio": 20.1, "nats": 2.0}, False),
        ({"hits": [True, False, False, True], "nats": 2.0}, False),  # 25 points
    ],
)
def test_each_seed_must_meet_all_three_conditions(table, second, passes):
    hits = second.pop("hits", [True, True, True, False])
    rows = [row([True] * 4, nats=2.0), row(hits, seed=2, **second)]
    assert table.learned(rows, BEFORE) is passes


def test_the_table_marks_what_is_learned_and_has_intervals(table):
    rows = [*BEFORE, row([True] * 4, nats=2.0), row([True] * 4, 2, nats=2.0)]
    page = table.tables(rows)
    assert "| short | PPO | 100% (100% to 100%) | 1.0 (1.0 to 1.0) |" in page
    assert page.count("✓ |") == 1
    assert "| short | untouched | 25% (0% to 50%) |" in page


def samples(texts: list[str]) -> Samples:
    some = torch.zeros(len(texts), 1)
    ended = torch.zeros(len(texts), dtype=torch.bool)
    return Samples(texts, some, some, 0, some, some, ended, 1)


def test_a_first_sentence_ends_at_its_full_stop_and_nowhere_else(benchmark):
    texts = ["It is 3.5 m. And more", "Why? Because.", "no end here", "Line\nbreak! x"]
    found = benchmark.first_sentences(samples(texts))
    assert found.texts == ["It is 3.5 m.", "Why?", "no end here", "Line\nbreak!"]
    assert found.ended.tolist() == [True, True, False, True]


def test_best_of_n_takes_the_highest_reward_of_each_prompt(benchmark):
    texts = [str(i) for i in range(16)]
    rewards = torch.zeros(16)
    rewards[[3, 9]] = 1.0
    assert benchmark.best_of(samples(texts), rewards).texts == ["3", "9"]


def test_agreement_counts_plain_pairs_apart_and_leaves_out_close_ones(benchmark, monkeypatch):
    texts = ["a b c", "a b c d e f g h i j k l", "a b c", "x"]
    models = ["plain", "plain", "asked", "asked"]
    answers = [{"text": text, "ended": True, "model": model} for text, model in zip(texts, models)]
    rewards = torch.tensor([1.0, 0.0, 1.0, 2.0])  # wrong about "x", which says too little
    monkeypatch.setattr(benchmark, "score", lambda *_: rewards)
    found = benchmark.agreement(None, None, [{"prompt": "p", "completions": answers}], "short")
    assert found == {"plain": [1, 1], "all": [2, 5]}


def test_sft_learns_one_answer_of_each_ranking(benchmark, monkeypatch):
    run = benchmark.Run.__new__(benchmark.Run)
    completions = [
        {"text": name, "ended": True, "model": name[:5]} for name in ("plain1", "asked1", "plain2")
    ]
    run.rows = [{"prompt": "p", "completions": completions}] * 2
    vote = {"completions": ["plain1", "asked1", "plain2"], "ended": [True, False, True]}
    run.votes = [vote | {"ranks": [1, 1, 0]}, vote | {"ranks": [0, 0, 0]}]
    run.chance = SimpleNamespace(choice=lambda places: places[-1])
    found = {}
    monkeypatch.setattr(
        run, "train_with", lambda name, kind, _: found.update({name: kind.keywords}), raising=False
    )
    run.sft()
    chosen = {
        name: [(each["completion"], each["ended"]) for each in one["demonstrations"]]
        for name, one in found.items()
    }
    assert chosen == {
        "SFT on asked answers": [("asked1", False)] * 2,
        "SFT on any answers": [("plain2", True)] * 2,
        "SFT on the best": [("plain2", True)],  # where all are tied, none is best
    }


def test_the_shipped_page_is_made_from_the_shipped_rows(table):
    results = ROOT / "data" / "results" / "real_model.jsonl"
    page = results.with_suffix(".md").read_text(encoding="utf-8")
    rows = data.json_rows(results)
    assert table.tables(rows) == page
    assert {(row["taste"], row["seed"]) for row in rows} == {
        (taste, seed) for taste in TASTES for seed in (1, 2, 3, 4)
    }
