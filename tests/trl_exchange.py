"""TRL's trainers on this course's files: `python tests/trl_exchange.py FOLDER`.

It runs in a process of its own, with TRL's release on the path (`test_trl_exchange.py` puts it
there). In FOLDER lie exports, FORMAT.jsonl, and the Python that was printed for each, FORMAT.py.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", ACCELERATE_USE_CPU="true")
warnings.simplefilter("ignore")

import torch  # noqa: E402
import trl  # noqa: E402
from datasets import load_dataset  # noqa: E402

from rlhf_lessons.data import conversation  # noqa: E402
from rlhf_lessons.lm.models import load_model  # noqa: E402
from rlhf_lessons.lm.tokenizer import encode_prompts  # noqa: E402
from rlhf_lessons.paths import DATA  # noqa: E402
from rlhf_lessons.stages.reward import score, to_rankings  # noqa: E402
from rlhf_lessons.stages.sft import encode_demonstrations  # noqa: E402

FOLDER = Path(sys.argv[1])
SFT, REWARD = (str(DATA / "checkpoints" / name) for name in ("sft", "reward"))
LEARNS_FROM = {
    "SFT": "demonstrations",
    "Reward": "comparisons",
    "DPO": "comparisons",
    "GRPO": "prompts",
    "RLOO": "prompts",
}
SAMPLING = ("GRPO", "RLOO")
_, TOKENIZER = load_model(SFT)


def trainer_of(kind: str, rows, out: str):
    """Train our SFT model on rows for two steps with one of TRL's trainers, and save it."""
    more = {"max_completion_length": 12} if kind in SAMPLING else {}
    rewards = {"reward_funcs": REWARD} if kind in SAMPLING else {}
    args = getattr(trl, f"{kind}Config")(
        output_dir=str(FOLDER / out), bf16=False, max_steps=2, learning_rate=1e-3, **more
    )
    trainer = getattr(trl, f"{kind}Trainer")(model=SFT, args=args, train_dataset=rows, **rewards)
    trainer.scored = spy(trainer) if kind in SAMPLING else []
    trainer.train()
    trainer.save_model()
    return trainer


def spy(trainer) -> list:
    """Return a list to which a trainer's samples and their rewards will be added."""
    found, calculate = [], trainer._calculate_rewards

    def calculate_and_keep(inputs, prompts, completions, ids):
        rewards = calculate(inputs, prompts, completions, ids)
        found.append((prompts, completions, rewards[:, 0]))
        return rewards

    trainer._calculate_rewards = calculate_and_keep
    return found


def shipped(name: str, n: int = 32):
    return load_dataset("json", data_files=str(DATA / f"{name}.jsonl"), split="train").select(
        range(n)
    )


def moved(trainer) -> bool:
    """Whether the last step changed a weight of the model's body."""
    before = load_model(SFT)[0].model.layers[0].mlp.up_proj.weight
    return not torch.equal(before, trainer.model.model.layers[0].mlp.up_proj.weight)


def seen(trainer, kind: str) -> list:
    """The token ids that TRL made of each row."""
    rows = trainer.train_dataset
    if kind == "SFT":
        return [[row["input_ids"], row["labels"]] for row in rows]
    if kind == "Reward":
        return [[row["chosen_ids"], row["rejected_ids"]] for row in rows]
    if kind == "DPO":
        return [
            [row["prompt_ids"] + row["chosen_ids"], row["prompt_ids"] + row["rejected_ids"]]
            for row in rows
        ]
    return trainer._tokenize_prompts([row["prompt"] for row in rows])[0]


def ours(rows: list[dict], kind: str) -> list:
    """The token ids that our stages make of the same rows."""
    if kind == "SFT":
        return list(map(list, encode_demonstrations(TOKENIZER, rows)))
    if kind in ("Reward", "DPO"):
        alone = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows]
        rankings = to_rankings(TOKENIZER, alone)
        return [[r.rows[place] for place in r.pairs[0]] for r in rankings]
    return encode_prompts(TOKENIZER, [row["prompt"] for row in rows])


def exchanged(kind: str) -> dict:
    """What a trainer makes of the rows that ship, as they are and as conversations."""
    plain = shipped(LEARNS_FROM[kind])
    as_they_are = trainer_of(kind, plain, f"plain_{kind}")
    turns = trainer_of(kind, plain.map(conversation), kind)
    return {
        "steps": as_they_are.state.global_step,
        "moved": moved(as_they_are) and moved(turns),
        "rows": len(plain),
        "ids": seen(turns, kind) == ours(plain.to_list(), kind),
        "plain_ids": seen(as_they_are, kind) == ours(plain.to_list(), kind),
        "rewards": list(map(beside_ours, turns.scored)),
    }


def beside_ours(scored: tuple) -> dict:
    """TRL's rewards of answers, and ours plus the mean, which TRL does not subtract."""
    prompts, answers, theirs = scored
    model, tokenizer = load_model(REWARD)
    texts = [[turns[0]["content"] for turns in column] for column in (prompts, answers)]
    mine = score(model, tokenizer, *texts) + model.config.reward_mean
    return {"theirs": theirs.tolist(), "ours": mine.tolist()}


def printed(format: str) -> dict:
    """What the printed Python makes of an export, read from its own variables."""
    names = {}
    exec((FOLDER / f"{format}.py").read_text(), names)
    trainer = names["trainer"]
    kind = type(trainer).__name__.removesuffix("Trainer")
    os.rename(trainer.args.output_dir, FOLDER / format)
    rows = [
        {
            name: value[0]["content"] if isinstance(value, list) else value
            for name, value in json.loads(line).items()
        }
        for line in (FOLDER / f"{format}.jsonl").read_text().splitlines()
    ]
    same = None if kind == "KTO" else seen(trainer, kind) == ours(rows, kind)
    return {"kind": kind, "moved": moved(trainer), "ids": same, "rows": len(rows)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {
        "trl": trl.__version__,
        "shipped": {kind: exchanged(kind) for kind in LEARNS_FROM},
        "printed": {file.stem: printed(file.stem) for file in sorted(FOLDER.glob("*.py"))},
    }
    (FOLDER / "found.json").write_text(json.dumps(found))
