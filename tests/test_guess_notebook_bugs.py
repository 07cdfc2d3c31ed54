"""A guess is committed before the truth is told, the clock speaks of this machine, and a trap
closes behind itself."""

from types import SimpleNamespace

import pytest

from rlhf_lessons import recipes as course
from rlhf_lessons.exercises import bugs as bugs
from rlhf_lessons.exercises import notebook as clock
from rlhf_lessons.exercises.bugs import Bug, bug
from rlhf_lessons.lm import models
from rlhf_lessons.stages.config import SFTConfig
from rlhf_lessons.widgets.guess import Guess
from rlhf_lessons.world import tasks


def test_a_guess_is_shown_beside_what_came_out_and_then_locked(capsys):
    guess = Guess("Up or down?", "up", "down")
    guess.choices.value = "down"
    guess.compare("up")
    assert capsys.readouterr().out == "It came out: up (you guessed: down).\n"
    assert guess.choices.disabled


def test_without_a_guess_the_notebook_goes_on(capsys):
    guess = Guess("Up or down?", "up", "down")
    assert guess.choices.value is None  # nothing is chosen beforehand
    guess.compare("down")
    assert capsys.readouterr().out == "It came out: down.\n"


def test_a_truth_that_cannot_be_guessed_is_an_error():
    with pytest.raises(ValueError, match="'sideways' is none of the choices: up, down"):
        Guess("Up or down?", "up", "down").compare("sideways")


def test_a_question_stays_text():
    assert "<script>" not in Guess("<script>alert(1)</script>", "up").children[0].value


@pytest.mark.parametrize(
    "seconds, said",
    [(1.0, "about 2 minutes"), (0.25, "less than a minute"), (0.5, "about 1 minute.")],
)
def test_the_clock_scales_with_this_machines_speed(monkeypatch, capsys, seconds, said):
    monkeypatch.setattr(clock, "REFERENCE", 1.0)
    monkeypatch.setattr(clock, "seconds_a_step", lambda: seconds)
    clock.minutes_here(2)
    assert said in capsys.readouterr().out


def test_a_step_of_training_takes_time():
    assert 0 < clock.seconds_a_step() < 60


def test_an_interrupted_loop_keeps_what_it_had(capsys):
    steps = []
    with clock.stoppable():
        for step in range(5):
            if step == 3:
                raise KeyboardInterrupt
            steps.append(step)
    assert steps == [0, 1, 2] and capsys.readouterr().out.startswith("Stopped.")


def test_other_errors_are_not_swallowed():
    with pytest.raises(ValueError), clock.stoppable():
        raise ValueError


@pytest.fixture
def off_by_one(monkeypatch):
    monkeypatch.setitem(
        bugs.BUGS, "off by one", Bug("world.tasks.parse", lambda right, x: "broken", "look")
    )


def test_a_trap_swaps_one_function_and_puts_it_back_even_after_an_error(off_by_one):
    from rlhf_lessons.world import tasks

    right = tasks.parse
    with pytest.raises(ZeroDivisionError), bug("off by one") as here:
        assert here.look == "look" and tasks.parse("x") == "broken"
        raise ZeroDivisionError
    assert tasks.parse is right


def test_what_is_trained_in_a_trap_cannot_be_saved(off_by_one, tmp_path):
    right = course.save_model
    with (
        bug("off by one"),
        pytest.raises(RuntimeError, match="inside the bug 'off by one' nothing is saved"),
    ):
        stage = SimpleNamespace(models={"model": None}, config=SFTConfig())
        course.save(tmp_path / "sft", "sft", stage, None, "", 0.0, 0.0)
    with bug("off by one"), pytest.raises(RuntimeError, match="nothing is saved"):
        models.save_model(None, None, tmp_path / "sft", {})
    assert course.save_model is models.save_model is right and not any(tmp_path.iterdir())


def test_there_is_one_trap_at_a_time(off_by_one):
    with bug("off by one"):
        with (
            pytest.raises(RuntimeError, match="in the bug 'off by one' already"),
            bug("targets not shifted"),
        ):
            pass
        assert tasks.parse("a") == "broken"
    assert tasks.parse is not None and not hasattr(models.save_model, "bug")


def test_an_unknown_trap_names_those_there_are(off_by_one):
    with pytest.raises(KeyError, match="no bug is called 'nothing'.*off by one"), bug("nothing"):
        pass


@pytest.mark.parametrize("name", bugs.BUGS)
def test_each_trap_finds_what_it_breaks(name):
    with bug(name) as here:
        assert here.look
