"""What ships is what the code makes, nothing held out slips in, foreign rows are read or named."""

import hashlib
import itertools
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import tiny

from rlhf_lessons import data, paths, recipes
from rlhf_lessons.recipes import RATER
from rlhf_lessons.stages.run import fingerprint
from rlhf_lessons.world.answers import HABITS
from rlhf_lessons.world.corpus import scraps
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, NAMES, TEXTS, combination, parse, split_of

BUILT = ("prompts.jsonl", "demonstrations.jsonl", "corpus_sample.jsonl", "corpus.json")
NAME = r"\b(?:" + "|".join(NAMES) + r")\b"
SUM = r"\d[+-]\d"
REQUEST = re.compile(rf"(?:Write an? |Write Python )[^.\n]*\.|What is {SUM} and {SUM}\?")


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    """Every scrap that the base is trained on."""
    return list(scraps(data.SCRAPS))


def shipped(name: str) -> list[dict]:
    return [json.loads(line) for _, line in data.lines_of(paths.DATA / name)]


def test_what_ships_is_rebuilt_byte_for_byte(tmp_path):
    files = data.build(tmp_path)
    assert sorted(file.name for file in files) == sorted(BUILT)
    assert [
        name for name in BUILT if (tmp_path / name).read_bytes() != (paths.DATA / name).read_bytes()
    ] == []


