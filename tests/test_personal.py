"""A reader's own reward model: that it finds the optimum, what it learns from which vote, and what
it never learns.
"""

import random

import pytest
import torch
from scipy.optimize import minimize

from rlhf_lessons.evaluation.best_of_n import best_of
from rlhf_lessons.feedback.pairs import answers_by, pairs_to_rate
from rlhf_lessons.feedback.personal import PersonalReward, Vote, ridge_logistic, votes_of
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.stages.reward import score

PROMPT = "Write about a castle"


def vote(left: str, right: str, chance: float, rater: str = "a", prompt: str = PROMPT) -> Vote:
    return Vote(prompt, (left, right), (True, True), chance, rater)


@pytest.fixture
def untrained(llama, tokenizer):
    texts = ["anna walked", "the dragon found a castle", "friends with a princess", "a castle"]
    return PersonalReward(to_reward_model(llama), tokenizer, ([PROMPT] * 4, texts, [True] * 4))


def answer_row(kind: str, payload: dict, texts: list[str]) -> dict:
    """A row as `Store.answers` gives it."""
    answers = [{"text": text, "ended": True, "model": "sft", "reward": None} for text in texts]
    return {
        "kind": kind,
        "payload": payload,
        "answers": answers,
        "prompt": PROMPT,
        "rater": "a",
        "hidden": False,
        "repeat_of": None,
        "source": "random",
    }


def test_the_weights_are_those_that_another_optimiser_finds():
    rng = torch.Generator().manual_seed(0)
    x, offset = torch.randn(30, 6, generator=rng), torch.randn(30, generator=rng)
    target, weight = torch.rand(30, generator=rng), torch.rand(30, generator=rng) + 0.5
    found = ridge_logistic(x, offset, target, weight, ridge=0.3)

    def loss(w):
        z = x.double() @ torch.tensor(w) + offset.double()
        surprise = weight * (torch.logaddexp(z, torch.zeros(30)) - target * z)
        return surprise.sum().item() + 0.15 * float(w @ w)

    truth = minimize(loss, [0.0] * 6, method="BFGS", options={"gtol": 1e-8}).x
    assert torch.allclose(found, torch.tensor(truth, dtype=torch.float32), atol=1e-4)


def test_one_vote_pulls_the_weights_of_the_differing_tokens_only(untrained):
    learned = untrained.fit(
        [vote("the dragon found a castle", "the princess found a castle", 0.95)]
    )
    moved = {
        untrained.tokenizer.decode([i]).strip()
        for i in learned.weights.abs().argsort(descending=True)[:2]
    }
    assert moved == {"dragon", "princess"} and (learned.weights.abs() > 1e-4).sum() == 2
    assert learned.words()[0][0][0] == "dragon" and learned.words()[1][0][0] == "princess"


def test_it_reads_length_and_place_which_no_words_tell(untrained):
    votes = []
    for name in ("castle", "princess", "dragon", "friends"):
        votes.append(vote(f"anna found a {name}", f"a {name} found anna", 0.98))
    first = untrained.fit(votes)
    new = vote("anna walked with friends", "friends walked with anna", 0.5)
    assert first.chances([new]).item() > 0.6
    assert "anna at the start" in [name for name, _ in first.words()[0]]

    long = "a castle " * 6
    brief = untrained.fit([vote("a castle", long, 0.98), vote("a dragon", "a dragon " * 6, 0.98)])
    assert brief.chances([vote("friends", "friends " * 12, 0.5)]).item() > 0.6
    assert "more than 8 words" in [name for name, _ in brief.words()[1]]


def test_a_much_better_answer_teaches_more_than_a_better_one_and_a_tie_pulls_together(untrained):
    texts = ("anna walked with a dragon", "anna walked with a princess")
    neutral = [vote(*texts, 0.5), vote(*texts[::-1], 0.5)]
    strong, weak, tie = (
        untrained.fit([*neutral, vote(*texts, chance)]).chances([vote(*texts, 0.5)]).item()
        for chance in (0.95, 0.65, 0.5)
    )
    before = untrained.chances([vote(*texts, 0.5)]).item()
    assert strong > weak > tie
    assert abs(tie - 0.5) <= abs(before - 0.5)


def test_without_votes_it_orders_answers_as_the_shipped_model_does(untrained):
    texts = ["anna walked", "a castle", "the dragon"]
    shipped = score(untrained.model, untrained.tokenizer, [PROMPT] * 3, texts)
    assert (
        untrained([PROMPT] * 3, texts, [True] * 3).argsort().tolist() == shipped.argsort().tolist()
    )


def test_on_the_yardstick_the_reward_has_mean_0_and_deviation_1(untrained):
    learned = untrained.fit([vote("the dragon found a castle", "anna walked", 0.95)])
    texts = ["anna walked", "the dragon found a castle", "friends with a princess", "a castle"]
    rewards = learned([PROMPT] * 4, texts, [True] * 4)
    assert abs(rewards.mean()) < 1e-5 and abs(rewards.std() - 1) < 1e-5


def test_fit_leaves_the_model_it_was_called_on_as_it_was(untrained):
    learned = untrained.fit([vote("a dragon", "a princess", 0.95)])
    assert not untrained.weights.any() and learned.weights.any()
    assert learned.fit([]).weights.abs().max() < 1e-6


