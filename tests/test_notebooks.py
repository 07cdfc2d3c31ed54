"""The lessons' form, and that what they show is what the package does. Their outputs are compared
by nbval."""

import ast
import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import tiny
import torch
from nearly import TAG, with_stored_numbers

from rlhf_lessons.data import prompts_of
from rlhf_lessons.exercises import lesson4
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.recipes import true_reward
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.losses import (
    bradley_terry_loss,
    clipped_policy_loss,
    gae,
    next_token_loss,
)
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.reward import score
from rlhf_lessons.stages.sft import encode_demonstrations, sft_loss
from teaching.lesson_cells import exercises

FOLDER = Path(__file__).parent.parent / "notebooks"
FOLDED = {"source_hidden": True}  # JupyterLab shows a bar in the place of the code
LESSONS = [
    "00_before_and_after",
    "01_next_token_baseline",
    "02_supervised_fine_tuning",
    "03_reward_model",
    "04_ppo",
    "05_did_it_work",
    "06_closing_the_loop",
    "07_beyond_ppo",
    "08_a_real_model",
]
PATHS = re.compile(
    r"(?<![\w./:])/(?:home|Users|tmp|work|root|mnt|var|usr|opt|content)/|\b[A-Z]:\\|file:/|~/"
)
NETWORK = re.compile(
    r"https?:|\b(?:requests|urllib|socket|pip|wget|curl|huggingface_hub|load_dataset)\b|git clone|"
    r"from_pretrained|snapshot_download"
)
RANDOM = {
    "rand",
    "randn",
    "randint",
    "randperm",
    "multinomial",
    "bernoulli",
    "normal",
}  # of torch: a generator, too


def read(name: str):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.fixture(params=LESSONS)
def book(request):
    return read(request.param)


