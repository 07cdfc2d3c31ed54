"""The machinery of the exercises' checks: what it accepts, what it says, and that no stub stops a
notebook."""

import json
import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from rlhf_lessons import paths
from rlhf_lessons.exercises import check as checks
from rlhf_lessons.exercises.check import Check, Mistake, NotDone, exercise, rewritten

X = torch.tensor([1.0, -2.0, 30.0])
CASES = [(X, 2.0), (X[:1], -1.0)]
HINTS = {"the sign": lambda x, by: -x * by, "forgets the factor": lambda x, by: x}


def right(x, by):
    return x * by


def compare(yours, right, cases, mistakes=None, gradients=0):
    check = Check(right, cases, gradients)
    check.mistakes = list((mistakes or {}).items())
    check.compare(yours)


def compared(yours, cases=CASES, gradients=0):
    compare(yours, right, cases, HINTS, gradients)


def test_a_mistake_is_the_right_solution_with_one_piece_changed():
    assert rewritten(right, "x * by", "x / by")(6, 2) == 3 and right(6, 2) == 12


@pytest.mark.parametrize("piece", ["x / by", "x"])
def test_a_piece_that_does_not_stand_there_exactly_once_is_an_error(piece):
    with pytest.raises(ValueError, match=f"right must hold '{piece}' exactly once"):
        rewritten(right, piece, "y")


def test_a_right_answer_passes_however_it_is_written():
    compared(lambda x, by: torch.stack([value * by for value in x]))
    compared(lambda x, by: [value * by for value in x.tolist()])


@pytest.mark.parametrize(
    "yours, hint",
    [
        (lambda x, by: -x * by, "the sign"),
        (lambda x, by: x, "forgets the factor"),
        (
            lambda x, by: x * by + 1,
            "On input 1 of 2, you return [3, -3, 61], where [2, -4, 60] was expected.",
        ),
        (lambda x, by: x * by * (1 + 1e-3), "where [2, -4, 60] was expected"),
        (lambda x, by: (x * by).sum(), "you return the shape (), where (3,) was expected"),
        (lambda x, by: "60", "you return '60', where numbers were expected"),
        (lambda x, by: x * by * float("nan"), "[nan, nan, nan]"),
        (lambda x, by: x.mul_(by), "changes its input in place"),
        (lambda x, by: Fraction(1, 2), "you return the shape (), where (3,) was expected"),
        (lambda x, by: x * by + 0j, "numbers of type torch.complex64"),
        (
            lambda x, by: print(x),
            "On input 1 of 2, your function returns None. Is there a `return` missing?",
        ),
        (lambda x, by: [x, x, x], "where numbers were expected"),
        (lambda x, by: x.wrong, "AttributeError: 'Tensor' object has no attribute 'wrong'"),
        (lambda: 1, "raised TypeError"),
    ],
)
def test_a_wrong_one_hears_why(yours, hint):
    with pytest.raises(Mistake) as caught:
        compared(yours)
    assert hint in str(caught.value)


def test_a_mistake_that_shows_only_on_a_later_input_is_named_too():
    with pytest.raises(Mistake, match="the sign"):
        compared(lambda x, by: x * abs(by), [(X, 2.0), (X, -1.0)])


def stub(x, by=0.0):
    raise NotImplementedError


def test_a_stub_is_not_done_yet():
    with pytest.raises(NotDone, match="Not done yet. Replace `raise NotImplementedError` with"):
        compared(stub)


@pytest.mark.parametrize("yours", [lambda x, by: None, lambda x, by: ...])
def test_one_that_returns_nothing_has_forgotten_its_return(yours):
    with pytest.raises(Mistake, match="Is there a `return` missing"):
        compared(yours)


