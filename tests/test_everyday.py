"""Everyday prompts, readers with a taste, and how far a policy has gone: what lesson 8 measures."""

import math
import random

import pytest
import torch
from tiny_models import tiny_llama

from rlhf_lessons.data import everyday_prompts
from rlhf_lessons.evaluation import distance
from rlhf_lessons.evaluation.distance import kl_from, perplexity
from rlhf_lessons.feedback.pairs import plain_and_asked
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.lm.sampling import generate, logprobs_of, pad
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.world.everyday import TASTES, Reader, shows

SPLITS = ("train", "validation", "heldout")


def test_the_splits_hold_the_articles_prompts_and_no_prompt_twice():
    train, validation, heldout = map(everyday_prompts, SPLITS)
    assert (len(train), len(validation), len(heldout)) == (104, 24, 32)
    assert len(set(train + validation + heldout)) == 160
    assert train[1] == "What is 4-2 and 3-1?" and "Annabelle" in train[0]


@pytest.mark.parametrize(
    "text, listed",
    [
        ("1. Wash it.\n2. Dry it.", True),
        ("Here you are:\n\n- **Nuts**\n- bread", True),
        (" * one\n• another", True),
        ("1) one\n2) two", True),
        ("- a single point", False),
        ("1. Wash it. 2. Dry it.", False),
        ("-5 degrees\n-6 at night", False),
        ("1.\n2.\n", False),
        ("3.5 m\n4.5 m", False),
    ],
)
def test_two_lines_that_are_points_make_a_list(text, listed):
    assert shows("points", text, ended=False) == listed


@pytest.mark.parametrize(
    "words, ended, other, other_ended",
    [
        (20, True, 30, False),
        (12, True, 20, True),
        (30, True, 30, False),
        (30, True, 0, True),
    ],
)
def test_a_reader_of_short_answers_likes_an_end_and_few_words(words, ended, other, other_ended):
    reader, rng = Reader(taste="short", flip_rate=0.0), random.Random(0)
    answers = [("word " * other, other_ended), ("word " * words, ended)]
    assert reader.rank("whatever", answers, rng) == [1, 0]


def test_what_a_reader_hardly_tells_apart_is_a_tie():
    answers = [("one two three", True), ("one two three four", True)]
    assert Reader(taste="short").rank("whatever", answers, random.Random(0)) == [0, 0]
    assert Reader(taste="points").rank("whatever", answers, random.Random(0)) == [0, 0]


def test_a_reader_turns_every_tenth_comparison_round():
    answers, rng = [("- a\n- b", True), ("It.", True)], random.Random(1)
    ranks = [Reader(taste="points").rank("", answers, rng) for _ in range(2000)]
    assert sum(rank == [1, 0] for rank in ranks) / 2000 == pytest.approx(0.1, abs=0.02)


def test_a_reader_ranks_in_the_store_what_no_judge_knows(store):
    answers = [{"text": "word " * n, "ended": n < 30} for n in (30, 8, 18)]
    store.add_tasks("r", [{"kind": "ranking", "prompt": "Why?", "completions": answers}])
    helper = simulate(store, "r", Reader(taste="short", flip_rate=0.0))
    (row,) = store.answers("r", rater=helper)
    ranks = dict(
        zip((len(each["text"].split()) for each in row["answers"]), row["payload"]["ranks"])
    )
    assert ranks == {8: 1, 18: 2, 30: 3}


def test_two_of_four_answers_are_to_the_prompt_with_the_wish_after_it(llama, tokenizer):
    prompts = ["Write about anna.", "found a dragon"]
    settings = {"max_new_tokens": 5, "temperature": 0.7}
    rows = plain_and_asked(llama, tokenizer, prompts, TASTES["short"], seed=3, **settings)
    plain = generate(llama, tokenizer, [p for p in prompts for _ in range(2)], seed=3, **settings)
    wished = [f"{prompt} {TASTES['short']}" for prompt in prompts for _ in range(2)]
    asked = generate(llama, tokenizer, wished, seed=4, **settings)
    for n, row in enumerate(rows):
        assert (row["kind"], row["prompt"]) == ("ranking", prompts[n])
        assert [one["model"] for one in row["completions"]] == ["plain"] * 2 + ["asked"] * 2
        texts = plain.texts[2 * n : 2 * n + 2] + asked.texts[2 * n : 2 * n + 2]
        assert [one["text"] for one in row["completions"]] == texts
        ended = asked.ended[2 * n : 2 * n + 2].tolist()
        assert [one["ended"] for one in row["completions"][2:]] == ended


def by_hand(model, rows, temperature=1.0, suppressed=()) -> float:
    """The log-probability of answers, each by itself and without padding."""
    total = 0.0
    for prompt, answer in rows:
        with torch.no_grad():
            found = logprobs_of(model, *pad([prompt + answer], 0), temperature, suppressed)
        total += found[0, -len(answer) :].sum().item()
    return total


PROMPTS = ["anna", "Write about the castle and a dragon.", "with"]


def test_the_kl_is_the_mean_log_ratio_of_the_answers_at_their_temperature(any_model, tokenizer):
    policy = tiny_llama(tokenizer, seed=1)
    samples = generate(policy, tokenizer, PROMPTS, 7, 0.7, seed=2)
    answers = [row[mask].tolist() for row, mask in zip(samples.tokens, samples.response_mask)]
    rows = list(zip(encode_prompts(tokenizer, PROMPTS), answers))
    ours, theirs = (by_hand(model, rows, 0.7, [0, 1, 3, 4]) for model in (policy, any_model))
    found = kl_from(any_model, tokenizer, samples, 0.7)
    assert found == pytest.approx((ours - theirs) / 3, abs=1e-3) and abs(found) > 0.1
    assert kl_from(policy, tokenizer, samples, 0.7) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("rows", [16, 1])
def test_perplexity_is_over_all_tokens_of_the_answers_and_no_others(
    any_model, tokenizer, rows, monkeypatch
):
    monkeypatch.setattr(distance, "ROWS", rows)
    texts, ended = ["found a dragon with anna", "the", "walked walked"], [True, False, True]
    answers = encode_completions(tokenizer, texts, ended)
    pairs = list(zip(encode_prompts(tokenizer, PROMPTS), answers))
    wanted = math.exp(-by_hand(any_model, pairs) / sum(map(len, answers)))
    found = perplexity(any_model, tokenizer, PROMPTS, texts, ended)
    assert found == pytest.approx(wanted, rel=1e-4)
