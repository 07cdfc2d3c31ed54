"""What pretraining looks like when it is broken on purpose: the curves of lesson 1's "Break it",
over four seeds, and the four runs of its exercise 1.8.

    python benchmarks/lesson1.py        # writes data/results/lesson1_traps.json

Took about 5 minutes of one CPU core. Each run is the lesson's small model, once healthy and once in
each trap. Beside the loss that the run itself reports, the right loss is measured on held-out text,
and how many samples end.
"""

import contextlib
import json
import time
from pathlib import Path

import torch

import rlhf_lessons as rl
from rlhf_lessons.exercises.bugs import bug
from rlhf_lessons.lm.models import new_model, toy_config
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.plots import smooth
from rlhf_lessons.recipes import encode_corpus
from rlhf_lessons.stages.config import PretrainConfig
from rlhf_lessons.stages.pretrain import Pretrain, validation_loss
from rlhf_lessons.world.corpus import scraps

OUT = Path(__file__).parent.parent / "data" / "results" / "lesson1_traps.json"
KINDS = ("healthy", "targets not shifted", "targets shifted twice", "end left out of pretraining")
SEEDS, STEPS, EVERY, SAMPLES, LENGTH = range(4), 300, 25, 64, 80
CURVES = {  # of exercise 1.8: scraps to train on, and the highest learning rate
    "A": (3000, 1e-4),
    "B": (3000, 6e-3),
    "C": (60, 6e-3),
    "D": (3000, 0.3),
}


def new_small_model(tokenizer, seed: int):
    return new_model(toy_config(len(tokenizer), layers=2, width=64, heads=2, mlp=192), seed)


def curves(number: int, lr: float, tokenizer, held_out) -> dict:
    """Train one small model, without a bug: its loss on the text it trains on, the mean of each
    `EVERY` steps, and that on held-out text."""
    tokens = encode_corpus(tokenizer, list(scraps(number)))
    config = PretrainConfig(steps=STEPS, warmup=20, lr=lr, context=64, validate_every=EVERY)
    steps = list(Pretrain(new_small_model(tokenizer, 0), tokens, held_out, config))
    training = smooth([step.loss for step in steps], EVERY).tolist()
    held = [step.validation_loss for step in steps]
    both = {"training text": training, "held-out text": held}
    return {name: [round(x, 2) for x in row[EVERY - 1 :: EVERY]] for name, row in both.items()}


def run(kind: str, seed: int, tokenizer, tokens, held_out) -> dict:
    """Train one small model in a trap, and measure it outside."""
    model = new_small_model(tokenizer, seed)
    config = PretrainConfig(
        steps=STEPS, warmup=20, lr=6e-3, context=64, validate_every=STEPS + 1, seed=seed
    )
    stage, losses, right = Pretrain(model, tokens, held_out[:65], config), [], []
    for _ in range(STEPS // EVERY):
        with bug(kind) if kind != "healthy" else contextlib.nullcontext():
            losses += [next(stage).loss for _ in range(EVERY)]
        right.append(round(validation_loss(model, held_out, context=64), 3))
    samples = generate(model, tokenizer, [[tokenizer.bos_token_id]] * SAMPLES, LENGTH, seed=seed)
    return {
        "kind": kind,
        "seed": seed,
        "loss": [round(x, 3) for x in smooth(losses, 10)[EVERY - 1 :: EVERY].tolist()],
        "right_loss": right,
        "ended": round(samples.ended.float().mean().item(), 3),
        "sample": samples.texts[0],
    }


def main() -> None:
    torch.set_num_threads(1)
    started = time.process_time()
    _, tokenizer = rl.load("base", "shipped", say=str)
    tokens = encode_corpus(tokenizer, list(scraps(3000)))
    held_out = encode_corpus(tokenizer, list(scraps(400, seed=1)))[:4097]
    runs = []
    for seed in SEEDS:
        for kind in KINDS:
            runs.append(run(kind, seed, tokenizer, tokens, held_out))
            print(
                seed,
                kind,
                runs[-1]["loss"][-1],
                runs[-1]["right_loss"][-1],
                runs[-1]["ended"],
                flush=True,
            )
    found = {
        "steps": list(range(EVERY, STEPS + 1, EVERY)),
        "samples": SAMPLES,
        "seconds": round(time.process_time() - started),
        "curves": {name: curves(*of, tokenizer, held_out) for name, of in CURVES.items()},
        "runs": runs,
    }
    OUT.write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
    )


if __name__ == "__main__":
    main()
