"""The reader's models travel: what a lesson keeps, the next one starts from, votes included."""

import ast
from pathlib import Path

import nbformat
import pytest
import tiny
import torch

import rlhf_lessons as rl
from rlhf_lessons import checkpoints, paths
from rlhf_lessons.feedback import new_id
from rlhf_lessons.lm.models import load_card, new_model, toy_config
from rlhf_lessons.widgets import rate

FOLDER = Path(__file__).parent.parent / "notebooks"
SHIPPED = 'SOURCE = "shipped"  # or "mine", after lesson '


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch, store):
    """Tiny models for those that ship, an empty folder for the reader's, an empty store."""
    tiny.checkpoints(tmp_path / "shipped")
    monkeypatch.setattr(checkpoints, "shipped", lambda name: tmp_path / "shipped" / name)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(rate, "open_store", lambda where: store)


def cells(number: int) -> dict[str, str]:
    """The sources of a lesson's code cells, by id less its first part."""
    (file,) = FOLDER.glob(f"0{number}_*.ipynb")
    book = nbformat.read(file, as_version=4)
    return {c.id.partition("-")[2]: c.source for c in book.cells if c.cell_type == "code"}


def begun(number: int) -> dict:
    """The names of a lesson whose reader has set SOURCE to mine, once it has loaded its models."""
    first = cells(number)
    source = first["imports"] + "\n" + first.get("models", "")
    assert source.count(SHIPPED) == 1
    return run(number, {}, [], source.replace('"shipped"  #', '"mine"  #'))


def run(number: int, names: dict, wanted: list[str], *sources: str) -> dict:
    """Run sources, then cells of a lesson by id, in the same names."""
    for source in (*sources, *(cells(number)[id] for id in wanted)):
        exec(source, names)
    return names


def same(one, other) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def vote(card, kind: str, **payload) -> str:
    """Give a card one judgement; return the prompt that it was on."""
    task = card.session.handle({"type": "next"})["task"]
    answer = {"type": "answer", "id": new_id(), "task": task["task"], "kind": kind}
    said = card.session.handle(answer | {"payload": payload, "touched": True})
    assert said["type"] == "ack"
    return task["prompt"]


def test_each_lesson_starts_from_what_the_one_before_has_kept(capsys):
    small = toy_config(300, layers=2, width=16, heads=2, mlp=32)  # lesson 3 keeps two layers
    student, tuned, policy = (new_model(small, seed) for seed in (11, 12, 13))
    names = {"rl": rl, "tokenizer": tiny.tokenizer(), "student": student}
    run(1, names | {"steps": [0], "texts": [0]}, ["keep"])

    lesson_2 = begun(2)
    assert same(lesson_2["base"], student)
    run(2, lesson_2 | {"models": {400: tuned}}, ["keep"])

    lesson_3 = begun(3)
    assert same(lesson_3["sft"], tuned)
    judge = run_lesson_3(lesson_3)

    lesson_4 = begun(4)
    assert same(lesson_4["sft"], tuned) and same(lesson_4["reward_model"], judge)
    run(4, lesson_4 | {"steps": [0], "pupil": policy}, ["keep"])
    assert same(rl.load("ppo", "mine")[0], policy)
    assert "ppo: your own model. Lesson 4: 1 steps on sums, from the mine SFT" in (
        capsys.readouterr().out
    )


def run_lesson_3(names: dict):
    """Vote on two pairs and a ranking, go on to the kept reward model without training it, and
    return it: it is normalised, and its comparisons hold the reader's own."""
    run(3, names, ["rate-card", "rank-card"])
    pairs = [vote(names["card"], "pair", choice=side, strength=1) for side in ("left", "right")]
    ranked = vote(names["ranking_card"], "ranking", ranks=[1, 2, 3, 4])
    run(3, names, ["format-code"], "votes = card.answers()")
    names["comparisons"] = names["comparisons"][:40]
    run(3, names, ["train-data", "keep"])
    mine = [row["prompt"] for row in names["some"] if row.get("rater") == "you"]
    assert set(mine) == {*pairs, ranked} and len(mine) > 3
    about = load_card(checkpoints.mine("reward"))["about"]
    assert f"{len(names['some'])} comparisons, {len(mine)} of them yours" in about
    judge = names["run"].model
    answers = names["found"].texts, names["found"].ended.tolist()
    scores = names["score"](judge, names["tokenizer"], names["asked"], *answers)
    assert abs(scores.mean()) < 1e-3 and abs(scores.std() - 1) < 1e-3
    return judge


@pytest.mark.parametrize("number", [2, 3, 4])
def test_who_has_kept_nothing_is_told_where_to_make_it(number):
    with pytest.raises(checkpoints.CheckpointError, match="lesson [12] keeps one"):
        begun(number)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_lesson_keeps_one_model_and_none_that_was_broken_on_purpose(number):
    code = "\n".join(cells(number).values())
    tree = ast.parse("\n".join(line for line in code.splitlines() if line.lstrip()[:1] not in "!%"))
    kept = [
        ast.unparse(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "keep"
    ]
    broken = [
        node.id
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and "bug(" in ast.unparse(block.items[0])
        for node in ast.walk(block)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    assert len(kept) == 1 and broken
    assert kept[0].split(".")[0].split("[")[0] not in broken