def test_the_corpus_is_the_one_whose_hash_and_sample_ship(corpus):
    about = json.loads((paths.DATA / "corpus.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(b"".join(scrap.encode() + b"\0" for scrap in corpus)).hexdigest()
    assert (about["scraps"], about["sha256"]) == (len(corpus), digest)
    assert [row["text"] for row in shipped("corpus_sample.jsonl")] == corpus[:200]


def test_the_splits_share_no_prompt_and_no_combination():
    tasks = {split: data.tasks(split) for split in data.SPLITS}
    for one, other in itertools.combinations(tasks.values(), 2):
        assert not {task.prompt for task in one} & {task.prompt for task in other}
        taken = {combination(task.spec) for task in one}
        assert taken.isdisjoint(combination(task.spec) for task in other)


def test_the_articles_prompts_are_held_out():
    held_out = data.prompts_of("heldout")
    assert set(ARTICLE_PROMPTS) <= set(held_out)
    assert all(split_of(parse(prompt)) == "heldout" for prompt in ARTICLE_PROMPTS)


@pytest.mark.parametrize("name", ["demonstrations.jsonl", "comparisons.jsonl"])
def test_no_training_file_asks_for_a_combination_of_another_split(name):
    assert {split_of(parse(row["prompt"])) for row in shipped(name)} == {"train"}


def combinations(text: str, specs: list[dict]) -> list[dict]:
    """The combinations in a text: what was asked for, with other names in it, and any two sums."""
    names, sums = set(re.findall(NAME, text)), sorted(set(re.findall(rf"(?<!\d){SUM}(?!\d)", text)))
    return (
        specs
        + [spec | {"Name": name} for spec in specs if "Name" in spec for name in names]
        + [{"family": "maths", "e1": e1, "e2": e2} for e1, e2 in itertools.combinations(sums, 2)]
    )


def test_no_demonstration_holds_a_combination_of_another_split():
    """Not even of names or sums that its prompt does not hold."""
    for row in shipped("demonstrations.jsonl"):
        found = combinations(row["completion"], [parse(row["prompt"])])
        assert {split_of(spec) for spec in found} == {"train"}, row


def pattern(template: str) -> re.Pattern:
    """A pattern that finds a template's facts; the hero is a title and a name."""
    found = re.escape(template).replace(r"\{Hero\}", r"\w+ (?P<Name>\w+)")
    found = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\w+)", found)
    for fact in re.findall(r"\(\?P<(\w+)>", found):  # where it is said again, it is the same
        first, *again = found.split(rf"(?P<{fact}>\w+)")
        found = first + rf"(?P<{fact}>\w+)" + f"(?P={fact})".join(again)
    return re.compile(re.sub(r"\b([Aa])\\ ", r"\1n?\\ ", found))


def title_patterns() -> list[tuple[re.Pattern, dict]]:
    """A pattern for each title or header that a scrap can begin with, and what it is about."""
    found = [
        (pattern(title), {"family": "story"})
        for plot in TEXTS["story"].values()
        for title in plot["titles"]
    ]
    found += [
        (pattern(headers), {"family": "email"})
        for kind in ("invite", "thank", "sorry", "ask")
        for headers in TEXTS["email"][kind]["titles"]
    ]
    creature, place = ("|".join(TEXTS["poem"][kind]) for kind in ("creatures", "places"))
    found += [
        (
            re.compile(rf"(?:\w+ )?(?P<creature>{creature})\W.*\b(?P<place>{place})\W?", re.I),
            {"family": "poem"},
        ),
        (
            re.compile(rf"(?:\w+ )?(?P<place>{place})\W.*\b(?P<creature>{creature})\W?", re.I),
            {"family": "poem"},
        ),
    ]
    return found + [
        (pattern(*code["titles"]), {"family": "code", "kind": kind})
        for kind, code in TEXTS["code"].items()
        if isinstance(code, dict) and "titles" in code
    ]


def test_no_scrap_holds_a_combination_of_another_split(corpus):
    """Titles, headers, requests, other names under a title, and any two sums in one scrap."""
    patterns, families = title_patterns(), set()
    notices = {form: pattern(form) for form in TEXTS["notice"]["forms"]}
    patterns += [(notices[form], {"family": "email"}) for form in notices if "{Name}" in form]
    to_nobody = [notices[form] for form in notices if "{Name}" not in form]
    for scrap in corpus:
        if any(notice.fullmatch(scrap) for notice in to_nobody):
            continue
        specs = [parse(request) for request in REQUEST.findall(scrap)]
        first_lines = (
            "\n".join(scrap.split("\n")[:2]) if scrap.startswith("To: ") else scrap.split("\n")[0]
        )
        heads = [line for line in scrap.split("\n") if line.startswith("# ")] or [first_lines]
        titles = [
            fixed | match.groupdict()
            for head in heads
            for which, fixed in patterns
            if (match := which.fullmatch(head))
        ]
        found = specs + combinations(scrap, titles)
        wrong = [spec for spec in found if split_of(spec) != "train"]
        assert not wrong, f"{wrong} in the scrap:\n{scrap}"
        assert found, f"nothing was recognised in the scrap:\n{scrap}"
        families |= {spec["family"] for spec in titles}
    assert families == {"story", "email", "poem", "code"}


def test_no_scrap_holds_a_request_followed_by_its_answer(corpus):
    """The judge reads what follows each request, and the next line, in a third of the corpus."""
    requests = 0
    for scrap in corpus[::3]:
        for match in REQUEST.finditer(scrap):
            requests += 1
            rest = scrap[match.end() :].strip("\"' -\n")
            for text in {rest, rest.split("\n")[0]}:
                assert not judge(match[0], text).fulfils, (
                    f"{match[0]!r} is answered in the scrap:\n{scrap}"
                )
    assert requests > len(corpus) / 30


def test_no_scrap_says_the_result_of_a_sum_that_is_asked_in_it(corpus):
    for scrap in corpus:
        asked = {e for request in REQUEST.findall(scrap) for e in re.findall(SUM, request)}
        said = set(re.findall(rf"({SUM})\s*(?:is|=|makes)", scrap))
        assert not asked & said, scrap


def test_the_comparisons_are_what_the_judge_says_of_them():
    rows = shipped("comparisons.jsonl")
    for row in rows:
        scores = [
            judge(row["prompt"], row[side], end).utility
            for side, end in zip(("chosen", "rejected"), row["ended"], strict=True)
        ]
        assert scores == pytest.approx(row["utilities"], abs=1e-4)
        assert abs(scores[0] - scores[1]) >= 0.05 - 1e-4, "a tie"
        assert row["chosen"] != row["rejected"]


@pytest.mark.parametrize("least, most", [(0, 0.15), (0.15, 0.4), (0.4, 1.01)])
def test_the_comparisons_are_as_often_wrong_as_their_rater_is(least, most):
    """Bradley and Terry's chance that the worse answer is chosen, and flips; within 4 errors."""
    leads = [row["utilities"][0] - row["utilities"][1] for row in shipped("comparisons.jsonl")]
    leads = np.array([lead for lead in leads if least <= abs(lead) < most])
    wrong = 1 / (1 + np.exp(np.abs(leads) / RATER.noise))
    wrong += RATER.flip_rate * (1 - 2 * wrong)
    error = np.sqrt(np.sum(wrong * (1 - wrong)))
    assert np.sum(leads < 0) == pytest.approx(np.sum(wrong), abs=4 * error)


def test_the_data_card_gives_the_sizes_that_ship():
    card = (Path(__file__).parent.parent / "data" / "README.md").read_text(encoding="utf-8")
    sizes = [f"{n:,} {split}" for split, n in data.SPLITS.items()]
    for said in (
        *sizes,
        f"| {data.DEMONSTRATIONS:,} |",
        f"({data.SCRAPS:,})",
    ):
        assert said in card, said
    assert "simulated, not people" in card and "CC0" in card


def test_the_data_card_says_how_people_write_and_judge():
    card = (Path(__file__).parent.parent / "data" / "README.md").read_text(encoding="utf-8")
    names = {(0, 2): "first and third", (1, 2): "second and third", (0,): "first"}
    names |= {(1,): "second", (): "none"}
    for habit in HABITS["habits"]:
        assert f"| {100 * habit['share']:g} % | {names[tuple(habit['writes'])]} |" in card
    shares = [
        sum(habit["share"] for habit in HABITS["habits"] if place in habit["writes"])
        for place in range(3)
    ]
    assert f"in {100 * min(shares):g} or {100 * max(shares):g} % of its family's" in card
    noise = f"noise={RATER.noise}, flip_rate={RATER.flip_rate}, tie_margin={RATER.tie_margin}"
    assert f"`Rater({noise})`" in card
    assert f"**{100 * RATER.flip_rate:.0f} % of all choices are flipped" in card
    for lead in (RATER.tie_margin, RATER.noise, 0.5):
        assert f"by {lead} it is {100 / (1 + np.exp(-lead / RATER.noise)):.0f} %" in card


def test_what_ships_can_be_read_back():
    for name, kind in (
        ("prompts", "prompts"),
        ("demonstrations", "demonstrations"),
        ("comparisons", "comparisons"),
    ):
        assert data.read_rows(paths.DATA / f"{name}.jsonl", kind)


# ---- Foreign data --------------------------------------------------------------------------------


def written(folder, *lines) -> str:
    path = folder / "foreign.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n",
        encoding="utf-8",
    )
    return str(path)


