"""The lessons' form, and that what they show is what the package does. Their outputs are compared by nbval."""
import ast
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import tiny
import torch

from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.ppo_math import clipped_policy_loss, gae
from rlhf_lessons.stages.pretrain import next_token_loss
from rlhf_lessons.stages.reward import bradley_terry_loss, score
from rlhf_lessons.stages.sft import encode_demonstrations, sft_loss

FOLDER = Path(__file__).parent.parent / "notebooks"
LESSONS = ["00_before_and_after", "01_next_token_baseline", "02_supervised_fine_tuning", "03_reward_model", "04_ppo",
           "06_closing_the_loop"]
PATHS = re.compile(r"(?<![\w./:])/(?:home|Users|tmp|work|root|mnt|var|usr|content)/|\b[A-Z]:\\\\")
NETWORK = re.compile(r"https?:|\brequests\b|\burllib\b|\bpip\b|\bwget\b|\bcurl\b|git clone|from_pretrained")


def read(name: str):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.fixture(params=LESSONS)
def book(request):
    return read(request.param)


def code(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def texts(book) -> list:
    return [cell for cell in book.cells if cell.cell_type == "markdown"]


def unexecuted(book) -> list[str]:
    """Ids of code cells that were not run in order from the top, or show nothing where they should."""
    return [cell.id for n, cell in enumerate(code(book), 1)
            if cell.execution_count != n or not (cell.outputs or cell.id.endswith("colab"))]


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
    assert 'if "google.colab" in sys.modules' in code(book)[0].source


def test_it_carries_no_widget_state_and_no_times(book):
    assert set(book.metadata) == {"kernelspec", "language_info"} and book.metadata.kernelspec.name == "python3"
    assert all(set(cell.metadata) <= {"tags"} for cell in book.cells)
    assert len({cell.id for cell in book.cells}) == len(book.cells)


def test_it_is_small_and_holds_no_path_of_somebodys_machine(book):
    whole = nbformat.writes(book)
    assert len(whole) <= 500_000
    for cell in book.cells:
        shown = cell.source + "".join(str(output.get("text", "")) + str(output.get("data", {}).get("text/html", ""))
                                      for output in cell.get("outputs", []))
        assert not PATHS.search(shown), cell.id


def test_it_needs_no_network(book):
    for cell in code(book)[1:]:  # the first is for Colab only
        assert not NETWORK.search(cell.source), cell.id


def test_every_picture_has_words_for_those_who_do_not_see_it(book):
    for cell in code(book):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata.get("image/png", {}).get("alt", "")) > 20, cell.id
            assert "image/svg+xml" not in output.get("data", {}), cell.id
    for cell in texts(book):
        for alt, target in re.findall(r"!\[(.*?)\]\((.+?)\)", cell.source):
            assert len(alt) > 20 and (FOLDER / target).is_file()


def test_its_links_lead_somewhere(book):
    for cell in texts(book):
        for target in re.findall(r"\]\((.+?)\)", cell.source):
            assert target.startswith("https://") or (FOLDER / target.split("#")[0]).is_file(), target


def test_few_outputs_are_left_uncompared(book):
    ignored = [cell.id for cell in code(book) if "nbval-ignore-output" in cell.metadata.get("tags", [])
               and not cell.source.startswith("rl.minutes_here(")]  # that one is of the reader's machine
    assert len(ignored) <= 2 and not any("nbval-skip" in cell.metadata.get("tags", []) for cell in book.cells)


def test_the_glossary_is_in_order_and_defines_each_word_once():
    words = re.findall(r"^\| \*\*(.+?)\*\*(.*?) \|", (FOLDER / "glossary.md").read_text(encoding="utf-8"), re.M)
    whole = [(word + more).lower() for word, more in words]
    assert len(set(whole)) == len(whole) > 40 and whole == sorted(whole)


# What the lessons show is what the package does: their functions are taken from the notebooks and compared.

