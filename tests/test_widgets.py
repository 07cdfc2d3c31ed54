"""The widgets of the lessons, worked as a reader works them: by `.click()` and `.value`."""

import io

import pytest
import tiny
from PIL import Image

from rlhf_lessons.plots import COLOURS, canvas
from rlhf_lessons.widgets import AskBox, PairRater, Picture, answers_table, make_pairs, table
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, FAMILIES

PAIRS = [
    {"prompt": f"prompt {i}", "left": f"<b>left</b> {i}", "right": f"right\n{i}"} for i in range(3)
]


@pytest.fixture(scope="module")
def models():
    return {"one": (tiny.model(0), tiny.tokenizer()), "two": (tiny.model(1), tiny.tokenizer())}


def test_a_suggestion_goes_into_the_box_and_every_model_answers(models):
    box = AskBox(models)
    label, prompt = box.suggestion.options[1]
    box.suggestion.value = prompt
    assert box.prompt.value == prompt == ARTICLE_PROMPTS[1]
    box.button.click()
    assert "<th" in box.answers.value and "one" in box.answers.value and "two" in box.answers.value
    assert not box.button.disabled and box.note.value == ""


def test_suggestions_come_from_the_article_and_from_each_family(models):
    labels = [label for label, _ in AskBox(models).suggestion.options]
    assert [label.split(":")[0] for label in labels] == ["article", "article", *FAMILIES]


def test_another_click_gives_other_answers_except_at_temperature_zero(models):
    box, seen = AskBox(models), []
    for temperature in (1.0, 1.0, 0.0, 0.0):
        box.temperature.value = temperature
        box.button.click()
        seen.append(box.answers.value)
    assert seen[0] != seen[1] and seen[2] == seen[3]


def test_a_prompt_from_outside_the_toy_world_gets_a_kind_word_and_an_answer(models):
    box = AskBox(models)
    box.prompt.value = "What is the meaning of <script>life</script>?"
    box.button.click()
    assert (
        "outside" in box.note.value
        and "<table" in box.answers.value
        and "<script" not in box.answers.value
    )


@pytest.mark.parametrize(("prompt", "word"), [("   ", "empty"), ("word " * 400, "too long")])
def test_a_prompt_that_cannot_be_answered_is_refused_kindly(models, prompt, word):
    box = AskBox(models)
    box.prompt.value = prompt
    box.button.click()
    assert word in box.note.value and not box.button.disabled


def test_a_base_model_takes_any_text(models):
    box = AskBox({"one": models["one"]}, ["Once upon a time"], toy_world=False)
    box.button.click()
    assert box.note.value == "" and "<table" in box.answers.value


def test_votes_are_noted_in_order_and_the_card_closes_after_the_last():
    card = PairRater(PAIRS)
    for choice in ("left", "tie", "right"):
        assert f"Pair {len(card.votes) + 1} of 3" in card.card.value
        card.buttons[choice].click()
    assert [vote["choice"] for vote in card.votes] == ["left", "tie", "right"]
    assert [vote["prompt"] for vote in card.votes] == ["prompt 0", "prompt 1", "prompt 2"]
    assert "Thank you" in card.card.value and all(
        button.disabled for button in card.buttons.values()
    )
    card.buttons["left"].click()
    assert len(card.votes) == 3


def test_a_choice_can_be_taken_back():
    card = PairRater(PAIRS)
    assert card.back.disabled
    card.buttons["left"].click()
    card.back.click()
    assert card.votes == [] and "Pair 1 of 3" in card.card.value and card.back.disabled


def test_texts_on_the_card_are_text_and_never_markup():
    assert (
        "&lt;b&gt;left&lt;/b&gt;" in PairRater(PAIRS).card.value
        and "right<br>0" in PairRater(PAIRS).card.value
    )


def test_a_simulated_rater_votes_on_what_the_reader_left_and_says_so():
    card = PairRater(PAIRS)
    card.buttons["right"].click()
    votes = card.complete(lambda pair: "left")
    assert [(vote["choice"], vote["rater"]) for vote in votes] == [
        ("right", "you"),
        ("left", "simulated"),
        ("left", "simulated"),
    ]
    assert len(card.votes) == 1


def test_pairs_too_alike_are_not_offered_and_both_models_come_on_both_sides(monkeypatch, models):
    good, bad = "What joy! 1+2 is 3 and 3-1 is 2.", "no"
    texts = {id(models["one"][0]): [good] * 20, id(models["two"][0]): [good, *[bad] * 19]}
    monkeypatch.setattr(
        "rlhf_lessons.widgets.pairs.generate",
        lambda model, *_, **__: type("Samples", (), {"texts": texts[id(model)]}),
    )
    pairs = make_pairs(models, ["What is 1+2 and 3-1?"] * 20, n=18)
    assert len(pairs) == 18 and {pair["left_model"] for pair in pairs} == {"one", "two"}
    assert all({pair["left"], pair["right"]} == {good, bad} for pair in pairs)
    assert all((pair["left"] == good) == (pair["left_model"] == "one") for pair in pairs)


def test_tables_escape_what_they_show_and_have_headings():
    shown = table(["a<", "b"], [("1\n2", "<i>")], caption="c&d").data
    assert "a&lt;" in shown and "1<br>2" in shown and "&lt;i&gt;" in shown and "c&amp;d" in shown
    assert shown.count('scope="col"') == 2


def test_an_empty_answer_is_named_as_such():
    assert "ended at once" in answers_table(["p"], {"base": [""]}).data


def test_what_stands_in_for_a_widget_on_a_page_says_what_it_is(models):
    assert "works in Jupyter" in repr(AskBox(models)) and "works in Jupyter" in repr(
        PairRater(PAIRS)
    )


def test_a_picture_keeps_its_colours_apart_though_it_has_few():
    figure, (axis,) = canvas()
    for i, colour in enumerate(COLOURS):
        axis.plot(range(9), [x**0.5 + i for x in range(9)], color=colour, linewidth=2)
        for faint in range(4):
            axis.plot(
                range(9),
                [x**0.5 + i + faint / 5 for x in range(9)],
                color=colour,
                alpha=0.2,
                linewidth=0.8,
            )
    seen = Image.open(
        io.BytesIO(Picture(figure, "Six lines, one above the other.").data()["image/png"])
    ).convert("RGB")
    shown = {colour for _, colour in seen.getcolors(10**6)}
    for colour in COLOURS:
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
        assert min(abs(r - red) + abs(g - green) + abs(b - blue) for r, g, b in shown) < 30, colour
