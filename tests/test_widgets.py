"""The widgets of the lessons, worked as a reader works them: by `.click()` and `.value`."""

import io
import re

import pytest
import tiny
from PIL import Image

from rlhf_lessons.plots import COLOURS, canvas
from rlhf_lessons.widgets import AskBox, Picture, SideBySide, answers_table, table
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, FAMILIES


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
    assert "aria-live" in box.note.value and not box.answers.value


def test_a_base_model_takes_any_text(models):
    box = AskBox({"one": models["one"]}, ["Once upon a time"], toy_world=False)
    box.button.click()
    assert box.note.value == "" and "<table" in box.answers.value


def test_tables_escape_what_they_show_and_have_headings():
    shown = table(["a<", "b"], [("1\n2", "<i>")], caption="c&d").data
    assert "a&lt;" in shown and "1<br>2" in shown and "&lt;i&gt;" in shown and "c&amp;d" in shown
    assert shown.count('scope="col"') == 2


def test_an_empty_answer_is_named_as_such():
    assert "ended at once" in answers_table(["p"], {"base": [""]}).data


def test_what_stands_in_for_a_widget_on_a_page_says_what_it_is(models):
    assert "works in Jupyter" in repr(AskBox(models))


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
    data, _ = Picture(figure, "Six lines, one above the other.")._repr_mimebundle_()
    seen = Image.open(io.BytesIO(data["image/png"])).convert("RGB")
    shown = {colour for _, colour in seen.getcolors(10**6)}
    for colour in COLOURS:
        red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
        assert min(abs(r - red) + abs(g - green) + abs(b - blue) for r, g, b in shown) < 30, colour


def test_answers_stand_side_by_side_with_what_was_asked_marked_and_what_is_missing_named():
    prompt = "What is 5-2 and 1+1?"
    shown = SideBySide([prompt], {"sft": ["5-2 is 3."], "ppo": ["5-2 is 3. 1+1 is 2."]})
    page = shown._repr_html_().partition("</style>")[2]
    asked, sft, ppo = re.findall(r'(?:class="rl-prompt"|<td).+?</t[hd]>', page, re.S)
    assert "<mark>5-2</mark> and <mark>1+1</mark>?" in asked
    assert "<mark>5-2</mark> is 3." in sft and "✗ missing: 1+1 = 2" in sft
    assert "✓ 1+1 = 2" in ppo and "missing" not in ppo
    assert page.count('data-model="ppo"') == 2 and page.count('role="cell"') == 2
    assert repr(shown) == f"{prompt}\n  sft: 5-2 is 3.\n  ppo: 5-2 is 3. 1+1 is 2.\n"


def test_nothing_is_marked_where_readers_judge_for_themselves_or_outside_the_toy_world():
    for prompt, checked in (("What is 5-2 and 1+1?", False), ("What is life?", True)):
        page = SideBySide([prompt], {"A": ["5-2 is life."]}, checked)._repr_html_()
        assert "<mark>" not in page and "<li" not in page


def test_no_prompt_name_or_answer_is_markup_side_by_side():
    prompt = "Write a poem about a quot in the br."
    page = SideBySide([prompt], {'<i>"': ['A "quot" <br>\nin the br <script>']})._repr_html_()
    assert "<script" not in page and "<i>" not in page and '"&lt;i&gt;&#34;"' in page
    assert "&quot;<mark>quot</mark>&quot; &lt;<mark>br</mark>&gt;<br>in the" in page


def test_an_answer_that_is_missing_is_an_error():
    with pytest.raises(ValueError):
        SideBySide(["p", "q"], {"base": ["one"]})