def functions(name: str, **given) -> SimpleNamespace:
    """The functions that a lesson defines, with the lesson's own imports and the names given here."""
    wanted = (ast.FunctionDef, ast.Import, ast.ImportFrom)
    lines = [node for cell in code(read(name))[1:] for node in ast.parse(cell.source).body if isinstance(node, wanted)]
    scope = dict(given)
    exec(compile(ast.Module(lines, []), name, "exec"), scope)
    return SimpleNamespace(**{k: v for k, v in scope.items() if callable(v)})


def test_the_next_token_loss_of_lesson_1_is_the_packages():
    lesson, ids = functions(LESSONS[1]), torch.randint(5, 300, (3, 17), generator=torch.manual_seed(0))
    assert torch.allclose(lesson.loss_by_hand(tiny.model(), ids), next_token_loss(tiny.model(), ids), atol=1e-6)


def test_sampling_in_lesson_1_ends_at_the_end_token_and_repeats_itself_under_one_seed():
    tokenizer = tiny.tokenizer()
    lesson = functions(LESSONS[1], tokenizer=tokenizer, base=tiny.model())
    first, again, other = (lesson.complete("King", 1.0, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_the_masked_loss_of_lesson_2_is_the_packages_and_its_loop_learns():
    tokenizer = tiny.tokenizer()
    lesson = functions(LESSONS[2], tokenizer=tokenizer)
    demonstrations = lesson.demonstrations(24)
    rows = encode_demonstrations(tokenizer, demonstrations)
    assert torch.allclose(lesson.answer_loss(tiny.model(), rows), sft_loss(tiny.model(), rows, 0), atol=1e-5)
    losses = lesson.fine_tune(tiny.model(), demonstrations, epochs=4, batch_size=8, lr=1e-2)
    assert len(losses) == 12 and losses[-1] < losses[0] - 0.5


def test_the_preference_loss_of_lesson_3_is_the_packages():
    lesson, chosen = functions(LESSONS[3]), torch.linspace(-8, 8, 33)
    mine, package = lesson.preference_loss(chosen, 0.3 * chosen), bradley_terry_loss(chosen, 0.3 * chosen)
    assert torch.allclose(mine, package, atol=1e-5)


def test_the_reward_by_hand_of_lesson_3_is_the_packages():
    tokenizer, model = tiny.tokenizer(), to_reward_model(tiny.model())
    model.config.reward_mean = 0.7
    lesson = functions(LESSONS[3], tokenizer=tokenizer)
    mine = lesson.reward_by_hand(model, "What is 1+2 and 3-1?", "3 and 2.")
    assert torch.allclose(mine, score(model, tokenizer, ["What is 1+2 and 3-1?"], ["3 and 2."])[0], atol=1e-5)


def test_a_vote_of_lesson_3_becomes_a_comparison():
    vote = {"prompt": "p", "answers": [{"text": "l"}, {"text": "r"}], "payload": {"choice": "right"}}
    assert functions(LESSONS[3]).comparison(vote) == {"prompt": "p", "chosen": "r", "rejected": "l"}


def test_the_advantages_of_lesson_4_are_the_packages():
    rewards, values = torch.randn(2, 9, generator=torch.manual_seed(0))
    mine = functions(LESSONS[4]).gae_by_hand(rewards, values, lam=0.9)
    package = gae(rewards[None], values[None], torch.ones(1, 9, dtype=torch.bool), gamma=1.0, lam=0.9)
    assert all(torch.allclose(a, b[0], atol=1e-6) for a, b in zip(mine, package))


@pytest.mark.parametrize("advantage", [-1.5, 0.0, 2.0])
def test_the_clipped_objective_of_lesson_4_is_the_packages(advantage):
    ratio = torch.linspace(0.3, 2.0, 50)
    mine = functions(LESSONS[4]).clipped_objective(ratio, torch.tensor(advantage))
    package = -clipped_policy_loss(ratio.log(), torch.zeros(50), torch.tensor(advantage), 0.2)
    assert torch.allclose(mine, package, atol=1e-5)