TALK = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: A joke?\n\nAssistant:"
USER = {"role": "user", "content": "A joke?"}
KNOCK = {"role": "assistant", "content": "Knock knock."}
NO = {"role": "assistant", "content": "No."}
JOKE = {"prompt": "A joke?", "chosen": "Knock knock.", "rejected": "No."}


def test_rows_of_hh_rlhf_are_taken_apart(tmp_path):
    path = written(tmp_path, {"chosen": TALK + " Knock knock.", "rejected": TALK + " No."})
    (row,) = data.read_rows(path, "comparisons")
    assert row == JOKE | {"prompt": "Hi\n\nAssistant: Hello!\n\nHuman: A joke?"}


def test_sides_of_unequal_turns_are_split_at_their_shared_beginning(tmp_path):
    longer = TALK + " Knock knock.\n\nHuman: Who is there?\n\nAssistant: Anna."
    path = written(tmp_path, {"chosen": longer, "rejected": TALK + " No."})
    (row,) = data.read_rows(path, "comparisons")
    assert row["prompt"] == "Hi\n\nAssistant: Hello!\n\nHuman: A joke?"
    assert row["chosen"] == "Knock knock.\n\nHuman: Who is there?\n\nAssistant: Anna."
    assert row["rejected"] == "No."


@pytest.mark.parametrize(
    "row",
    [
        JOKE,
        {"prompt": [USER], "chosen": [KNOCK], "rejected": [NO]},
        {"chosen": [USER, KNOCK], "rejected": [USER, NO]},
        {"prompt": "A joke?", "chosen": [USER, KNOCK], "rejected": [USER, NO]},
        {"chosen": "A joke? Knock knock.", "rejected": "A joke? No."},
        JOKE | {"margin": None, "messages": None},
    ],
    ids=["standard", "conversational", "implicit", "ultrafeedback", "implicit text", "None"],
)
def test_a_comparison_in_each_of_trls_forms_is_the_same_row(tmp_path, row):
    (read,) = data.read_rows(written(tmp_path, row), "comparisons")
    assert read == JOKE


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "completion": [KNOCK]},
        {"messages": [USER, KNOCK]},
        {"prompt": "A joke?", "messages": [USER, KNOCK]},
        {"text": "\n\nHuman: A joke?\n\nAssistant: Knock knock."},
    ],
    ids=["conversational", "messages", "prompt and messages", "transcript"],
)
def test_a_demonstration_in_each_of_trls_forms_is_the_same_row(tmp_path, row):
    (read,) = data.read_rows(written(tmp_path, row), "demonstrations")
    assert (read["prompt"], read["completion"]) == ("A joke?", "Knock knock.")