def test_a_gradient_must_flow_and_be_right():
    cases = [(torch.tensor([1.0, 2.0]), 3.0)]
    compared(lambda x, by: x * by, cases, 1)
    for without in (lambda x, by: x.detach() * by, lambda x, by: (x * by).tolist()):
        with pytest.raises(Mistake, match="No gradient flows back"):
            compared(without, cases, 1)
    with pytest.raises(
        Mistake, match=r"values are right, but their gradient is \[4, 4\], where \[3, 3\] was"
    ):
        compared(lambda x, by: x * by + x - x.detach(), cases, 1)
    with pytest.raises(Mistake, match="You return text, where a tensor was expected"):
        compared(lambda x, by: "text", cases, 1)


def test_a_gradient_must_flow_to_each_argument_that_wants_one():
    cases = [(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]))]
    compared(lambda x, by: by * x, cases, 2)
    with pytest.raises(Mistake, match=r"their gradient is \[0, 0\], where \[1, 2\] was"):
        compared(lambda x, by: x * by.detach(), cases, 2)


def changed_after_use(x, by):
    root = x.sqrt()
    result = root * root * by
    root += 1
    return result


def backward_itself(x, by):
    result = x.square() / x * by
    result.sum().backward()
    return result


@pytest.mark.parametrize("yours", [changed_after_use, backward_itself])
def test_a_gradient_that_breaks_stops_no_notebook(yours):
    with pytest.raises(Mistake, match="The gradient breaks on its way back"):
        compared(yours, [(torch.tensor([1.0, 2.0]), 3.0)], 1)


@pytest.mark.parametrize("yours", [lambda ids: ids + [ids.pop()], lambda ids: ids.sort() or [2, 1]])
def test_a_list_that_is_changed_in_place_is_noticed_too(yours):
    with pytest.raises(Mistake, match="changes its input in place. Make a new list instead"):
        compare(yours, lambda ids: ids, [([2, 1],)])


def test_an_input_that_is_no_number_counts_as_unchanged():
    compare(
        lambda x, rows: [1],
        lambda x, rows: [1],
        [(torch.tensor([math.nan, math.inf]), [math.nan, [2]])],
    )


def test_an_error_in_a_library_names_the_readers_own_line():
    with pytest.raises(
        Mistake, match=r"On input 1 of 1, .* \(line \d+: .*compare\(lambda x: F.nll_loss"
    ):
        compare(lambda x: F.nll_loss(x, x), lambda x: x, [(X,)])


def test_a_mistake_that_agrees_by_chance_on_one_input_is_not_named():
    cases = [(torch.tensor([1.0]), float(by)) for by in (1, 2, 3, 4)]
    with pytest.raises(Mistake, match="On input 2 of 4"):
        compare(
            lambda x, by: x * min(by, 1),
            lambda x, by: x * by,
            cases,
            {"half of it": lambda x, by: x * by / 2},
        )


def heard(yours, wrong, numbers) -> bool:
    """Whether `yours`, compared with float on some numbers, hears that it does as `wrong`."""
    with pytest.raises(Mistake) as caught:
        compare(yours, float, [(n,) for n in numbers], {"as the wrong one": wrong})
    return "as the wrong one" in str(caught.value)


def test_inputs_on_which_both_are_right_tell_nothing():
    """The limit would show at 2.5 and 2.75 too, where yours is right, however often they agree."""

    def wrong_at_3(n):
        return 1.0 if n == 3 else float(n)

    assert not heard(wrong_at_3, lambda n: min(n, 1.0), [0, 0.25, 0.5, 0.75, 1, 2.5, 2.75, 3])
    assert heard(wrong_at_3, lambda n: min(n, 1.0), [0, 0.25, 3])


def test_an_input_on_which_yours_breaks_speaks_neither_for_nor_against():
    assert heard(lambda n: 2.0 * n / (n < 3), lambda n: 2.0 * n, [1, 3, 4, 5])


