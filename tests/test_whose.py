"""Whose vote was it? The widget, worked as a reader works it, for one reader and for a class."""

import re

import pytest
from tiny_models import tiny_llama

import rlhf_lessons as rl
from rlhf_lessons.feedback import Store
from rlhf_lessons.feedback.simulate import simulate
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.widgets import WhoseVote
from rlhf_lessons.world.raters import Rater

DRAGONS = Rater({"dragon": 1.0}, tie_margin=0.05)
STORY = "Write a fictional story about Lady Anna looking for an island."
TEXTS = ["anna found a castle", "anna found the dragon", "anna found friends"]
ENDED = [True, True, True]


def pairs(*texts: tuple[str, str], prompt: str = STORY) -> list[dict]:
    """Rows for a round that all raters see whole."""
    rows = []
    for two in texts:
        completions = [{"text": text} for text in two]
        rows.append({"kind": "pair", "overlap": None, "prompt": prompt, "completions": completions})
    return rows


TWO_PAIRS = pairs(
    ("anna walked with a dragon", "anna walked with friends"),
    ("the castle had a dragon", "the castle was found"),
)


@pytest.fixture(scope="module")
def models(tokenizer):
    llama = tiny_llama(tokenizer)
    return {"policy": (llama, tokenizer), "reward_model": to_reward_model(llama)}


@pytest.fixture(scope="module")
def live(models, tmp_path_factory):
    """The reward model of one reader, who likes dragons, after two votes."""
    store = Store(tmp_path_factory.mktemp("reader") / "ratings.sqlite3")
    card = rl.rate(TWO_PAIRS, "r", store=store, simulated=DRAGONS)
    found = rl.live_reward_model(card, **models)
    card.answers()
    return found


@pytest.fixture
def box(live):
    return WhoseVote(live, STORY, TEXTS, ENDED)


def seen(box) -> str:
    """What stands in the box, as plain text."""
    page = re.sub(r"<style>.*?</style>|<[^>]+>", " ", box.view.value, flags=re.S)
    return " ".join(page.split())


def rewards(box) -> dict[str, str]:
    """The reward in the ranking of each text."""
    row = r"<td>([+-][\d.]+)(?:<br>[^<]+)?</td>\s*<td>([^<]+)</td></tr>"
    return {text: reward for reward, text in re.findall(row, box.view.value)}


def announced(box) -> float:
    """The reward of the chosen answer without vote 1, before that is taken back."""
    said = re.search(r"Vote 1\. Without it alone, the reward of \w is ([+-][\d.]+)", seen(box))
    return float(said[1])


def reward_of_a(box) -> float:
    return float(rewards(box)[box.answers[1][0]])


def test_answers_stand_by_reward_with_the_votes_that_moved_the_first(box, live):
    live.learn()
    mine = dict(zip(TEXTS, live.reward([STORY] * 3, TEXTS, ENDED).tolist(), strict=True))
    assert [*rewards(box)] == sorted(TEXTS, key=mine.get, reverse=True)
    assert rewards(box) == {text: f"{reward:+.2f}" for text, reward in mine.items()}
    assert "0 of 2 votes taken back: every answer is in its place." in seen(box)
    assert "won, much better anna walked with a dragon" in seen(box)
    assert "lost anna walked with friends" in seen(box)
    assert [button.description for button in box.buttons] == [
        "Take vote 1 back",
        "Take vote 2 back",
    ]


def test_a_vote_taken_back_gives_the_reward_that_was_announced(box):
    at_first = seen(box)
    box.buttons[0].click()
    assert reward_of_a(box) == pytest.approx(announced(box), abs=0.011)
    assert "1 of 2 votes taken back" in seen(box) and "Taken back." in seen(box)
    assert box.buttons[0].description == "Give vote 1 again"
    box.buttons[0].click()
    assert seen(box) == at_first


def test_the_store_keeps_a_vote_that_was_taken_back(box, live):
    before = live.store.answers("r")
    for button in box.buttons:
        button.click()
    assert "2 of 2 votes taken back" in seen(box)
    assert live.store.answers("r") == before and len(live.votes()[0]) == 2


def test_without_its_votes_the_ranking_is_the_shipped_one_with_moves_in_words(box, live):
    shipped = live.untrained([STORY] * 3, TEXTS, ENDED).tolist()
    shipped = [text for _, text in sorted(zip(shipped, TEXTS, strict=True), reverse=True)]
    before = [*rewards(box)]
    assert before[0] == "anna found the dragon" != shipped[0]  # else nothing moves below
    for button in box.buttons:
        button.click()
    assert [*rewards(box)] == shipped
    place = shipped.index(before[0]) + 1
    assert f"A ▼ down from place 1 to {place}" in seen(box)
    assert "▲ up from place" in seen(box)


