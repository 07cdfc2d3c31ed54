"""Which pairs are worth a person's time, and who wrote what."""

import pytest
import tiny

from rlhf_lessons.feedback.pairs import make_pairs


@pytest.fixture(scope="module")
def models():
    return {"one": (tiny.model(0), tiny.tokenizer()), "two": (tiny.model(1), tiny.tokenizer())}


def test_pairs_too_alike_are_not_offered_and_each_model_wrote_one_answer(monkeypatch, models):
    good, bad = "What joy! 1+2 is 3 and 3-1 is 2.", "no"
    texts = {id(models["one"][0]): [good] * 20, id(models["two"][0]): [good, *[bad] * 19]}
    monkeypatch.setattr(
        "rlhf_lessons.feedback.pairs.answer_all",
        lambda model, *_: ([[text] for text in texts[id(model)]], [[True]] * 20),
    )
    found = make_pairs(models, ["What is 1+2 and 3-1?"] * 20, n=18)
    rows = [pair["completions"] for pair in found]
    assert len(rows) == 18
    for row in rows:
        assert {answer["model"]: answer["text"] for answer in row} == {"one": good, "two": bad}
