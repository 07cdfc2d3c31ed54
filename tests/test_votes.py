"""The figures on raters are those that a hand computes on small tables, and where there are none
they say why.
"""

import json
import random
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_lessons.classroom.screens import figures
from rlhf_lessons.cli import main
from rlhf_lessons.data import tasks
from rlhf_lessons.evaluation.intervals import wilson
from rlhf_lessons.evaluation.votes import (
    agreement,
    comparisons,
    predictable,
    share,
    statistics,
    weighted_alpha,
)
from rlhf_lessons.feedback import CRITERIA, Store, new_id
from rlhf_lessons.feedback.export import training_rows
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.reports.learner import gather
from rlhf_lessons.world.answers import answer, habit
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater

FIGURES = (
    "agreement",
    "alpha",
    "self_agreement",
    "side_bias",
    "length_bias",
    "with_class",
    "with_truth",
    "contradictions",
    "seconds",
)


def text(name, words=3, model=""):
    return {
        "id": name,
        "text": " ".join([name] * words),
        "ended": True,
        "model": model,
        "reward": None,
    }


def row(rater, kind, shown, payload, **more):
    return {
        "rater": rater,
        "name": rater,
        "kind": kind,
        "answers": shown,
        "payload": payload,
        "hidden": False,
        "source": "",
        "prompt": "p",
        "repeat_of": None,
        "completions": [a["id"] for a in shown],
        "ms": None,
        "team": "",
    } | more


def vote(rater, choice, left="a", right="b", **more):
    return row(rater, "pair", [text(left), text(right)], {"choice": choice, "strength": 1}, **more)


def test_raw_agreement_is_the_share_of_pairs_of_raters_with_one_verdict():
    answers = [
        vote("anna", "left"),
        vote("ben", "right", "b", "a"),
        vote("cleo", "right"),  # a, a, b: 1 of 3 pairs
        vote("anna", "tie", "c", "d"),
        vote("ben", "tie", "c", "d"),  # 1 of 1
        vote("anna", "left", "e", "f"),
    ]  # nobody to agree with
    raw, _ = agreement(comparisons(answers))
    assert raw["value"] == pytest.approx(2 / 4) and raw["n"] == 5