def test_each_answer_keeps_what_was_taken_back_for_it(box):
    first = seen(box)
    box.buttons[0].click()
    box.answer.value = 2
    assert "the reward of A" not in seen(box) and "the reward of C" in seen(box)
    assert "0 of 2 votes taken back" in seen(box)
    box.answer.value = 0
    assert "1 of 2 votes taken back" in seen(box) and seen(box) != first


def test_one_vote_is_enough(store, models):
    card = rl.rate(TWO_PAIRS[:1], "r", store=store, simulated=DRAGONS)
    card.answers()
    box = WhoseVote(rl.live_reward_model(card, **models), STORY, TEXTS, ENDED)
    assert len(box.buttons) == 1
    box.buttons[0].click()
    assert "1 of 1 votes taken back" in seen(box)


def test_a_tie_says_so(store, models):
    card = rl.rate(pairs(("anna", "friends")), "r", store=store, simulated=DRAGONS)
    card.answers()
    box = WhoseVote(rl.live_reward_model(card, **models), STORY, TEXTS, ENDED)
    assert re.search(r"tie (anna|friends) tie (anna|friends)", seen(box))


def test_without_a_vote_it_says_what_to_do(store, models):
    live = rl.live_reward_model(rl.rate(TWO_PAIRS, "r", store=store), **models)
    with pytest.raises(ValueError, match="no vote yet: rate some pairs, then run this cell again"):
        WhoseVote(live, STORY, TEXTS, ENDED)


@pytest.fixture(scope="module")
def room(models, tmp_path_factory):
    """The reward model of a class: four like dragons, one friends, with names to look for."""
    store = Store(tmp_path_factory.mktemp("class") / "ratings.sqlite3")
    store.add_tasks("round 1", TWO_PAIRS)
    for name in ("Zoe Quux", "Yan Quux", "Xia Quux", "Wim Quux"):
        simulate(store, "round 1", DRAGONS, name=name, team="Quux team")
    simulate(store, "round 1", Rater({"dragon": -1.0}, tie_margin=0.05), name="Una Quux")
    return rl.live_reward_model("round 1", store=store, **models)


def test_in_a_class_equal_votes_are_one_and_only_one_of_them_is_taken_back(room):
    box = WhoseVote(room, STORY, TEXTS, ENDED)
    assert "of 10 votes" in seen(box) and len(box.buttons) == 3
    assert "4 votes say the same; this is one of them." in seen(box)
    before = reward_of_a(box)
    box.buttons[0].click()
    assert "1 of 10 votes taken back" in seen(box)
    assert reward_of_a(box) == pytest.approx(announced(box), abs=0.011) != before


def test_in_a_class_nobody_is_named(room):
    box = WhoseVote(room, STORY, TEXTS, ENDED)
    ids = [rater["id"] for rater in room.store.raters()]
    for answer in range(3):
        box.answer.value = answer
        for button in box.buttons:
            button.click()
        everything = str(box._repr_mimebundle_()) + box.view.value + repr(box.influences)
        for name in ("Quux", "Zoe", *ids):
            assert name not in everything


def test_hostile_texts_stay_text(store, models):
    nasty = "<img src=x onerror=alert(1)> {{ 7*7 }} dragon"
    rows = pairs((nasty, "friends"), prompt=f"{STORY} <script>1</script>")
    card = rl.rate(rows, "r", store=store, simulated=DRAGONS)
    card.answers()
    live = rl.live_reward_model(card, **models)
    box = WhoseVote(live, "<b>Who?</b>", [nasty, "</td></table><script>2</script>"], ENDED[:2])
    box.buttons[0].click()
    page = box._repr_mimebundle_()["text/html"]
    for mark in ("<img", "<script", "<b>", "49"):
        assert mark not in page
    assert page.count("&lt;img") == 2 and page.count("&lt;script&gt;") == 2
    assert page.count("<table>") == page.count("</table>") == 2


def test_an_answer_without_a_word_is_named_as_such(live):
    assert "(nothing: it ended at once)" in seen(WhoseVote(live, STORY, ["", "anna"], ENDED[:2]))


def test_where_no_kernel_runs_the_ranking_and_the_votes_still_stand_there(box):
    shown = box._repr_mimebundle_()
    assert shown["text/html"] == box.view.value and "dragon" in shown["text/html"]
    assert shown["text/plain"].startswith("Answers ranked by a reward model")
    assert "application/vnd.jupyter.widget-view+json" in shown