def code(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def for_colab(cell) -> bool:
    """Whether it fetches the course on Colab, and does nothing elsewhere."""
    return cell.id.endswith("-colab")


def silent(cell) -> bool:
    """Whether it may show nothing: it only imports, or is for Colab."""
    return for_colab(cell) or cell.id.endswith("-imports")


def texts(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "markdown"]


def unexecuted(book) -> list[str]:
    """Ids of code cells that were not run in order from the top, or show nothing where they
    should."""
    return [
        cell.id
        for n, cell in enumerate(code(book), 1)
        if cell.execution_count != n or not (cell.outputs or silent(cell))
    ]


def test_every_cell_was_executed_in_order_and_shows_something(book):
    assert unexecuted(book) == []


def test_a_stripped_notebook_is_found_out():
    stripped = read(LESSONS[0])
    for cell in code(stripped):
        cell.update(outputs=[], execution_count=None)
    assert len(unexecuted(stripped)) == len(code(stripped))


def test_no_cell_failed_or_warned(book):
    for cell in code(book):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr", cell.id


def test_cells_are_short(book):
    for cell in code(book):
        assert len(cell.source.splitlines()) <= 30, cell.id
        assert max(map(len, cell.source.splitlines())) <= 120, cell.id
    for cell in texts(book):
        words = [word for word in cell.source.split() if re.search(r"\w", word)]
        assert len(words) <= 125, f"{cell.id}: {len(words)} words"


def test_it_opens_and_closes_as_all_lessons_do(book):
    opening, closing = book.cells[0].source, book.cells[-1].source
    assert opening.startswith("# Lesson ")
    for part in ("Questions.", "Afterwards you can", "You need", "Time.", "Data."):
        assert f"**{part}**" in opening
    for part in ("## Key points", "**Saved:**", "**Next:**", "(glossary.md)"):
        assert part in closing
    (colab,) = filter(for_colab, code(book))
    assert 'if "google.colab" in sys.modules' in colab.source


def test_it_carries_no_widget_state_and_no_times(book):
    assert (
        set(book.metadata) == {"kernelspec", "language_info"}
        and book.metadata.kernelspec.name == "python3"
    )
    for cell in book.cells:
        assert set(cell.metadata) <= {"tags", "jupyter"}, cell.id
        assert cell.metadata.get("jupyter", FOLDED) == FOLDED, cell.id


def test_lesson_0_shows_the_difference_before_any_code_is_read():
    cells = read(LESSONS[0]).cells
    first, *_ = [n for n, cell in enumerate(cells) if "SideBySide(" in cell.source]
    before = [cell for cell in cells[: first + 1] if cell.cell_type == "code"]
    assert first <= 3 and all(cell.metadata.get("jupyter") == FOLDED for cell in before)


def test_it_is_small_and_holds_no_path_of_somebodys_machine(book):
    whole = nbformat.writes(book)
    assert len(whole) <= 500_000
    for cell in book.cells:
        shown = [cell.source, *(output.get("text", "") for output in cell.get("outputs", []))]
        shown += [
            text
            for output in cell.get("outputs", [])
            for kind, text in output.get("data", {}).items()
            if kind.startswith("text/")
        ]
        assert not any(PATHS.search(text) for text in shown), cell.id


@pytest.mark.parametrize("name", LESSONS)
def test_no_two_cells_have_one_id(name):
    """In the file itself: a reader of notebooks gives a second one another id."""
    ids = [
        cell["id"]
        for cell in json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    ]
    assert len(set(ids)) == len(ids)


def unseeded(source: str) -> list[str]:
    """Calls by chance that would give other numbers the next time."""
    found = []
    for node in ast.walk(ast.parse(re.sub(r"^\s*[!%].*", "", source, flags=re.M))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        call = ast.unparse(node.func)
        seeded = "generator" in {word.arg for word in node.keywords}
        if (
            re.fullmatch(r"torch\.\w+", call)
            and node.func.attr in RANDOM
            and not seeded
            or re.fullmatch(r"random\.(?!Random$)\w+|np\.random\.(?!default_rng$)\w+", call)
            or call in ("random.Random", "np.random.default_rng")
            and not node.args
        ):
            found.append(call)
    return found


def test_what_comes_by_chance_has_a_seed(book):
    for cell in code(book):
        assert not unseeded(cell.source), cell.id


def test_a_missing_seed_is_found_out():
    for source in (
        "torch.rand(3)",
        "random.random()",
        "random.Random()",
        "np.random.rand(3)",
        "x = random.choice(y)",
    ):
        assert unseeded(source), source
    assert not unseeded("torch.rand(3, generator=g)\nrandom.Random(0).choice(x)\nmodel.generate(x)")


def test_it_needs_no_network(book):
    for cell in code(book):
        assert for_colab(cell) or not NETWORK.search(cell.source), cell.id


def test_every_picture_has_words_for_those_who_do_not_see_it(book):
    for cell in code(book):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata.get("image/png", {}).get("alt", "")) > 20, cell.id
            assert {kind for kind in output.get("data", {}) if kind.startswith("image/")} <= {
                "image/png"
            }, cell.id
            assert "<img" not in output.get("data", {}).get("text/html", ""), cell.id
    for cell in texts(book):
        assert "<img" not in cell.source, cell.id
        for alt, target in re.findall(r"!\[(.*?)\]\((.+?)\)", cell.source):
            assert len(alt) > 20 and (FOLDER / target).is_file()


def test_every_figure_is_followed_by_a_sentence_in_words(book):
    """By the next text, before anything else begins; under a diagram, in its own cell."""
    for n, cell in enumerate(book.cells):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            below = next(
                later.source for later in book.cells[n + 1 :] if later.cell_type == "markdown"
            )
            assert (
                not below.startswith(("#", "<", "*", "!["))
                and len(re.findall(r"\w+", below)) >= 8
                or below.startswith("- **")
            ), cell.id  # a list, a point each
        if "](images/" in cell.source:
            assert len(re.findall(r"\w+", cell.source.rpartition(".png)")[2])) >= 8, cell.id


def test_it_shows_a_diagram_of_ours_with_its_vector_source(book):
    shown = re.findall(
        r"!\[.+?\]\(images/(\w+)\.png\)", "\n".join(cell.source for cell in texts(book))
    )
    assert shown and all((FOLDER / "images" / f"{name}.svg").is_file() for name in shown)


def anchors(file: Path) -> set[str]:
    """The names under which JupyterLab links to the headings of a notebook, or GitHub to those of a
    page."""
    whole = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        headings = re.findall(
            r"^#+ (.+)$", "\n".join(cell.source for cell in texts(nbformat.reads(whole, 4))), re.M
        )
        return {heading.replace(" ", "-") for heading in headings}
    return {
        re.sub(r"[^\w\- ]", "", words).lower().replace(" ", "-")
        for words in re.findall(r"^#+ (.+)$", whole, re.M)
    }


@pytest.mark.parametrize("name", [*LESSONS, "glossary"])
def test_its_links_lead_to_files_and_headings_that_are_there(name):
    here = next(FOLDER.glob(f"{name}.*"))
    whole = (
        here.read_text(encoding="utf-8")
        if name == "glossary"
        else "\n".join(c.source for c in texts(read(name)))
    )
    for target in re.findall(r"\]\((.+?)\)", whole):
        file, _, anchor = target.partition("#")
        if not target.startswith("https://"):
            assert not file or (FOLDER / file).is_file(), target
            assert not anchor or anchor in anchors(FOLDER / file if file else here), target


def test_few_outputs_are_left_uncompared(book):
    ignored = [
        cell.id
        for cell in code(book)
        if "nbval-ignore-output" in cell.metadata.get("tags", [])
        and not cell.source.startswith("rl.minutes_here(")
    ]  # that one is of the reader's machine
    assert len(ignored) <= 2
    for cell in code(book):
        assert set(cell.metadata.get("tags", [])) <= {"nbval-ignore-output", "exercise", TAG}, (
            cell.id
        )
        assert not re.search(r"NBVAL_|PYTEST_VALIDATE", cell.source), cell.id


def test_numbers_of_a_model_just_trained_may_differ_in_their_last_digits_and_nothing_else_may():
    stored = "step 300: 1.05 nats, 6 % Anna"
    for text in ("step 300: 1.06 nats, 6 % Anna", "step 300: 1.12 nats, 7 % Anna"):
        assert with_stored_numbers(text, stored) == stored
    for text in (
        "step 300: 1.25 nats, 6 % Anna",
        "step 300: 1.05 nats, 9 % Anna",
        "step 300: 1.05 nats, 6 % Bella",
        "step 300: 1.05 nats",
    ):
        assert with_stored_numbers(text, stored) != stored


def test_the_glossary_is_in_order_and_defines_each_word_once():
    words = re.findall(
        r"^\| \*\*(.+?)\*\*(.*?) \|", (FOLDER / "glossary.md").read_text(encoding="utf-8"), re.M
    )
    whole = [(word + more).lower() for word, more in words]
    assert len(set(whole)) == len(whole) > 40 and whole == sorted(whole)


# What the lessons show is what the package does: their functions are taken from the notebooks and
# compared.


def functions(name: str, **given) -> SimpleNamespace:
    """The functions that a lesson defines, with the lesson's own imports and the names given
    here."""
    wanted = (ast.FunctionDef, ast.Import, ast.ImportFrom)
    lines = [
        node
        for cell in code(read(name))
        if not for_colab(cell)
        for node in ast.parse(cell.source).body
        if isinstance(node, wanted)
    ]
    scope = dict(given)
    exec(compile(ast.Module(lines, []), name, "exec"), scope)
    return SimpleNamespace(**{k: v for k, v in scope.items() if callable(v)})


def test_the_next_token_loss_of_lesson_1_is_the_packages():
    lesson, ids = (
        functions(LESSONS[1]),
        torch.randint(5, 300, (3, 17), generator=torch.manual_seed(0)),
    )
    assert torch.allclose(
        lesson.loss_by_hand(tiny.model(), ids), next_token_loss(tiny.model(), ids), atol=1e-6
    )


def test_sampling_in_lesson_1_ends_at_the_end_token_and_repeats_itself_under_one_seed():
    tokenizer = tiny.tokenizer()
    lesson = functions(LESSONS[1], tokenizer=tokenizer, base=tiny.model())
    first, again, other = (lesson.complete("King", 1.0, seed=seed) for seed in (3, 3, 4))
    assert first == again != other
    assert lesson.complete("King", 1e-5, seed=3) == lesson.complete(
        "King", 1e-5, seed=4
    )  # the likeliest, both times
    asked, end = [], 99.0 * torch.eye(len(tokenizer))[tokenizer.eos_token_id].expand(1, 1, -1)
    sure = functions(
        LESSONS[1],
        tokenizer=tokenizer,
        base=lambda ids: asked.append(ids) or SimpleNamespace(logits=end),
    )
    sure.complete("King", 1.0)
    assert len(asked) == 1  # it ended, and asked no more


def test_the_masked_loss_of_lesson_2_is_the_packages_and_its_loop_learns():
    tokenizer = tiny.tokenizer()
    lesson = functions(LESSONS[2], tokenizer=tokenizer)
    demonstrations = lesson.demonstrations()[:24]
    rows = encode_demonstrations(tokenizer, demonstrations)
    assert torch.allclose(
        lesson.answer_loss(tiny.model(), rows), sft_loss(tiny.model(), rows, 0), atol=1e-5
    )
    losses = lesson.fine_tune(tiny.model(), demonstrations, epochs=4, batch_size=8, lr=1e-2)
    assert len(losses) == 12 and losses[-1] < losses[0] - 0.5


def test_the_loop_of_lesson_2_begins_each_step_without_the_last_ones_gradient():
    lesson, model = functions(LESSONS[2], tokenizer=tiny.tokenizer()), tiny.model()
    two = lesson.demonstrations()[:2]
    lesson.fine_tune(
        model, two, epochs=1, batch_size=1, lr=0.0
    )  # nothing moves: one row's gradient stays
    left, likeness = torch.cat([p.grad.flatten() for p in model.parameters()]), []
    for row in encode_demonstrations(tiny.tokenizer(), two):
        model.zero_grad()
        lesson.answer_loss(model, [row]).backward()
        alone = torch.cat([p.grad.flatten() for p in model.parameters()])
        likeness.append(torch.cosine_similarity(left, alone, dim=0).item())
    assert max(likeness) > 0.9999 and min(likeness) < 0.99


def test_the_preference_loss_of_lesson_3_is_the_packages():
    lesson, chosen = functions(LESSONS[3]), torch.linspace(-8, 8, 33)
    mine, package = (
        lesson.preference_loss(chosen, 0.3 * chosen),
        bradley_terry_loss(chosen, 0.3 * chosen),
    )
    assert torch.allclose(mine, package, atol=1e-5)


def test_the_reward_by_hand_of_lesson_3_is_the_packages():
    tokenizer, model = tiny.tokenizer(), to_reward_model(tiny.model())
    model.config.reward_mean = 0.7
    lesson = functions(LESSONS[3], tokenizer=tokenizer)
    mine = lesson.reward_by_hand(model, "What is 1+2 and 3-1?", "3 and 2.")
    assert torch.allclose(
        mine, score(model, tokenizer, ["What is 1+2 and 3-1?"], ["3 and 2."])[0], atol=1e-5
    )


def test_a_vote_of_lesson_3_becomes_a_comparison():
    for choice, chosen, rejected in (("right", "r", "l"), ("left", "l", "r")):
        vote = {
            "prompt": "p",
            "answers": [{"text": "l"}, {"text": "r"}],
            "payload": {"choice": choice},
        }
        assert functions(LESSONS[3]).comparison(vote) == {
            "prompt": "p",
            "chosen": chosen,
            "rejected": rejected,
        }


def test_the_advantages_of_lesson_4_are_the_packages():
    rewards, values = torch.randn(2, 9, generator=torch.manual_seed(0))
    mine = functions(LESSONS[4]).gae_by_hand(rewards, values, lam=0.9)
    package = gae(
        rewards[None], values[None], torch.ones(1, 9, dtype=torch.bool), gamma=1.0, gae_lambda=0.9
    )
    assert all(torch.allclose(a, b[0], atol=1e-6) for a, b in zip(mine, package))


@pytest.mark.parametrize("advantage", [-1.5, 0.0, 2.0])
def test_the_clipped_objective_of_lesson_4_is_the_packages(advantage):
    ratio = torch.linspace(0.3, 2.0, 50)
    mine = functions(LESSONS[4]).clipped_objective(ratio, torch.tensor(advantage))
    package = -clipped_policy_loss(ratio.log(), torch.zeros(50), torch.tensor(advantage), 0.2)
    assert torch.allclose(mine, package, atol=1e-5)


@pytest.mark.parametrize("solution", ["folded", "of the check"])
def test_the_loop_of_lesson_4_is_the_packages_ppo(solution):
    """Whether a reader's own six functions stand in it or those of the course: the same numbers,
    and the same model at the end, after steps of the critic alone and of both."""
    tokenizer, scorer = tiny.tokenizer(), to_reward_model(tiny.model())
    six = {task.check: task.solution for task in exercises(read(LESSONS[4]).cells)}
    your = {name: getattr(lesson4, name).right for name in six}
    if solution == "folded":
        your = {"torch": torch}
        for source in six.values():
            exec(source, your)
    lesson = functions(
        LESSONS[4], tokenizer=tokenizer, reward_model=scorer, your=SimpleNamespace(**your)
    )
    config = PPOConfig(steps=3, batch_size=8, critic_warmup=1, kl_coef=0.1, lr=1e-2)
    prompts = prompts_of("train")[:12]
    mine, theirs = tiny.model(), tiny.model()
    steps = list(lesson.your_ppo(mine, copy.deepcopy(scorer), tiny.model(), prompts, config))
    package = list(PPO(theirs, tokenizer, scorer, prompts, config, true_utility=true_reward))
    assert abs(steps[-1]["kl"]) > 0.02  # it has moved
    for one, other in zip(steps, package, strict=True):
        for name, value in one.items():
            assert value == pytest.approx(getattr(other, name), abs=1e-4), name
    for one, other in zip(mine.parameters(), theirs.parameters()):
        assert torch.allclose(one, other, atol=1e-4)