def test_a_longer_conversation_keeps_who_said_what(tmp_path):
    system = {"role": "system", "content": "Be brief."}
    row = {"messages": [system, USER, NO, USER, KNOCK]}
    (read,) = data.read_rows(written(tmp_path, row), "demonstrations")
    assert read["completion"] == "Knock knock."
    assert read["prompt"] == (
        "\n\nSystem: Be brief.\n\nHuman: A joke?\n\nAssistant: No.\n\nHuman: A joke?"
    )


def test_trl_rows_keep_their_other_columns(tmp_path):
    row = {"prompt": "p", "chosen": "a", "rejected": "", "rater": 7, "margin": -0.5}
    assert data.read_rows(written(tmp_path, row), "comparisons") == [row]


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_are_read(tmp_path):
    line = json.dumps(GOOD)
    (tmp_path / "foreign.jsonl").write_bytes(f"\ufeff{line}\r\n\r\n{line}\r\n\n\n".encode())
    assert data.read_rows(tmp_path / "foreign.jsonl", "demonstrations") == [GOOD, GOOD]


GOOD = {"prompt": "p", "completion": "c"}
RANKED = {"prompt": "p", "completions": ["a", "b", "c"], "scores": [0.5, 2, -1]}


@pytest.mark.parametrize(
    "kind, line, named",
    [
        ("demonstrations", {"prompt": "p"}, "row 2: the field 'completion' is missing"),
        (
            "demonstrations",
            {"prompt": "p", "completion": " "},
            "row 2: the field 'completion' is empty",
        ),
        ("demonstrations", {"prompt": ["p"], "completion": "c"}, "row 2: the field 'prompt' holds"),
        (
            "demonstrations",
            {"prompt": None, "completion": "c"},
            "row 2: the field 'prompt' holds None",
        ),
        ("demonstrations", {"prompt": "", "completion": "c"}, "row 2: the field 'prompt' is empty"),
        ("demonstrations", "{broken", "row 2: not JSON"),
        ("demonstrations", "[" * 100_000, "row 2: not JSON"),
        ("demonstrations", "[1, 2]", "row 2: a list, where an object was expected"),
        ("demonstrations", {"text": "Once upon a time"}, "row 2: the field 'prompt' is missing"),
        (
            "demonstrations",
            {"messages": [USER, KNOCK, USER]},
            "row 2: the conversation does not end",
        ),
        (
            "demonstrations",
            {"messages": [USER, KNOCK | {"role": "tool"}]},
            "row 2: the field 'messages' holds",
        ),
        (
            "demonstrations",
            {"messages": [USER, KNOCK | {"content": None}]},
            "row 2: the field 'messages' holds",
        ),
        (
            "demonstrations",
            {"prompt": "p", "completion": "\ud83d"},
            "row 2: the field 'completion' holds half a character",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_named_with_its_field(tmp_path, capsys, kind, line, named):
    path = written(tmp_path, GOOD, line, GOOD)
    with pytest.raises(data.DataError, match=re.escape(named)):
        data.read_rows(path, kind)
    assert data.read_rows(path, kind, skip_bad_rows=True) == [GOOD, GOOD]
    said = capsys.readouterr().out
    assert said.startswith("1 of 3 rows left out") and named in said and said.count("\n") == 1


@pytest.mark.parametrize(
    "row, named",
    [
        ({"prompt": "p", "chosen": "a"}, "row 1: the field 'rejected' is missing"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, "row 1: the field 'rejected' is missin"),
        ({"chosen": "a", "rejected": "b"}, "row 1: no field 'prompt'"),
        (
            {"chosen": "\n\nHuman: A\n\nAssistant: a", "rejected": "\n\nHuman: B\n\nAssistant: b"},
            "do not share a beginning",
        ),
        ({"chosen": [KNOCK], "rejected": [NO]}, "do not share a beginning"),
        ({"prompt": "p", "chosen": ["a"], "rejected": "b"}, "'chosen' holds"),
        ({"prompt": "p", "chosen": 5, "rejected": "b"}, "'chosen' holds"),
        ({"prompt": "p", "completions": ["a", "b"]}, "row 1: the field 'scores' is missing"),
        (RANKED | {"scores": [1, None, 2]}, "row 1: the field 'scores' holds None"),
        (RANKED | {"scores": [1, "N/A", 2]}, "row 1: the field 'scores' holds 'N/A'"),
        (RANKED | {"scores": [1, float("nan"), 2]}, "row 1: the field 'scores' holds nan"),
        (RANKED | {"scores": "N/A"}, "row 1: the field 'scores' holds 'N'"),
        (RANKED | {"scores": [1, 2]}, "not of one length"),
        (RANKED | {"completions": ["a", None, "b"]}, "row 1: the field 'completions' holds None"),
    ],
)
def test_a_comparison_that_does_not_fit_is_named(tmp_path, row, named):
    with pytest.raises(data.DataError, match=re.escape(named)):
        data.read_rows(written(tmp_path, row), "comparisons")


def test_rankings_are_read_with_their_scores_or_ranks(tmp_path):
    ranks = {"prompt": "p", "completions": ["a", "b"], "ranks": [2, 1]}
    assert data.read_rows(written(tmp_path, RANKED, ranks), "comparisons") == [RANKED, ranks]


def test_numpys_numbers_become_plain_ones():
    row = data.text_row(RANKED | {"scores": np.array([0.5, 2, -1], dtype=np.float32)}, "row 1")
    assert row == RANKED and {type(score) for score in row["scores"]} == {float}


def test_files_that_are_not_what_they_should_be_are_named(tmp_path):
    (tmp_path / "photo.jsonl").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    for name, named in (
        ("nowhere.jsonl", "no such file"),
        ("photo.jsonl", "not a file of text"),
        ("empty.jsonl", "holds no rows"),
        (".", "not a file of text"),
    ):
        with pytest.raises(data.DataError, match=named):
            data.read_rows(tmp_path / name, "demonstrations")
    with pytest.raises(data.DataError, match="prompts, demonstrations, comparisons"):
        data.read_rows(tmp_path / "empty.jsonl", "songs")


def test_a_data_set_that_cannot_be_had_is_named(monkeypatch):
    import datasets

    def refuse(name, split):
        raise ConnectionError("no network\nmore")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(data.DataError, match="nobody/nothing.*hub.*no network"):
        data.read_rows("nobody/nothing", "comparisons")


def test_a_data_set_of_the_hub_is_read_like_a_file(monkeypatch):
    import datasets

    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, split: [{"prompt": name, "completion": split}]
    )
    assert data.read_rows("me/mine", "demonstrations") == [
        {"prompt": "me/mine", "completion": "train"}
    ]


# ---- Files are the truth -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder of its own, with few prompts, all demonstrations and some comparisons."""
    data.write_rows(tmp_path / "data" / "comparisons.jsonl", tiny.comparisons())
    tiny.small_data(tmp_path / "data")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    return tmp_path / "data"


def edit(file: Path, change: dict) -> None:
    """Change some fields of a file's first row."""
    first, *others = [json.loads(line) for _, line in data.lines_of(file)]
    data.write_rows(file, [first | change, *others])


@pytest.fixture
def stages(monkeypatch):
    """The stages that the recipes train, in order; none takes a step."""
    seen = []

    class Ready(Exception):
        pass

    def ready(stage, *_):
        seen.append(stage)
        raise Ready

    def make(recipe, *arguments, **settings):
        with pytest.raises(Ready):
            recipe(*arguments, **settings)
        return seen[-1]

    monkeypatch.setattr(recipes, "train", ready)
    return make


def test_an_edited_demonstration_changes_what_the_sft_model_learns(folder, tmp_path, stages):
    base = tiny.checkpoint(tmp_path / "base")
    before = stages(recipes.make_sft, tmp_path / "sft", base)
    edit(folder / "demonstrations.jsonl", {"completion": "Anna sang."})
    after = stages(recipes.make_sft, tmp_path / "sft", base)
    assert before.rows[0] != after.rows[0] and before.rows[1:] == after.rows[1:]
    assert fingerprint(before) != fingerprint(after)


def test_an_edited_prompt_is_what_ppo_answers(folder, tmp_path, stages):
    sft, reward = (tiny.checkpoint(tmp_path / name) for name in ("sft", "reward"))
    before = stages(recipes.make_ppo, tmp_path / "ppo", sft, reward)
    edit(folder / "prompts.jsonl", {"prompt": "Write about anna."})
    after = stages(recipes.make_ppo, tmp_path / "ppo", sft, reward)
    assert fingerprint(before) != fingerprint(after)
    assert data.tasks("train")[0].prompt == "Write about anna."


def test_an_edited_comparison_changes_what_the_reward_model_learns(folder, tmp_path, stages):
    sft = tiny.checkpoint(folder / "checkpoints" / "sft")
    before = stages(recipes.make_reward, tmp_path / "reward", sft)
    edit(folder / "comparisons.jsonl", {"chosen": "Anna sang."})
    after = stages(recipes.make_reward, tmp_path / "reward", sft)
    assert before.rows[0] != after.rows[0] and before.rows[1:] == after.rows[1:]


def test_another_sft_model_writes_answers_of_its_own_to_compare(
    folder, tmp_path, stages, monkeypatch, capsys
):
    """The shipped comparisons hold the shipped model's answers, not those of this one."""
    tiny.checkpoint(folder / "checkpoints" / "sft")
    other = tiny.checkpoint(tmp_path / "sft", seed=1)
    monkeypatch.setattr(recipes, "make_comparisons", lambda *_, **__: tiny.comparisons(8))
    stage = stages(recipes.make_reward, tmp_path / "reward", other)
    assert len(stage.rows) == 8 < len(data.comparisons())
    assert f"answers of {other}, compared" in capsys.readouterr().out


def test_a_policy_of_an_earlier_round_writes_half_of_the_answers(folder, tmp_path, monkeypatch):
    tiny.checkpoint(folder / "checkpoints" / "sft")
    models = [
        tiny.checkpoint(tmp_path / name, seed=n) for n, name in enumerate(("sft", "first"), 1)
    ]
    monkeypatch.setattr(recipes, "load_model", lambda path: (path, None))
    asked = {}

    def compared(model, tokenizer, prompts, seed, off_prompt):
        asked[model] = prompts
        return [
            {"prompt": p, "chosen": "a", "rejected": "b", "group": g} for g, p in enumerate(prompts)
        ]

    monkeypatch.setattr(recipes, "make_comparisons", compared)
    rows = recipes.comparisons_for(tmp_path / "reward", *models, 12, 0)
    assert [len(asked[model]) for model in models] == [6, 6]
    assert [row["group"] for row in rows] == list(range(12))
    assert len({row["prompt"] for row in rows}) == 12
    with_another = recipes.comparisons_for(tmp_path / "reward", models[0], None, 12, 0)
    assert len(asked[models[0]]) == 12 and len(with_another) == 12  # nothing stale is read


def test_off_prompt_answers_are_to_the_prompt_that_differs_least_and_to_any():
    sums = ["What is 3+2 and 4-1?", "What is 3+2 and 5-1?"]
    prompts = [*sums, "Write a poem about a cat in the rain.", sums[0]]
    seen = [recipes.off_prompt_for(prompts, random.Random(seed)) for seed in range(20)]
    for places in seen:
        near = [prompts[other] for other, _ in places]
        assert (near[0], near[1], near[3]) == (sums[1], sums[0], sums[1])
        assert near[2] in sums
    assert {other for places in seen for _, other in places} == set(range(4))


def test_a_split_that_is_not_there_is_named(folder):
    with pytest.raises(data.DataError, match="'test'.*train, validation, heldout"):
        data.tasks("test")
