"""Lesson 2's curves: what 25, 100 and 400 demonstrations teach and what is forgotten, and by what
one knows each trap.

    python benchmarks/lesson2.py

About 40 seconds a seed on one core of ours. Everything starts from the shipped base and
`SFTConfig()` as it is; a seed decides which of the 800 demonstrations are used, their order, and
the answers sampled. Measured on validation prompts, two answers to each; on 400 scraps that the
base never saw; and on 40 demonstrations beyond the 800. Written to
`data/results/lesson2_curve.json` and `lesson2_traps.json`, one row a run; a seed that stands there
already is not measured again.
"""

import argparse
import copy
import json
import random
from contextlib import nullcontext

import torch

import rlhf_lessons as rl
from rlhf_lessons import data, paths
from rlhf_lessons.evaluation.arena import answer_all, score_all
from rlhf_lessons.exercises.bugs import bug
from rlhf_lessons.lm.sampling import inputs, pad
from rlhf_lessons.recipes import encode_corpus
from rlhf_lessons.stages.config import SFTConfig
from rlhf_lessons.stages.pretrain import validation_loss
from rlhf_lessons.stages.sft import SFT, encode_demonstrations
from rlhf_lessons.world.corpus import scraps

SIZES = (25, 100, 400)
BUGS = ("prompt tokens in the loss", "pad is the end token", "labels not shifted")
TRAP_SIZE, LOOK_EVERY = 100, 3  # demonstrations in a trap, and steps between two looks
PROMPTS, UNSEEN = 80, 40


def chance_of_ending(model, tokenizer, rows: list[dict]) -> float:
    """Return the mean probability of the end token where the answers of demonstrations end."""
    ids, real = pad(
        [ids for ids, _ in encode_demonstrations(tokenizer, rows)], tokenizer.pad_token_id
    )
    last = real.sum(1) - 1
    with torch.no_grad():
        logits = model(**inputs(ids, real)).logits[torch.arange(len(ids)), last - 1]
    return logits.softmax(-1)[:, tokenizer.eos_token_id].mean().item()


def measure(model, tokenizer, held_out, seed: int) -> dict:
    """Return the means of all metrics on validation prompts, and the loss on plain text."""
    prompts = [task.prompt for task in rl.tasks("validation")[:PROMPTS]]
    texts, ended = answer_all(model, tokenizer, prompts, 2, seed)
    scores = score_all(prompts, texts, ended)
    words = [len(text.split()) for row in texts for text in row]
    return {name: round(float(values.mean()), 4) for name, values in scores.items()} | {
        "words": round(sum(words) / len(words), 2),
        "base_loss": round(validation_loss(model, held_out), 4),
    }


def train(model, tokenizer, rows: list[dict], unseen: list[dict], config: SFTConfig) -> dict:
    """Fine-tune the model; return the loss of each step, and the chance of ending at every
    third."""
    losses, ends = [], [chance_of_ending(model, tokenizer, unseen)]
    for step in SFT(model, tokenizer, rows, config):
        losses.append(round(step.loss, 4))
        if len(losses) % LOOK_EVERY == 0:
            ends.append(chance_of_ending(model, tokenizer, unseen))
    return {"loss": losses, "ending": [round(x, 4) for x in ends]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3])
    seeds = parser.parse_args().seeds
    (base, _), (_, tokenizer) = (
        rl.load("base", "shipped", say=str),
        rl.load("sft", "shipped", say=str),
    )
    held_out = encode_corpus(tokenizer, list(scraps(400, seed=1)))
    known = data.demonstrations()
    unseen = data.written_demonstrations(data.DEMONSTRATIONS + UNSEEN)[data.DEMONSTRATIONS :]
    files = {name: paths.DATA / "results" / f"lesson2_{name}.json" for name in ("curve", "traps")}
    curve, traps = (
        json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        for file in files.values()
    )
    for seed in sorted(set(seeds) - {row["seed"] for row in traps}):
        chosen, config = random.Random(seed).sample(known, max(SIZES)), SFTConfig(seed=seed)
        curve.append(
            {"seed": seed, "demonstrations": 0, **measure(base, tokenizer, held_out, seed)}
        )
        runs = [(n, None) for n in SIZES] + [(TRAP_SIZE, name) for name in BUGS]
        for n, name in runs:
            model = copy.deepcopy(base)
            with bug(name) if name else nullcontext():
                course = train(model, tokenizer, chosen[:n], unseen, config)
            found = measure(model, tokenizer, held_out, seed)
            if name is None:
                curve.append({"seed": seed, "demonstrations": n, **found})
            if n == TRAP_SIZE:
                traps.append({"trap": name, "seed": seed, **course, **found})
            print(seed, n, name, found, course["ending"][-1], flush=True)
        for file, rows in zip(files.values(), (curve, traps), strict=False):
            text = ",\n".join(json.dumps(row) for row in rows)
            file.write_text(f"[\n{text}\n]\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
