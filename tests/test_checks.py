"""The machinery of the exercises' checks: what it accepts, what it says, and that no stub stops a notebook."""
import json

import pytest
import torch

from rlhf_lessons import checks
from rlhf_lessons.checks import Mistake, NotDone, compare, exercise

X = torch.tensor([1.0, -2.0, 30.0])
CASES = [(X, 2.0), (X[:1], -1.0)]
HINTS = {"the sign": lambda x, by: -x * by, "forgets the factor": lambda x, by: x}


def right(x, by):
    return x * by


def compared(yours, cases=CASES, **more):
    compare(yours, right, cases, HINTS, **more)


def test_a_right_answer_passes_however_it_is_written():
    compared(lambda x, by: torch.stack([value * by for value in x]))
    compared(lambda x, by: [value * by for value in x.tolist()])


@pytest.mark.parametrize("yours, hint", [
    (lambda x, by: -x * by, "the sign"), (lambda x, by: x, "forgets the factor"),
    (lambda x, by: x * by + 1, "On input 1 of 2, you return [3, -3, 61], where [2, -4, 60] was expected."),
    (lambda x, by: x * by * (1 + 1e-3), "where [2, -4, 60] was expected"),
    (lambda x, by: (x * by).sum(), "you return the shape (), where (3,) was expected"),
    (lambda x, by: "60", "you return '60', where numbers were expected"),
    (lambda x, by: x * by * float("nan"), "[nan, nan, nan]"),
    (lambda x, by: x.mul_(by), "changes its input in place"),
    (lambda x, by: x.wrong, "AttributeError: 'Tensor' object has no attribute 'wrong'"),
    (lambda: 1, "raised TypeError")])
def test_a_wrong_one_hears_why(yours, hint):
    with pytest.raises(Mistake) as caught:
        compared(yours)
    assert hint in str(caught.value)


def test_a_mistake_that_shows_only_on_a_later_input_is_named_too():
    with pytest.raises(Mistake, match="the sign"):
        compared(lambda x, by: x * abs(by), [(X, 2.0), (X, -1.0)])


@pytest.mark.parametrize("stub", [lambda x, by: None, lambda x, by: ...])
def test_a_stub_is_not_done_yet(stub):
    with pytest.raises(NotDone):
        compared(stub)


def test_a_gradient_must_flow_and_be_right():
    cases = [(torch.tensor([1.0, 2.0], requires_grad=True), 3.0)]
    compared(lambda x, by: x * by, cases)
    with pytest.raises(Mistake, match="No gradient flows back"):
        compared(lambda x, by: x.detach() * by, cases)
    with pytest.raises(Mistake, match="was expected"):
        compared(lambda x, by: x * by + x - x.detach(), cases)


def test_texts_and_whole_numbers_are_compared_as_they_are():
    compare(lambda: ["a", 2], lambda: ["a", 2], [()])
    with pytest.raises(Mistake, match=r"you return 'b', where 'a' was expected"):
        compare(lambda: ["b", 2], lambda: ["a", 2], [()])


@exercise
def doubled(yours):
    compare(yours, lambda x: 2 * x, [(1.5,)])


def test_a_check_prints_its_verdict_remembers_what_passed_and_never_stops_a_notebook(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("RLHF_LESSONS_RUNS", str(tmp_path / "new"))
    for yours in (lambda x: ..., lambda x: x, lambda x: x + x):
        doubled(yours)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("Not done yet.") and second.startswith("✗ Not yet. On input 1") and third == "✓ Right."
    (row,) = checks.passed_file().read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["exercise"] == "test_checks.doubled"


def test_a_grader_gets_an_exception():
    for yours in (lambda x: ..., lambda x: x):
        with pytest.raises(Mistake):
            doubled(yours, raise_errors=True)
    doubled(lambda x: 2 * x, raise_errors=True)


def test_a_full_disk_spoils_no_exercise(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RLHF_LESSONS_RUNS", str(tmp_path / "file"))
    doubled(lambda x: 2 * x)
    assert capsys.readouterr().out.splitlines()[-1] == "✓ Right."