def alpha_by_hand(table):
    """Krippendorff's nominal alpha from its definition: observed over expected disagreement in
    pairable values.
    """
    units = [[v for v in unit if v is not None] for unit in zip(*table, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    observed = sum(
        sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(values)
    expected = sum(a != b for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


tables = st.integers(2, 4).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([None, 1, -1, 0, "bad"]), min_size=6, max_size=6),
        min_size=n,
        max_size=n,
    )
)


@settings(max_examples=100, deadline=None)
@given(tables)
def test_alpha_is_krippendorffs_on_any_small_table(table):
    names = {1: "left", -1: "right", 0: "tie", "bad": "bad"}
    answers = [
        vote(f"rater{r}", names[value], f"a{u}", f"b{u}")
        for r, said in enumerate(table)
        for u, value in enumerate(said)
        if value is not None
    ]
    raw, alpha = agreement(comparisons(answers))
    shared = [
        value
        for unit in zip(*table, strict=True)
        for value in unit
        if sum(v is not None for v in unit) > 1 and value is not None
    ]
    if len(set(shared)) < 2:
        assert alpha["value"] is None and alpha["why"]
        return
    assert alpha["value"] == pytest.approx(alpha_by_hand(table))
    evalica, codes = (
        pytest.importorskip("evalica"),
        {1: 1.0, -1: 2.0, 0: 3.0, "bad": 4.0, None: np.nan},
    )
    frame = pd.DataFrame([[codes[value] for value in said] for said in table])
    assert alpha["value"] == pytest.approx(evalica.alpha(frame, distance="nominal").alpha)


def test_a_rater_drawn_twice_does_not_agree_with_its_copy():
    seen = np.array(
        [[[1, 0, 0, 0]], [[0, 1, 0, 0]]], float
    )  # two raters, one pair, opposite verdicts
    with np.errstate(divide="ignore", invalid="ignore"):
        agreed, alpha = weighted_alpha(seen, np.array([[5, 1], [2, 0]]))
    assert agreed[0] == 0 and np.isnan([agreed[1], alpha[1]]).all()


def test_self_agreement_is_counted_on_repeats_whatever_the_side():
    answers = [
        vote("anna", "left"),
        vote("anna", "right", "b", "a", repeat_of="t"),  # a again
        vote("ben", "left"),
        vote("ben", "left", "b", "a", repeat_of="t"),
    ]  # a, then b
    found = statistics(answers)["self_agreement"]
    assert (found["value"], found["n"]) == (0.5, 2)


def test_side_and_length_bias_count_decided_votes():
    short, long = text("short", 2), text("long", 9)
    answers = [
        row("anna", "pair", shown, {"choice": choice, "strength": 1})
        for shown, choice in [
            ([short, long], "right"),
            ([long, short], "left"),
            ([short, long], "left"),
            ([short, long], "tie"),
            ([text("x"), text("y")], "left"),
        ]
    ]
    found = statistics(answers)
    assert (found["side_bias"]["value"], found["side_bias"]["n"]) == (0.75, 4)
    assert (found["length_bias"]["value"], found["length_bias"]["n"]) == (pytest.approx(2 / 3), 3)


def test_agreement_with_the_class_leaves_the_rater_out():
    answers = [vote("anna", "left"), vote("ben", "left"), vote("cleo", "right")]
    found = statistics(
        answers
    )  # anna faces one each: no majority; so does ben; cleo faces two lefts
    assert (found["with_class"]["value"], found["with_class"]["n"]) == (0.0, 1)


def test_contradictions_are_between_a_raters_own_scores_and_comparisons():
    def scored(rater, a, b):
        marks = [dict.fromkeys(("relevance", "accuracy", "clarity"), mark) for mark in (a, b)]
        return row(rater, "scores", [text("a"), text("b")], {"scores": marks})

    answers = [
        vote("anna", "left"),
        scored("anna", 2, 6),
        vote("ben", "left"),
        scored("ben", 6, 2),
        vote("cleo", "left"),
        scored("cleo", 4, 4),
        vote("dan", "left"),
    ]
    found = statistics(answers)["contradictions"]
    assert (found["value"], found["n"]) == (0.5, 2)


def test_rankings_count_too():
    three = [text("a"), text("b"), text("c")]
    ranked = row("anna", "ranking", three, {"ranks": [2, 1, 3]})
    found = statistics([ranked, vote("ben", "right", "a", "b")])
    assert found["agreement"]["value"] == 1.0  # both put b above a


def test_seconds_are_the_mean_of_the_raters_medians():
    times = {"anna": [1000, 2000, 60000], "ben": [4000]}
    found = statistics(
        [
            vote(rater, "left", f"a{i}", f"b{i}", ms=ms)
            for rater, all_ in times.items()
            for i, ms in enumerate(all_)
        ]
    )["seconds"]
    assert found["value"] == 3.0 and found["n"] == 4


def test_intervals_are_drawn_by_rater_not_by_vote():
    stubborn = [(f"rater{i}", i % 2 == 0) for i in range(10) for _ in range(20)]
    found = share(stubborn)
    low, high = wilson(0.5, 200)
    assert high - low < 0.15 < 0.4 < found["high"] - found["low"]


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [vote("anna", "left")],
        [vote("anna", "left", f"a{i}", f"b{i}") for i in range(30)],
        [vote(f"r{i}", "tie") for i in range(8)],
        [vote(f"r{i}", "bad") for i in range(8)],
        [vote(f"r{i}", "left") for i in range(8)],
        [row("anna", "skip", [text("a"), text("b")], {"reason": ""})],
        [vote("anna", "left", hidden=True)],
    ],
    ids=["none", "one", "one rater", "ties", "bad", "unanimous", "skip", "hidden"],
)
def test_thin_data_give_honest_answers_not_nonsense(answers):
    found = statistics(answers)
    for name in FIGURES:
        figure = found[name]
        if figure["value"] is None or figure["low"] is None:
            assert len(figure["why"]) > 10, name
        else:
            assert (
                figure["low"] <= figure["value"] <= figure["high"]
                and figure["low"] < figure["high"]
            ), name
    if found["alpha"]["value"] is not None:
        assert found["alpha"]["low"] is None or found["alpha"]["low"] <= found["alpha"]["value"]


