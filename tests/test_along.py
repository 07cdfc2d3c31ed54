"""The curves along a ladder: against direct simulation, and votes whose outcome is known."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from voting import LEFT

from rlhf_lessons.evaluation.best_of_n import chances, kl_bound, kl_of_best_of_n
from rlhf_lessons.evaluation.votes import comparisons
from rlhf_lessons.feedback import new_id
from rlhf_lessons.feedback.along import PLAIN, Rung, pairs_along, wins, won_along

PROMPTS = ["Why?", "How?", "When?"]


def ladder(ns=(1, 4, 16), pool=40, seed=0) -> list[Rung]:
    """Rungs of random rewards and utilities, some of which tie; texts tell prompt and place."""
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(3, pool)).round(1)
    utility = (rewards + rng.normal(size=rewards.shape)).round(1)
    texts = [[f"{prompt} {i}." for i in range(pool)] for prompt in PROMPTS]
    ended = [[i % 2 == 0 for i in range(pool)]] * 3
    answers = texts, ended, rewards, utility
    return [Rung(f"best of {n}", 0.0, *answers, chances(rewards, n)) for n in ns]


def drawn(n: int, rung: Rung, times: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """Draw n answers to each prompt, keep the best, and one plain answer: by how much the best
    leads in reward, and in utility, each (prompts, times)."""
    rng = np.random.default_rng(1)
    pool = rung.rewards.shape[1]
    draws = rng.integers(pool, size=(3, times, n))
    place = np.arange(3)[:, None, None]
    tied = rung.rewards[place, draws] + rng.uniform(0, 1e-6, draws.shape)  # broken at random
    best = np.take_along_axis(draws, tied.argmax(2)[..., None], 2)[..., 0]
    plain = rng.integers(pool, size=(3, times))
    place = np.arange(3)[:, None]
    return tuple(
        values[place, best] - values[place, plain] for values in (rung.rewards, rung.utility)
    )


@pytest.mark.parametrize("n", [1, 4, 16])
def test_what_is_promised_and_deserved_is_what_drawing_gives_on_average(n):
    plain, *_ = ladder()
    (rung,) = ladder((n,))
    by_reward, by_utility = drawn(n, rung)
    promised = np.mean(1 / (1 + np.exp(-1.3 * by_reward)))
    deserved = np.mean((by_utility > 0) + 0.5 * (by_utility == 0))
    # 180,000 draws: the standard error is 0.0012 at most
    assert wins(rung.chance, rung.rewards, plain.rewards, 1.3) == pytest.approx(promised, abs=0.005)
    assert wins(rung.chance, rung.utility, plain.utility) == pytest.approx(deserved, abs=0.005)


def test_a_plain_answer_wins_half_of_its_pairs_and_promises_only_rise():
    rungs = ladder((1, 2, 4, 8, 16, 32))
    promised = [wins(rung.chance, rung.rewards, rungs[0].rewards, 1.3) for rung in rungs]
    assert promised[0] == pytest.approx(0.5) and promised == sorted(promised)
    assert wins(rungs[0].chance, rungs[0].utility, rungs[0].utility) == pytest.approx(0.5)


def test_exact_shares_of_a_pool_of_two():
    rewards = np.array([[0.0, math.log(3)]])
    best_of_2 = chances(rewards, 2)  # 1/4 and 3/4
    promised = (1 / 4) * (0.5 + 0.25) / 2 + (3 / 4) * (0.75 + 0.5) / 2
    assert wins(best_of_2, rewards, rewards, 1.0) == pytest.approx(promised)
    assert wins(best_of_2, rewards, rewards) == pytest.approx((1 / 4) * 0.25 + (3 / 4) * 0.75)


def test_pairs_are_drawn_by_the_chances_in_random_order():
    plain, _, rung = ladder()
    rows, alike = pairs_along(PROMPTS, plain, [plain, rung], draws=400, seed=3)
    met = Counter((row["completions"][1]["model"], row["prompt"]) for row in rows)
    assert len(met) == 6 and set(met.values()) == {400}
    seen = defaultdict(Counter)
    same = Counter()
    for row in rows:
        first, second = row["completions"]
        assert first["model"] == PLAIN
        assert first["text"].startswith(row["prompt"]) and second["text"].startswith(row["prompt"])
        place = int(second["text"].split()[1].rstrip("."))
        assert second["ended"] == (place % 2 == 0)
        seen[second["model"]][PROMPTS.index(row["prompt"]), place] += 1
        same[second["model"]] += first["text"] == second["text"]
    for name, each in (("best of 1", plain), ("best of 16", rung)):
        found = np.array([[seen[name][p, i] / 400 for i in range(40)] for p in range(3)])
        assert np.abs(found - each.chance).max() < 0.09  # 3.6 standard errors of 0.025
        assert alike[name] == pytest.approx(same[name] / 1200)
    half = [row["completions"][1]["model"] for row in rows[:1200]]
    assert 540 < half.count("best of 16") < 660  # 600 expected, 3.5 standard errors of 17
    assert rows == pairs_along(PROMPTS, plain, [plain, rung], draws=400, seed=3)[0]


def vote_all(store, rows: list[dict], choose, raters: int = 1) -> list[dict]:
    """Let raters do every task; `choose(prompt, {model: text})` names a model, or a tie, or bad."""
    store.add_tasks("r", [row | {"overlap": None} for row in rows])
    for number in range(raters):
        rater = store.add_rater(f"rater {number}")
        writer = {}
        for row in rows:
            for answer in row["completions"]:
                writer[row["prompt"], answer["text"]] = answer["model"]
        while (task := store.next_task(rater, "r"))["state"] == "task":
            models = [writer[task["prompt"], answer["text"]] for answer in task["answers"]]
            wanted = choose(task["prompt"], models)
            choice = wanted if wanted in ("tie", "bad") else ("left", "right")[models.index(wanted)]
            store.answer(rater, task["task"], "pair", LEFT | {"choice": choice}, new_id())
    return store.answers("r")


def pair(prompt: str, model: str = "best of 4", number: int = 0) -> dict:
    texts = {PLAIN: f"plain {number}", model: f"{model} {number}"}
    shown = [{"text": text, "model": name} for name, text in texts.items()]
    return {"kind": "pair", "prompt": prompt, "completions": shown}


def test_votes_count_for_the_rung_a_tie_is_half_and_both_bad_is_nothing(store):
    rows = [pair(f"prompt {i}") for i in range(10)]
    said = dict(
        zip(
            [row["prompt"] for row in rows], ["best of 4"] * 5 + [PLAIN, PLAIN, "tie", "bad", "bad"]
        )
    )
    answers = vote_all(store, rows, lambda prompt, models: said[prompt])
    found = won_along(comparisons(answers), {"best of 4": 0.0})["best of 4"]
    assert found["value"] == pytest.approx(5.5 / 8) and found["n"] == 8
    alike = won_along(comparisons(answers), {"best of 4": 0.2})["best of 4"]
    assert alike["value"] == pytest.approx(0.8 * 5.5 / 8 + 0.1)
    assert alike["high"] - alike["low"] == pytest.approx(0.8 * (found["high"] - found["low"]))


def test_the_interval_is_drawn_over_prompts(store):
    """Ten people agree on every prompt: 80 votes, but no more than eight prompts' worth."""
    rows = [pair(f"prompt {i}") for i in range(8)]
    answers = vote_all(
        store, rows, lambda prompt, models: PLAIN if prompt[-1] in "01" else "best of 4", 10
    )
    found = won_along(comparisons(answers), {"best of 4": 0.0})["best of 4"]
    assert found["value"] == 0.75 and found["n"] == 80
    # of eight draws with chance 3/4 each: 2.5 % lie below 3.5 of 8, and 10 % are all eight
    assert 0.35 <= found["low"] <= 0.51 and found["high"] == 1.0


