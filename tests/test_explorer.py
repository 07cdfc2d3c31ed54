"""The explorer of lesson 1, worked as a reader works it: by `.click()` and `.value`."""

import math

import pytest
import tiny
import torch

from rlhf_lessons.widgets import Explorer
from rlhf_lessons.widgets.explorer import SHADES, read, shade, surprise_html, surprise_legend


@pytest.fixture
def explorer():
    model = tiny.model()
    with torch.no_grad():
        model.lm_head.weight.mul_(30)  # a fresh model finds all tokens alike
    return Explorer(model, tiny.tokenizer(), "King Hugo")


def chances(explorer) -> list[float]:
    return [float(bar.description.rstrip("%")) / 100 for bar in explorer.bars]


def test_a_click_takes_the_token_on_the_button_and_back_takes_it_away(explorer):
    before, offered = list(explorer.ids), explorer.offered[3]
    explorer.tokens[3].click()
    assert explorer.ids == [*before, offered] and not explorer.back.disabled
    explorer.back.click()
    assert explorer.ids == before and explorer.back.disabled


def test_it_offers_the_ten_likeliest_tokens_with_their_probabilities(explorer):
    with torch.no_grad():
        logits = explorer.model(torch.tensor([explorer.ids])).logits[0, -1]
    logits[[0, 1, 3, 4]] = float("-inf")  # special tokens that no text holds
    right = logits.softmax(-1).topk(10)
    assert explorer.offered == right.indices.tolist()
    assert chances(explorer) == pytest.approx(right.values.tolist(), abs=6e-4)
    assert all("probability" in button.tooltip for button in explorer.tokens)


def test_top_k_top_p_and_temperature_decide_what_can_be_taken(explorer):
    explorer.top_k.value = 3
    assert sum(chances(explorer)) == pytest.approx(1, abs=2e-3)
    assert [button.disabled for button in explorer.tokens] == [False] * 3 + [True] * 7
    explorer.top_k.value, explorer.top_p.value = 0, 0.5
    kept = sum(not button.disabled for button in explorer.tokens)
    assert 1 <= kept < 10 and sum(chances(explorer)) == pytest.approx(1, abs=5e-3)
    explorer.top_p.value, explorer.temperature.value = 1.0, 0.0
    assert chances(explorer) == [1.0] + [0.0] * 9
    likeliest = explorer.offered[0]
    explorer.choose.click()
    assert explorer.ids[-1] == likeliest


def test_it_chooses_the_same_again_from_the_same_text_and_seed(explorer):
    walks = []
    for _ in range(2):
        for _ in range(5):
            explorer.choose.click()
        walks.append(list(explorer.taken))
        explorer.begin.click()
    assert walks[0] == walks[1] and len(walks[0]) == 5 and explorer.taken == []


def test_after_the_end_token_nothing_can_be_taken_until_it_is_taken_back(explorer):
    explorer.act(lambda: explorer.take(explorer.tokenizer.eos_token_id))
    explorer.act(lambda: explorer.take(9))
    assert explorer.taken == [explorer.tokenizer.eos_token_id] and "ended" in explorer.note.value
    assert explorer.choose.disabled and all(button.disabled for button in explorer.tokens)
    explorer.back.click()
    assert not explorer.choose.disabled and "Click one" in explorer.note.value


def test_a_text_of_its_own_can_be_walked_and_an_empty_or_a_too_long_one_does_no_harm(explorer):
    explorer.text.value = ""
    explorer.begin.click()
    assert explorer.ids == [explorer.tokenizer.bos_token_id]
    explorer.text.value = "word " * 400
    explorer.begin.click()
    assert "shorter" in explorer.note.value and explorer.ids == [explorer.tokenizer.bos_token_id]


def test_it_stops_where_the_model_has_no_more_room(explorer):
    explorer.given = [9] * (explorer.model.config.max_position_embeddings - 1)
    explorer.show()
    explorer.act(lambda: explorer.take(9))
    assert explorer.choose.disabled and "ended" in explorer.note.value


def test_texts_are_text_and_never_markup_and_no_special_token_can_be_written():
    tokenizer = tiny.tokenizer()
    explorer = Explorer(tiny.model(), tokenizer, "<b>x</b> <eos>")
    assert "<b>" not in explorer.shown.value and tokenizer.eos_token_id not in explorer.ids


def test_the_surprise_shown_is_minus_the_log_of_the_models_own_probability(explorer):
    explorer.temperature.value = 0.2
    with torch.no_grad():
        logprobs = explorer.model(torch.tensor([explorer.ids])).logits[0].log_softmax(-1)
    last = -logprobs[-2, explorer.ids[-1]].item()
    surprises, _ = read(explorer.model, explorer.ids)
    assert surprises[-1].item() == pytest.approx(last, abs=1e-5)
    assert f"<sub>{last:.1f}</sub>" in explorer.shown.value
    rest = surprise_html(
        explorer.model, explorer.tokenizer, explorer.ids, first=len(explorer.ids) - 1
    )
    assert rest.count("<sub>") == 1


def test_each_shade_stands_in_the_legend_and_black_letters_are_readable_on_it():
    assert all(colour in surprise_legend() for colour in SHADES.values()) and SHADES[0.5] in shade(
        0.0
    )
    for colour in SHADES.values():
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
        ]
        light = math.fsum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear))
        assert (light + 0.05) / 0.05 >= 4.5  # WCAG 2.1 AA


def test_what_stands_in_for_it_on_a_page_says_what_it_is(explorer):
    assert "works in Jupyter" in repr(explorer)


def test_begun_with_a_text_that_is_too_long_it_says_so_and_walks_from_the_start():
    explorer = Explorer(tiny.model(), tiny.tokenizer(), "word " * 20_000)
    assert "Begin with a shorter one" in explorer.note.value and len(explorer.ids) == 1
    explorer.temperature.value = 0.5
    explorer.choose.click()
    assert len(explorer.ids) == 2