def test_nan_in_one_place_is_not_any_mistake_that_has_nan_there():
    """Of two that are not finite at 0, only the one that is right elsewhere is like yours."""

    def nan_at_0(n):
        return float(n) if n else math.nan

    assert heard(nan_at_0, lambda n: float(n) if n else math.inf, [0, 1, 2, 3])
    assert not heard(nan_at_0, lambda n: 7.0 * n if n else math.nan, [0, 1, 2, 3])


def test_a_reader_who_prints_is_not_flooded(capsys):
    with pytest.raises(Mistake):
        compared(lambda x, by: print("here") or -x * by)
    assert capsys.readouterr().out.count("here") <= 1 + len(CASES)


def test_masks_are_true_or_false_and_ids_are_whole_numbers():
    mask, ids = torch.tensor([True, False]), torch.tensor([3, 4])
    compare(lambda: ([True, False], [3, 4]), lambda: (mask, ids), [()])
    for wrong, kind in (
        ((mask.long(), ids), "torch.int64, where torch.bool"),
        ((mask, ids.float()), "torch.float32, where torch.int64"),
    ):
        with pytest.raises(Mistake, match=f"numbers of type {kind} was expected"):
            compare(lambda wrong=wrong: wrong, lambda: (mask, ids), [()])


def test_where_numbers_differ_is_said_and_with_digits_enough():
    many = torch.arange(12.0).view(3, 4)
    far = many + torch.eye(3, 4) * (many == 10)
    with pytest.raises(
        Mistake, match=r"you return 11 at place \[2, 2\], where 10 was expected; 1 of 12 numbers"
    ):
        compare(lambda: far, lambda: many, [()])
    with pytest.raises(Mistake, match="you return 0.6667, where 0.6666667 was expected"):
        compare(lambda: 0.6667, lambda: 2 / 3, [()])
    with pytest.raises(Mistake, match="in value 2 of 2, you return 1, where 2 was expected"):
        compare(lambda: (many, 1.0), lambda: (many, 2.0), [()])


def test_a_short_input_is_shown():
    with pytest.raises(
        Mistake, match=r"On input 1 of 1 \(3, \['a'\]\), you return 1, where 3 was expected"
    ):
        compare(lambda n, rows: 1, lambda n, rows: n, [(3, ["a"])])


def test_texts_and_whole_numbers_are_compared_as_they_are():
    compare(lambda: ["a", 2], lambda: ["a", 2], [()])
    with pytest.raises(Mistake, match=r"you return \['b', 2\], where \['a', 2\] was expected"):
        compare(lambda: ["b", 2], lambda: ["a", 2], [()])


@exercise((1.5,))
def doubled(x):
    return 2 * x


def test_a_check_prints_its_verdict_remembers_what_passed_and_never_stops_a_notebook(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "new")
    for yours in (stub, lambda x: x, lambda x: x + x):
        doubled(yours)
    first, second, third = capsys.readouterr().out.splitlines()
    assert (
        first.startswith("Not done yet.")
        and second.startswith("✗ Not yet. On input 1")
        and third == "✓ Right."
    )
    (row,) = checks.passed_file().read_text(encoding="utf-8").splitlines()
    assert json.loads(row)["exercise"] == "test_check.doubled"


def test_a_grader_gets_an_exception():
    for yours in (stub, lambda x: x):
        with pytest.raises(Mistake):
            doubled(yours, raise_errors=True)
    doubled(lambda x: 2 * x, raise_errors=True)


def test_where_yours_does_not_pass_yet_the_right_one_stands_in_for_it(capsys):
    def mine(x):
        return x + x

    assert doubled.or_ours(stub) is doubled.or_ours(lambda x: x) is doubled.right
    assert doubled.or_ours(mine) is mine
    stood_in, _, own = capsys.readouterr().out.splitlines()
    assert stood_in.startswith("doubled: the course's") and own == "doubled: yours"


def test_a_full_disk_spoils_no_exercise(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "file")
    doubled(lambda x: 2 * x)
    assert capsys.readouterr().out.splitlines()[-1] == "✓ Right."