def battle(winner, loser, n, raters=8):
    return [
        row(
            f"rater{i % raters}",
            "pair",
            [
                text(f"{winner} over {loser}, {i}", model=winner),
                text(f"{loser} under {winner}, {i}", model=loser),
            ],
            {"choice": "left", "strength": 1},
        )
        for i in range(n)
    ]


def test_a_model_that_wins_all_is_ahead_by_nobody_knows_how_much():
    board = statistics(battle("ppo", "sft", 6) + battle("sft", "base", 6))["leaderboard"]
    assert [found["model"] for found in board] == ["ppo", "sft", "base"]
    assert [found["value"] for found in board] == [1, 0.5, 0]
    assert all(
        found["low"] <= found["value"] <= found["high"] and found["low"] < found["high"]
        for found in board
    )
    assert (
        "won all 6" in board[0]["why"] and "lost all 6" in board[2]["why"] and board[0]["high"] == 1
    )


def test_even_models_stand_at_one_half_and_ties_are_half_a_win():
    answers = (
        battle("ppo", "sft", 20)
        + battle("sft", "ppo", 20)
        + [
            row(
                "anna",
                "pair",
                [text("x", model="ppo"), text("y", model="sft")],
                {"choice": "tie", "strength": 0},
            )
        ]
    )
    assert all(
        found["value"] == 0.5 and found["n"] == 41 for found in statistics(answers)["leaderboard"]
    )
    assert (
        statistics(battle("ppo", "ppo", 5))["leaderboard"] == []
    )  # a model against itself says nothing


@pytest.fixture(scope="module")
def world():
    """Pairs of a whole answer and one that lacks something, and rankings and scores of three."""
    rng, rows = random.Random(0), []
    for task in tasks("train")[:40]:
        drawn = {}
        for writer in ("clean", "hasty", "hasty"):
            writes = habit(task.family, rng.random()) if writer == "hasty" else None
            made = answer(task.spec, rng, writes)
            drawn.setdefault(judge(task.prompt, made).utility, {"text": made, "model": writer})
        if len(drawn) > 1:
            two = list(drawn.values())[:2]
            rows.append({"kind": "pair", "completions": two})
            rows.append({"kind": "scores", "completions": two, "priority": -1})
        if len(drawn) > 2:
            rows.append({"kind": "ranking", "completions": list(drawn.values())})
        rows = [{"prompt": task.prompt, "overlap": None} | row for row in rows]
    return rows


def test_simulated_raters_of_known_noise_are_seen_as_what_they_are(world, tmp_path):
    store = Store(tmp_path / "r.sqlite3")
    store.add_tasks("r", world, repeats=0.3)
    for i in range(8):
        simulate(store, "r", Rater(flip_rate=0.2, noise=0.02), f"noisy {i}")
    for i in range(2):
        simulate(
            store, "r", Rater(weights={"utility": 0.05}, noise=0.1, side_bias=3.0), f"lefty {i}"
        )
    answers = store.answers()
    noisy = statistics([row for row in answers if row["name"].startswith("noisy")])
    lefty = statistics([row for row in answers if row["name"].startswith("lefty")])
    assert noisy["with_truth"]["value"] == pytest.approx(
        0.8, abs=0.08
    )  # one vote in five is flipped
    assert noisy["self_agreement"]["value"] == pytest.approx(0.8**2 + 0.2**2, abs=0.12)
    only_pairs = [
        row for row in answers if row["name"].startswith("noisy") and row["kind"] == "pair"
    ]
    raw, _ = agreement(comparisons(only_pairs))  # a flip in a ranking may also make it a tie
    assert raw["value"] == pytest.approx(0.8**2 + 0.2**2, abs=0.1)
    assert 0.3 < noisy["side_bias"]["value"] < 0.7 and lefty["side_bias"]["low"] > 0.8
    assert noisy["contradictions"]["value"] == pytest.approx(0.2, abs=0.08)
    assert noisy["leaderboard"][0]["model"] == "clean"
    assert statistics(answers)["with_truth"]["low"] is not None
    assert len(training_rows(answers, "preference")[0]) > 100


