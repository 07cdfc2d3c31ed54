"""The flight recorder's widget: every step and token can be reached, and its words are true."""

import json
import math
import time

import pytest

from rlhf_lessons import paths
from rlhf_lessons.evaluation.recorder import PARTS
from rlhf_lessons.widgets.recorder import (
    FlightRecorder,
    bars,
    clipped,
    flight_figure,
    shade,
    why,
)

RECORDING = paths.DATA / "results" / "flight.json"


def response(**more) -> dict:
    """A response of four tokens, one of them hostile, one a line end, one empty."""
    advantage = [1.0, 0.5, -1.0, 0.0]
    return {
        "prompt": "Write <b>one</b>.",
        "reward": 1.0,
        "ended": True,
        "tokens": ["The", " <i>", "\n", ""],
        "old": [math.log(0.5)] * 4,
        "new": [math.log(chance) for chance in (0.7, 0.4, 0.5, 0.5)],
        "reference": [math.log(0.5)] * 4,
        "value": [0.0] * 4,
        "advantage": advantage,
        "score": [2.0] * 4,
        "kl": [-0.5] * 4,
        "baseline": [-0.25] * 4,
        "batch": [each - 1.25 for each in advantage],
    } | more


def frames(**more) -> list[dict]:
    common = {"learns": True, "reward": 0.0, "kl": 0.0, "entropy": 1.0, "clip_range": 0.2}
    return [common | {"step": step, "responses": [response()]} | more for step in (0, 2)]


def test_the_shipped_recording_is_small_and_opens_at_once():
    assert RECORDING.stat().st_size <= 4_000_000
    found = json.loads(RECORDING.read_text(encoding="utf-8"))
    began = time.perf_counter()
    box = FlightRecorder(found)
    assert time.perf_counter() - began < 1
    assert len(box.tokens.children) == len(found[0]["responses"][0]["tokens"])


def test_in_the_shipped_recording_the_parts_are_the_advantages():
    found = json.loads(RECORDING.read_text(encoding="utf-8"))
    worst = max(
        abs(sum(response[part][i] for part in PARTS) - advantage)
        for frame in found
        for response in frame["responses"]
        for i, advantage in enumerate(response["advantage"])
    )
    assert worst < 1e-5
    assert len(found) >= 10 and len(found[0]["responses"]) == 5
    assert found[-1]["reward"] > found[0]["reward"] + 1


@pytest.mark.parametrize(
    ("advantage", "new", "out"),
    [
        (1.0, 0.3, True),
        (1.0, 0.1, False),
        (1.0, -0.5, False),
        (-1.0, -0.3, True),
        (-1.0, 0.3, False),
    ],
)
def test_a_token_is_clipped_where_it_has_moved_enough_its_own_way(advantage, new, out):
    response = {"old": [0.0], "new": [new], "advantage": [advantage]}
    assert clipped(response, 0, 0.2) is out


def test_every_token_is_a_button_with_its_sign_and_says_why():
    box = FlightRecorder(frames())
    assert [button.description for button in box.tokens.children] == [
        "The ▲",
        "␣<i> ▲",
        "⏎ ▼",
        "∅ ·",
    ]
    assert "likelier" in box.note.value and "50.0% to 70.0%" in box.note.value
    box.tokens.children[2].click()
    assert "less likely" in box.note.value and "advantage -1.00" in box.note.value
    assert box.tokens.children[2].layout.border.startswith("2px")
    assert box.sum.value.count("<tr") == len(PARTS) + 1


def test_the_step_can_be_moved_and_keeps_the_token():
    box = FlightRecorder(frames())
    box.tokens.children[1].click()
    box.step.value = 1
    assert "Step 3 of 3" in box.line.value and "Token 2" in box.note.value


@pytest.mark.parametrize(
    ("token", "more", "words"),
    [
        (0, {}, "Its ratio has left 1 ± 0.2"),
        (1, {}, "moved it the other way"),
        (3, {}, "so it was to stay"),
        (0, {"learns": False}, "only the critic learned"),
    ],
)
def test_the_words_say_what_happened(token, more, words):
    frame = frames(**more)[0]
    assert words in why(frame, frame["responses"][0], token)


def test_words_of_models_are_no_markup():
    box = FlightRecorder(frames())
    box.tokens.children[1].click()
    for part in (box.note, box.sum, box.line, box.score):
        assert "<i>" not in part.value and "<b>one" not in part.value


def test_colours_are_paler_for_less():
    assert shade(2.0) == "#56b4e9" and shade(-2.0) == "#e69f00" and shade(0.0) == "#ffffff"
    assert shade(0.3) > shade(1.0)


def test_nothing_recorded_is_refused():
    with pytest.raises(ValueError, match="nothing was recorded"):
        FlightRecorder([])


def test_the_sum_is_shown_with_its_signs():
    table = bars(response(), 0)
    assert "+2.00" in table and "-0.50" in table and "+1.00" in table


def test_the_figure_draws_a_bar_for_each_token():
    figure = flight_figure(frames(), 0, token=1)
    left, right = figure.axes
    assert len(left.patches) == 4 and len(right.patches) == len(PARTS) + 1
