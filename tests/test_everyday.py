"""Everyday prompts, readers with a taste, and how far a policy has gone: what lesson 8 measures."""

import math
import random

import pytest
import torch

from rlhf_lessons.evaluation.distance import kl_from, perplexity
from rlhf_lessons.feedback.pairs import plain_and_asked
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.lm.sampling import generate, logprobs_of, pad
from rlhf_lessons.lm.tokenizer import encode_prompts
from rlhf_lessons.world.everyday import TASTES, Reader, prompts_of, shows

SPLITS = ("train", "validation", "heldout")


def test_the_splits_hold_the_articles_prompts_and_no_prompt_twice():
    train, validation, heldout = map(prompts_of, SPLITS)
    assert (len(train), len(validation), len(heldout)) == (104, 24, 32)
    assert len(set(train + validation + heldout)) == 160
    assert train[1] == "What is 4-2 and 3-1?" and "Annabelle" in train[0]


@pytest.mark.parametrize(
    "text, speaks",
    [("You can.", True), ("Is it YOUR hat?", True), ("by yourself", True), ("Young yous", False)],
)
def test_an_answer_speaks_to_its_reader_with_a_whole_word(text, speaks):
    assert shows("to you", text, ended=False) == speaks


@pytest.mark.parametrize(
    "words, ended, other, other_ended",
    [
        (20, True, 30, False),
        (12, True, 20, True),
        (30, True, 30, False),
        (12, False, 30, False),
    ],
)
def test_a_reader_of_short_answers_likes_an_end_and_few_words(words, ended, other, other_ended):
    reader, rng = Reader(taste="short", flip_rate=0.0), random.Random(0)
    answers = [("word " * other, other_ended), ("word " * words, ended)]
    assert reader.rank("whatever", answers, rng) == [1, 0]


def test_what_a_reader_hardly_tells_apart_is_a_tie():
    answers = [("one two three", True), ("one two", True)]
    assert Reader(taste="short").rank("whatever", answers, random.Random(0)) == [0, 0]
    assert Reader(taste="to you").rank("whatever", answers, random.Random(0)) == [0, 0]


def test_a_reader_turns_every_tenth_comparison_round():
    answers, rng = [("You.", True), ("It.", True)], random.Random(1)
    ranks = [Reader(taste="to you").rank("", answers, rng) for _ in range(2000)]
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
    wished = [f"{prompt} {TASTES['short']}" for prompt in prompts for _ in range(2)]
    asked = generate(llama, tokenizer, wished, seed=4, **settings)
    for n, row in enumerate(rows):
        assert (row["kind"], row["prompt"]) == ("ranking", prompts[n])
        assert [one["model"] for one in row["completions"]] == ["plain"] * 2 + ["asked"] * 2
        assert [one["text"] for one in row["completions"][2:]] == asked.texts[2 * n : 2 * n + 2]
        ended = asked.ended[2 * n : 2 * n + 2].tolist()
        assert [one["ended"] for one in row["completions"][2:]] == ended


def test_distance_is_measured_on_the_answers_tokens_alone(any_model, llama, tokenizer):
    """By hand: each answer by itself, without padding."""
    prompts = ["anna", "Write about the castle and a dragon."]
    samples = generate(llama, tokenizer, prompts, 7, 0.7, seed=2)
    policy = theirs = surprise = tokens = 0.0
    for n, prompt in enumerate(encode_prompts(tokenizer, prompts)):
        answer = samples.tokens[n][samples.response_mask[n]].tolist()
        for model, temperature in ((llama, 0.7), (any_model, 0.7), (any_model, 1.0)):
            suppressed = [0, 1, 3, 4]  # all special tokens but the end
            row = pad([prompt + answer], 0)
            with torch.no_grad():
                found = logprobs_of(model, *row, temperature, suppressed)[0, -len(answer) :].sum()
            if temperature == 1.0:
                surprise -= found.item()
            elif model is llama:
                policy += found.item()
            else:
                theirs += found.item()
        tokens += len(answer)
    wanted = (policy - theirs) / 2
    assert kl_from(any_model, tokenizer, samples, 0.7) == pytest.approx(wanted, abs=1e-3)
    assert perplexity(any_model, tokenizer, samples) == pytest.approx(
        math.exp(surprise / tokens), rel=1e-4
    )