def test_a_taste_in_thirty_noisy_votes_is_found(untrained):
    rng, votes = random.Random(0), []
    words = "anna castle friends walked princess found".split()
    for _ in range(30):
        text = " ".join(rng.choices(words, k=4))
        first = rng.random() < 0.5
        pair = (text + " dragon", text) if first else (text, text + " dragon")
        votes.append(vote(*pair, 0.95 if first != (rng.random() < 0.1) else 0.05))
    learned = untrained.fit(votes)
    assert learned.words()[0][0][0] == "dragon"
    new = [
        vote(" ".join(rng.choices(words, k=4)) + " dragon", " ".join(rng.choices(words, k=4)), 0.5)
        for _ in range(40)
    ]
    assert (learned.chances(new) > 0.5).float().mean() >= 0.9


def test_a_pair_becomes_a_vote_with_the_strength_of_the_click():
    texts = ["a dragon", "a princess"]
    chances = [
        votes_of([answer_row("pair", payload, texts)])[0].left
        for payload in (
            {"choice": "left", "strength": 2},
            {"choice": "left", "strength": 1},
            {"choice": "tie"},
            {"choice": "right"},
            {"choice": "right", "strength": 2},
        )
    ]
    assert chances == pytest.approx([0.98, 0.65, 0.5, 0.35, 0.02])


def test_a_ranking_of_four_is_six_votes_that_weigh_as_three():
    votes = votes_of([answer_row("ranking", {"ranks": [1, 2, 2, 4]}, ["a", "b", "c", "d"])])
    assert len(votes) == 6 and sum(v.weight for v in votes) == pytest.approx(3)
    assert [v.left for v in votes] == pytest.approx([0.65, 0.65, 0.98, 0.5, 0.98, 0.98])


def test_a_show_of_hands_is_a_vote_a_hand():
    votes = votes_of([answer_row("hands", {"left": 3, "right": 1, "tie": 1, "bad": 2}, ["a", "b"])])
    assert [v.left for v in votes] == pytest.approx([0.65, 0.65, 0.65, 0.35, 0.5])


@pytest.mark.parametrize(
    "more",
    [
        dict(hidden=True),
        dict(repeat_of="t1"),
        dict(source="guess"),
        dict(kind="scores", payload={"scores": []}),
        dict(kind="skip", payload={"reason": ""}),
        dict(payload={"choice": "bad"}),
    ],
)
def test_what_is_no_preference_is_no_vote(more):
    assert votes_of([answer_row("pair", {"choice": "left"}, ["a", "b"]) | more]) == []


def test_equal_texts_are_no_vote():
    assert votes_of([answer_row("pair", {"choice": "left"}, ["a", "a"])]) == []


def test_best_of_is_the_sample_of_highest_reward(llama, tokenizer):
    texts = generate(llama, tokenizer, [PROMPT] * 9, seed=3).texts

    def length(prompts, texts, ended):
        return torch.tensor([float(len(text)) for text in texts])

    assert best_of(llama, tokenizer, length, PROMPT, n=8, seed=3) == (
        texts[0],
        max(texts[1:], key=len),
    )


def test_pairs_to_rate_hold_two_different_answers_with_their_rewards(llama, tokenizer):
    prompts = [f"{PROMPT} {i}" for i in range(24)]
    rows = pairs_to_rate(llama, tokenizer, to_reward_model(llama), prompts)
    assert {row["source"] for row in rows} == {"random", "different"}
    for row in rows:
        assert row["kind"] == "pair" and len({answer["text"] for answer in row["completions"]}) == 2
        assert all(
            isinstance(answer["reward"], float) and answer["model"] == "sft"
            for answer in row["completions"]
        )


def test_answers_by_names_who_wrote_what(llama, gpt2, tokenizer):
    rows = answers_by(
        {"one": (llama, tokenizer), "two": (gpt2, tokenizer)}, [PROMPT, "What is 4-2?"], n=2
    )
    assert [[answer["model"] for answer in row["completions"]] for row in rows] == [
        ["one", "one", "two", "two"]
    ] * 2
    assert all(answer["reward"] is None for row in rows for answer in row["completions"])


def test_answers_by_several_models_are_all_scored_by_one_function(llama, gpt2, tokenizer):
    def length(prompts, texts, ended):
        return torch.tensor([float(len(text)) for text in texts])

    rows = answers_by(
        {"one": (llama, tokenizer), "two": (gpt2, tokenizer)}, [PROMPT], n=2, reward=length
    )
    assert [answer["reward"] for answer in rows[0]["completions"]] == [
        len(answer["text"]) for answer in rows[0]["completions"]
    ]


def test_pairs_to_rate_differ_in_what_they_say(monkeypatch, llama, tokenizer):
    texts = ["the king found a castle", "the king found a frog", "a dragon sang", "no"]

    def answers(*_):
        return [texts] * 30, [[True] * 4] * 30

    def length(prompts, texts, ended):
        return torch.tensor([float(len(text)) for text in texts])

    monkeypatch.setattr("rlhf_lessons.feedback.pairs.answer_all", answers)
    rows = pairs_to_rate(llama, tokenizer, length, [f"{i}" for i in range(30)])
    shown = [
        {a["text"] for a in row["completions"]} for row in rows if row["source"] == "different"
    ]
    assert shown and all(pair == set(texts[:2]) for pair in shown)  # the better half