def test_what_can_be_predicted_is_more_than_what_is_repeated():
    """Simulated: one vote in ten is a slip, so 82 % are repeated, and a perfect model predicts 90
    %.
    """
    rng = np.random.default_rng(0)
    first, again = (rng.random(200_000) > 0.1 for _ in range(2))  # whether each vote is no slip
    steady = {name: float((first == again).mean()) for name in ("value", "low", "high")} | {
        "n": 200_000
    }
    assert steady["value"] == pytest.approx(0.82, abs=0.005)
    assert predictable(steady)["value"] == pytest.approx(float(first.mean()), abs=0.005)
    assert predictable({"value": 0.4, "low": 0.1, "high": 1.0, "n": 5}) == {
        "value": 0.5,
        "low": 0.5,
        "high": 1.0,
        "n": 5,
    }
    assert predictable({"value": None, "low": None, "high": None, "n": 0})["n"] == 0


def test_command_report_projector_and_notebook_say_the_same_of_the_same_votes(tmp_path, capsys):
    """Votes with repeats, a show of hands, rankings and scores; the share won by `ppo` was 72.0 and
    72.5 %.
    """
    file = tmp_path / "r.sqlite3"
    store = Store(file)
    two = [{"text": "good", "model": "ppo"}, {"text": "bad", "model": "sft"}]
    rows = []
    for n in range(12):
        texts = [answer | {"text": f"{answer['text']} {n}"} for answer in two]
        kind = ("pair", "pair", "ranking", "scores")[n % 4]
        rows.append({"kind": kind, "prompt": f"p{n}", "completions": texts, "overlap": None})
    store.add_tasks("r", rows, repeats=0.9)
    store.say("round", round="r", state="open")
    for i in range(7):
        rng = random.Random(i)
        rater = store.add_rater(f"rater {i}")
        while (task := store.next_task(rater, "r"))["state"] == "task":
            marks = [dict.fromkeys(CRITERIA, rng.randint(1, 7)) for _ in range(2)]
            payload = {
                "choice": rng.choice(["left", "left", "right", "tie", "bad"]),
                "ranks": [rng.randint(1, 2), 1],
                "scores": marks,
            }
            store.answer(rater, task["task"], task["kind"], payload, new_id())
    teacher = store.add_rater("teacher", kind="teacher")
    task = store.next_task(teacher, "r")["task"]
    store.answer(teacher, task, "hands", {"left": 9, "right": 4, "tie": 2, "bad": 1}, new_id())
    answers = store.answers("r")
    assert any(row["repeat_of"] for row in answers)

    notebook = statistics(answers)
    assert main(["ratings", "stats", "--db", str(file), "--json"]) == 0
    command = json.loads(capsys.readouterr().out)
    projector = figures(store)["projector"]
    mine = [row for row in answers if row["name"] == "rater 3"]
    report = gather("anna", mine)
    assert command == notebook
    (room,) = projector["agreement"]
    assert room == {"team": ""} | notebook["agreement"]
    assert projector["board"] == notebook["leaderboard"]
    own = statistics(mine)
    assert report["blind"] == own["leaderboard"]
    assert report["self_agreement"] == own["self_agreement"] and own["self_agreement"]["n"]
    # By hand: 12 tasks by 7 raters and 15 hands that name no "both bad", each first judgement once.
    first = [row for row in answers if not row["repeat_of"] and row["kind"] != "hands"]
    bad = sum(row["payload"].get("choice") == "bad" for row in first)
    assert notebook["leaderboard"][0]["n"] == 12 * 7 - bad + 15