def test_faultless_voters_say_what_true_utility_says(store):
    plain, _, rung = ladder(pool=400)
    rows, alike = pairs_along(PROMPTS, plain, [rung], draws=150)
    utility = {
        (prompt, text): value
        for prompt, texts, values in zip(PROMPTS, rung.texts, rung.utility)
        for text, value in zip(texts, values)
    }
    store.add_tasks("r", rows)
    rater = store.add_rater("Ann")
    with store.write():
        while (task := store.next_task(rater, "r"))["state"] == "task":
            left, right = (utility[task["prompt"], answer["text"]] for answer in task["answers"])
            choice = "tie" if left == right else "left" if left > right else "right"
            store.answer(rater, task["task"], "pair", LEFT | {"choice": choice}, new_id())
    found = won_along(comparisons(store.answers("r")), alike)["best of 16"]
    deserved = wins(rung.chance, rung.utility, plain.utility)
    assert found["value"] == pytest.approx(
        deserved, abs=0.06
    )  # 450 pairs: two errors of 0.02 and more
    assert 0.8 < deserved < 0.95


def test_the_pool_is_large_enough_for_the_kl_at_n_256():
    """What `classroom/ladder.py` says of its pool: 0.01 nats, where no two answers tie."""
    rewards = np.random.default_rng(0).normal(size=512)
    assert kl_of_best_of_n(rewards, 256) == pytest.approx(kl_bound(256), abs=0.012)
    assert kl_of_best_of_n(rewards, 64) == pytest.approx(kl_bound(64), abs=0.001)
