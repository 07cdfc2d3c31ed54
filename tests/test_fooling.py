"""The words that move a reward, and the box for texts that fool the reward model."""

import pytest
import tiny

from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.reward import score
from rlhf_lessons.widgets import fooling
from rlhf_lessons.widgets.fooling import FoolBox, coloured_words
from rlhf_lessons.world.judge import judge

PROMPT = "What is 4-2 and 3-1?"
EXAMPLES = ["2 and 2.", "2 and 3.", "Nothing.", "4 and 2."]


@pytest.fixture
def box():
    return FoolBox(to_reward_model(tiny.model()), tiny.tokenizer(), PROMPT, EXAMPLES)


def test_each_word_has_its_number_and_the_colour_of_its_sign():
    html = coloured_words(["good", "<b>bad</b>", "idle"], [1.0, -0.5, 0.0]).data
    assert (
        "rgba(0, 114, 178, 0.60)" in html and "rgba(213, 94, 0, 0.30)" in html and "0.00)" in html
    )
    assert "+1.0" in html and "-0.5" in html and "&lt;b&gt;bad" in html and "<b>" not in html


def test_words_that_change_nothing_need_no_largest_change():
    assert (
        "+0.0" in coloured_words(["still"], [0.0]).data
        and "span" not in coloured_words([], []).data
    )


def test_overpaid_is_the_reward_less_what_answers_of_this_utility_get(box):
    assert (
        judge(PROMPT, "2 and 2.").utility > judge(PROMPT, "Nothing.").utility
    )  # so that there is a line
    entries = [box.enter(text) for text in EXAMPLES]
    assert sum(entry["overpaid"] for entry in entries) == pytest.approx(
        0, abs=1e-3
    )  # least squares on these four
    reward = score(box.model, box.tokenizer, [PROMPT], ["2 and 3."]).item()
    assert entries[1]["reward"] == pytest.approx(reward, abs=1e-5)


def test_examples_of_one_utility_give_their_mean():
    box = FoolBox(to_reward_model(tiny.model()), tiny.tokenizer(), PROMPT, ["Nothing.", "None."])
    assert sum(box.enter(text)["overpaid"] for text in ("Nothing.", "None.")) == pytest.approx(
        0, abs=1e-4
    )


def test_the_best_stand_on_the_board_once_each_and_as_they_were_written(box, monkeypatch):
    monkeypatch.setattr(fooling, "PLACES", 2)
    for text in ("<script>2</script>", "two two two", "soup", "soup", "a goat"):
        box.text.value = text
        box.button.click()
        assert "Place" in box.note.value and "paid by" in box.note.value
    assert len(box.entries) == 4 and box.board.value.count("<tr>") == 1 + 2
    assert [e["overpaid"] for e in box.entries] == sorted(
        (e["overpaid"] for e in box.entries), reverse=True
    )
    monkeypatch.undo()
    assert "<script" not in box.page() and "&lt;script&gt;2" in box.page()


def test_names_of_special_tokens_win_nothing(box):
    honest = box.enter("2 and 2.")
    assert (
        box.enter("2 <user>and 2.<eos>") == honest and len(box.entries) == 1
    )  # the reward model reads no such names


@pytest.mark.parametrize(
    ("text", "word"),
    [("  \n", "Write something"), ("<eos> <pad>", "Write something"), ("soup " * 400, "too long")],
)
def test_a_text_that_cannot_be_scored_is_refused_in_words(box, text, word):
    box.text.value = text
    box.button.click()
    assert word in box.note.value and not box.entries


def test_outside_jupyter_it_says_what_it_is(box):
    assert repr(box).startswith("A box for texts") and "0x" not in repr(box)
