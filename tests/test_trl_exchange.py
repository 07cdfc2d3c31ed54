"""To TRL and back: its trainers start from our files and models, our stages from what it saves.

TRL is installed as for `test_trl_parity.py`. All trainers run in one process, `trl_exchange.py`.
"""

import json
import os
import subprocess
import sys

import pytest
import tiny
from test_trl_parity import CURRENT, ROOT, installed

from rlhf_lessons import data, paths
from rlhf_lessons.cli import main
from rlhf_lessons.feedback import Store
from rlhf_lessons.lm.models import load_model
from rlhf_lessons.stages.reward import score

TRAINERS = ("SFT", "Reward", "DPO", "GRPO", "RLOO")
FORMATS = {"preference": "Reward", "unpaired": "KTO", "demonstrations": "SFT"}
STORY = "Write a fictional story about Captain Emma learning to cook."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Exports, the Python code printed for them, and what all of TRL's trainers saved."""
    path = installed(CURRENT)
    folder = tmp_path_factory.mktemp("trl")
    rows = data.comparisons()[:24] + data.demonstrations()[:8]
    rows[0] |= {"ended": [True, False]}
    data.write_rows(folder / "votes", rows)
    os.rename(folder / "votes", folder / "votes.json")
    db = folder / "ratings.sqlite3"
    Store(db).close()
    assert main(["ratings", "import", str(folder / "votes.json"), "--db", str(db)]) == 0
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "RLHF_LESSONS_RUNS": str(folder / "runs"),
        "HF_HOME": str(folder / "cache"),
    }
    for format in FORMATS:
        command = ["-m", "rlhf_lessons", "ratings", "export", f"{format}.jsonl", "--db", str(db)]
        done = subprocess.run(
            [sys.executable, *command, "--format", format, "--to", "trl"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said, _, python = done.stdout.partition("To train on them with TRL:\n\n")
        (folder / f"{format}.txt").write_text(said)
        (folder / f"{format}.py").write_text(python)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "trl_exchange.py", folder],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def found(folder):
    found = json.loads((folder / "found.json").read_text())
    assert found["trl"] == CURRENT
    return found


@pytest.mark.parametrize("kind", TRAINERS)
def test_each_trainer_learns_from_the_files_that_ship(found, kind):
    said = found["shipped"][kind]
    assert said["steps"] == 2 and said["moved"]
    assert said["ids"], "as conversations, TRL and we must read the same tokens"
    assert not said["plain_ids"], "plain texts get no chat template from TRL"


@pytest.mark.parametrize("format", FORMATS)
def test_the_printed_python_trains_on_the_export(found, folder, format):
    said = found["printed"][format]
    assert said["kind"] == FORMATS[format] and said["moved"]
    assert said["ids"] or format == "unpaired"
    assert f"{said['rows']} rows written" in (folder / f"{format}.txt").read_text()


def test_an_answer_without_an_end_is_left_out_and_counted(folder):
    assert "left out: 1 (an answer without an end" in (folder / "preference.txt").read_text()


@pytest.mark.parametrize("kind", ("GRPO", "RLOO"))
def test_our_reward_model_scores_in_trl_as_here_except_for_the_mean(found, kind):
    batches = found["shipped"][kind]["rewards"]
    assert len(batches) == 2
    for batch in batches:
        assert batch["theirs"] == pytest.approx(batch["ours"], abs=1e-5)


@pytest.fixture
def small(folder, tmp_path, monkeypatch):
    """A world of few prompts, so that our stages and their measurements take seconds."""
    monkeypatch.setattr(paths, "DATA", tiny.small_data(tmp_path / "data"))
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    data.write_rows(tmp_path / "few.jsonl", data.demonstrations()[:32])
    return tmp_path


@pytest.mark.parametrize("kind", ("SFT", "DPO", "GRPO", "RLOO", "demonstrations", "unpaired"))
def test_a_model_that_trl_saved_answers_here(folder, capsys, kind):
    assert (folder / kind / "training_args.bin").is_file()  # a pickle, which nobody reads
    assert main(["ask", STORY, "--models", str(folder / kind), "--n", "2", "--json"]) == 0
    said = capsys.readouterr()
    (answers,) = json.loads(said.out)["samples"].values()
    assert len(answers) == 2 and "other software made it" in said.err


@pytest.mark.parametrize("kind", ("Reward", "preference"))
def test_a_reward_model_that_trl_saved_scores_here_as_there(folder, capsys, kind):
    from transformers import AutoModelForSequenceClassification

    model, tokenizer = load_model(folder / kind)
    rows = data.demonstrations()[:8]
    prompts, answers = zip(*(row.values() for row in rows))
    theirs = AutoModelForSequenceClassification.from_pretrained(folder / kind)
    expected = []
    for row in map(data.conversation, rows):
        ids = tokenizer.apply_chat_template(
            row["prompt"] + row["completion"], return_tensors="pt", return_dict=True
        )
        expected.append(theirs(**ids).logits.item())
    mine = score(model, tokenizer, list(prompts), list(answers))
    assert mine.tolist() == pytest.approx(expected, abs=1e-5)
    assert main(["ask", STORY, "--models", str(folder / kind)]) == 2
    assert "scores answers and writes none" in capsys.readouterr().err


def test_our_stages_continue_from_what_trl_saved(folder, small, capsys):
    out = str(small / "sft")
    demonstrations = str(small / "few.jsonl")
    settings = ["--demonstrations", demonstrations, "--epochs", "1", "--out", out]
    assert main(["sft", "--base", str(folder / "SFT"), *settings]) == 0
    models = ["--sft", str(folder / "SFT"), "--reward", str(folder / "Reward")]
    settings = ["--steps", "1", "--batch-size", "8", "--num-minibatches", "1"]
    assert main(["ppo", *models, *settings, "--out", str(small / "ppo")]) == 0
    assert capsys.readouterr().out.count("other software made it") == 3


def test_what_was_exported_for_trl_can_be_imported(folder, tmp_path, capsys):
    for format in FORMATS:
        db = str(tmp_path / f"{format}.sqlite3")
        assert main(["ratings", "import", str(folder / f"{format}.jsonl"), "--db", db]) == 0
        plain = tmp_path / "back.jsonl"
        export = ["ratings", "export", str(plain), "--format", format, "--db", db]
        if format == "unpaired":  # single texts come back as scores
            continue
        assert main(export) == 0
        texts = [row["prompt"] for row in data.json_rows(folder / f"{format}.jsonl")]
        back = [row["prompt"] for row in data.json_rows(plain)]
        assert [turns[0]["content"] for turns in texts] == back


@pytest.mark.parametrize("format", ("rankings", "csv", "events"))
def test_what_trl_does_not_take_is_refused(tmp_path, capsys, format):
    out = tmp_path / "out.jsonl"
    assert main(["ratings", "export", str(out), "--format", format, "--to", "trl"]) == 2
    assert "TRL has no trainer" in capsys.readouterr().err and not out.exists()
