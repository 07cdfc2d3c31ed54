"""Which model is loaded, and what is said of folders that hold none."""

import json
import os
import pickle
from pathlib import Path

import pytest
import tiny

from rlhf_lessons import checkpoints, paths
from rlhf_lessons.lm.models import CheckpointError, load_card, load_model
from rlhf_lessons.lm.tokenizer import train_tokenizer
from rlhf_lessons.world.corpus import scraps


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tiny.checkpoint(tmp_path_factory.mktemp("made") / "sft")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """(shipped, mine): empty folders for both."""
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    return tmp_path / "data" / "checkpoints", tmp_path / "runs"


def card(folder: Path, name: str, **content) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "card.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / name


def test_what_a_card_says_does_not_steer_the_terminal(places):
    card(places[1], "sft", about="mine\x1b]0;owned\x07")
    assert checkpoints.choose("sft", "mine")[1] == "sft: your own model. mine?]0;owned?"


def test_the_shipped_model_is_taken_where_the_reader_has_none(places):
    shipped = card(places[0], "sft", quality=0.6)
    assert checkpoints.choose("sft") == (shipped, "sft: the shipped model.")


def test_the_readers_model_is_taken_where_it_is_about_as_good(places):
    card(places[0], "sft", quality=0.6)
    mine = card(places[1], "sft", quality=0.53)
    path, reason = checkpoints.choose("sft")
    assert path == mine
    assert "0.530" in reason and "0.520" in reason


def test_the_readers_model_is_passed_over_where_it_is_worse_and_the_figures_are_said(places):
    shipped = card(places[0], "sft", quality=0.6)
    mine = card(places[1], "sft", quality=0.51)
    path, reason = checkpoints.choose("sft")
    assert path == shipped
    assert "0.510" in reason and "0.520" in reason and "source='mine'" in reason
    assert checkpoints.choose("sft", "mine")[0] == mine
    assert checkpoints.choose("sft", "shipped")[0] == shipped


@pytest.mark.parametrize("quality", [None, "good", True, float("nan")])
def test_a_quality_that_is_no_number_never_passes_the_gate(places, quality):
    shipped = card(places[0], "ppo", quality=0.6)
    card(places[1], "ppo", quality=quality)
    assert checkpoints.choose("ppo")[0] == shipped


def test_a_stopped_run_is_nobodys_model(places):
    shipped = card(places[0], "ppo", quality=0.6)
    (places[1] / "ppo.run").mkdir(parents=True)
    (places[1] / "ppo.run" / "state.pt").write_bytes(b"")
    assert checkpoints.choose("ppo")[0] == shipped
    with pytest.raises(CheckpointError, match="python -m rlhf_lessons ppo"):
        checkpoints.choose("ppo", "mine")


@pytest.mark.parametrize(
    "arguments, named", [(("gpt",), "base, sft, reward, ppo"), (("sft", "yours"), "'yours'")]
)
def test_a_wrong_name_is_told_the_right_ones(arguments, named):
    with pytest.raises(CheckpointError, match=named):
        checkpoints.choose(*arguments)


def truncate(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def change_a_byte(folder):
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "model.safetensors: damaged or truncated": truncate,
    "SHA-256": change_a_byte,
    "config.json: missing": lambda folder: (folder / "config.json").unlink(),
    "tokenizer.json: missing": lambda folder: (folder / "tokenizer.json").unlink(),
    "model.safetensors: missing": lambda folder: (folder / "model.safetensors").unlink(),
    "card.json: damaged, not readable": lambda folder: (folder / "card.json").write_text("{"),
    "config.json|JSON": lambda folder: (folder / "config.json").write_text("{"),
    "config.json describes": lambda folder: (folder / "config.json").write_text(
        (folder / "config.json")
        .read_text()
        .replace('"num_hidden_layers": 1', '"num_hidden_layers": 2')
    ),
}


@pytest.mark.parametrize("named", DAMAGE)
def test_a_damaged_folder_is_named_with_what_is_wrong(made, tmp_path, named):
    folder = copied(made, tmp_path / "sft")
    DAMAGE[named](folder)
    with pytest.raises(CheckpointError, match=named):
        load_model(folder)


def copied(folder: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def test_a_foreign_folder_is_named(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="no checkpoint of this course"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="there is no such folder"):
        load_model(tmp_path / "nowhere")


def test_a_folder_without_a_card_is_from_other_software_and_loads(made, places):
    mine = copied(made, places[1] / "sft")
    (mine / "card.json").unlink()
    model, _ = load_model(mine)
    assert load_card(mine)["weights_sha256"] == load_card(made)["weights_sha256"]
    assert "other software made it" in checkpoints.choose("sft", "mine")[1]
    copied(made, places[0] / "sft")
    path, reason = checkpoints.choose("sft")
    assert path == places[0] / "sft" and "other software made it" in reason
    truncate(mine)
    with pytest.raises(CheckpointError, match="SafetensorError"):
        load_model(mine)


def test_a_damaged_model_of_the_readers_own_is_passed_over_with_a_word(made, places):
    copied(made, places[0] / "sft")
    mine = copied(made, places[1] / "sft")
    truncate(mine)
    said = []
    checkpoints.load("sft", say=said.append)
    assert len(said) == 1 and "shipped" in said[0] and "damaged or truncated" in said[0]
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        checkpoints.load("sft", source="mine")


def no_card(folder):
    (folder / "card.json").write_text("[]", encoding="utf-8")


def code_of_its_own(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def no_numbers(folder):
    (folder / "card.json").write_text('{"quality": "good"}', encoding="utf-8")


def more_tokens_than_rows(folder):
    """As where somebody adds tokens to a tokenizer, and no rows to the model."""
    _, tokenizer = load_model(folder)
    tokenizer.add_tokens(["<more>", "<still more>"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    "damage", [no_card, code_of_its_own, no_numbers, more_tokens_than_rows, truncate]
)
def test_a_model_that_cannot_be_used_is_skipped_with_a_warning(made, places, damage):
    copied(made, places[0] / "sft")
    damage(copied(made, places[1] / "sft"))
    said = []
    model, tokenizer = checkpoints.load("sft", say=said.append)
    assert len(said) == 1 and "the shipped model. Yours cannot be used" in said[0]
    assert len(tokenizer) == model.get_input_embeddings().weight.shape[0]
    if damage is not no_numbers:
        with pytest.raises(CheckpointError):
            checkpoints.load("sft", source="mine")


def test_what_was_saved_is_what_is_loaded(made):
    model, tokenizer = load_model(made)
    wanted = tiny.model().state_dict()
    assert all((model.state_dict()[name] == wanted[name]).all() for name in wanted)
    assert tokenizer.get_vocab() == tiny.tokenizer().get_vocab()


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_pickle_in_the_folder_is_never_opened(made, tmp_path):
    folder, trace = copied(made, tmp_path / "sft"), tmp_path / "trace"
    for name in ("pytorch_model.bin", "training_args.bin", "adapter_model.bin"):
        (folder / name).write_bytes(pickle.dumps(Touch(trace)))
    load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model.safetensors: missing"):
        load_model(folder)
    assert not trace.exists()


def kept(name: str = "sft", model=None, tokenizer=None) -> None:
    model, tokenizer = model or tiny.model(), tokenizer or tiny.tokenizer()
    checkpoints.keep(model, tokenizer, name, "three steps.", "mine")


def test_what_a_lesson_keeps_is_what_the_next_one_loads(places, capsys):
    model, said = tiny.model(seed=3), []
    kept(model=model)
    assert capsys.readouterr().out == (
        "sft: kept in runs/mine. To start the next lesson from it, set SOURCE = 'mine'.\n"
    )
    loaded, tokenizer = checkpoints.load("sft", "mine", say=said.append)
    assert said == ["sft: your own model. Lesson 2: three steps."]
    assert tokenizer.get_vocab() == tiny.tokenizer().get_vocab() and not loaded.training
    for name, weights in model.state_dict().items():
        assert (loaded.state_dict()[name] == weights).all()
    assert load_card(places[1] / "mine" / "sft")["source"] == "mine"


def test_a_kept_policy_is_said_to_come_back_in_lesson_6(places, capsys):
    kept("ppo")
    assert capsys.readouterr().out == (
        "ppo: kept in runs/mine. Lesson 6 shows it beside the shipped ones.\n"
    )


def test_what_a_lesson_keeps_is_never_a_default(places):
    kept()
    assert checkpoints.choose("sft") == (places[0] / "sft", "sft: the shipped model.")


@pytest.mark.parametrize("lesson, name", list(enumerate(checkpoints.STAGES, 1)))
def test_who_has_made_no_model_is_told_in_which_lesson_one_is_made(places, lesson, name):
    assert checkpoints.mine(name) is None
    with pytest.raises(CheckpointError, match=f"no {name} model .* lesson {lesson} keeps one"):
        checkpoints.load(name, "mine")


@pytest.mark.parametrize("newer", ["lesson", "terminal"])
def test_of_two_models_of_the_readers_own_the_newer_is_taken(places, newer):
    made = {"terminal": card(places[1], "sft"), "lesson": card(places[1], "mine/sft")}
    for place, folder in made.items():
        os.utime(folder, (2, 2) if place == newer else (1, 1))
    assert checkpoints.mine("sft") == made[newer]


def test_a_name_that_is_no_stages_is_kept_nowhere(places):
    with pytest.raises(ValueError):
        kept("../elsewhere")
    assert not places[1].exists()


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def not_a_number(monkeypatch):
    model = tiny.model()
    model.get_input_embeddings().weight.data[0, 0] = float("nan")
    return model


def full_disk(monkeypatch):
    def no_room(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlhf_lessons.lm.models.write_text", no_room)
    return tiny.model(seed=1)


def last_rename_fails(monkeypatch):
    rename = os.rename

    def failing(source, target):
        if Path(source).name == "new":
            raise OSError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    return tiny.model(seed=1)


@pytest.mark.parametrize("trouble", [not_a_number, full_disk, last_rename_fails])
def test_a_model_that_cannot_be_kept_leaves_the_one_before_and_stops_no_lesson(
    places, monkeypatch, capsys, trouble
):
    kept()
    folder = places[1] / "mine" / "sft"
    before = content(folder)
    kept(model=trouble(monkeypatch))
    assert "What was kept before stays" in capsys.readouterr().out
    assert content(folder) == before
    assert list(folder.parent.iterdir()) == [folder]  # nothing half-written beside it


def test_models_that_know_different_tokens_are_not_used_together(places):
    kept("reward", tokenizer=train_tokenizer(list(scraps(200, seed=7)), 300))
    with pytest.raises(CheckpointError, match="mine.reward: its tokenizer is not that"):
        checkpoints.load("reward", "mine", tokenizer=tiny.tokenizer())
    kept("reward")
    checkpoints.load("reward", "mine", tokenizer=tiny.tokenizer())


@pytest.mark.parametrize("name", checkpoints.STAGES)
def test_the_shipped_checkpoints_are_whole_small_and_have_their_cards(name):
    folder = paths.DATA / "checkpoints" / name
    model, _ = load_model(folder)
    found = load_card(folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 5e6
    assert {"stage", "config", "seconds", "quality", "measured", "weights_sha256"} <= found.keys()
    assert "seed" in found["config"]
    assert hasattr(model, "score") == (name == "reward")
    assert (folder / "README.md").is_file()
    assert not [
        file for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pkl")
    ]  # never pickle


def test_the_shipped_base_was_trained_on_the_corpus_that_the_data_card_names():
    corpus = json.loads((paths.DATA / "corpus.json").read_text(encoding="utf-8"))
    measured = load_card(paths.DATA / "checkpoints" / "base")["measured"]
    assert measured["corpus_sha256"] == corpus["sha256"]


def test_the_runs_folder_is_that_of_the_course_wherever_one_stands(monkeypatch):
    assert paths.RUNS.is_absolute() or "RLHF_LESSONS_RUNS" in os.environ
