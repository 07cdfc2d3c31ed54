"""Which stage went wrong: each stage's likeliest failure, looked for in what can be measured.

Each stage stands on the one before, so fix the first that failed. `measure` gathers the values, on
validation prompts only, from models, their cards and their metrics; the checks are pure functions
of those values.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rlhf_lessons import data, paths
from rlhf_lessons.checkpoints import STAGES, shipped
from rlhf_lessons.evaluation.arena import answer_all
from rlhf_lessons.evaluation.best_of_n import best_of_n_gain
from rlhf_lessons.evaluation.probes import base_probes
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.stages.run import read_metrics

ABLE = 0.9  # share of probes that a base must get right: no later stage teaches it the rest
ENDS = 0.9  # share of answers that must end by themselves
CHANCE = 0.6  # a reward model that agrees with the truth less often than this knows next to nothing
EXPLAINS = 0.1  # share of the returns' variance that a critic must predict in a run's second half
RUNAWAY = 20.0  # nats a response from the SFT model; sound runs here stay below 10
PROMPTS = 40  # validation prompts for best-of-n
N = 16


@dataclass(frozen=True)
class Verdict:
    """What one check found; `ok` is None where there was nothing to measure."""

    stage: str
    check: str
    ok: bool | None
    evidence: str
    advice: str = ""  # what to do where it failed


def check_base(**shares: float) -> Iterator[Verdict]:
    """Of probes that the base gets right, by ability."""
    weak = [f"{name} {share:.2f}" for name, share in shares.items() if not share >= ABLE]
    yield Verdict(
        "base",
        "copies and adds",
        not weak,
        f"weak of {len(shares)} abilities: {', '.join(weak) or 'none'} (each needs {ABLE})",
        "Pretrain for longer: copying comes in one step, seen as a drop of the loss. Later "
        "stages cannot make up for it.",
    )


def check_sft(ended: float) -> Iterator[Verdict]:
    """`ended`: the share of answers that did."""
    yield Verdict(
        "sft",
        "ends its answers",
        ended >= ENDS,
        f"{ended:.2f} end (needs {ENDS})",
        "The end token must be in the labels. Train for longer, or on more demonstrations.",
    )


def check_reward(
    pairs: int, accuracy: float, true_accuracy: float | None, ceiling: float | None, **others
) -> Iterator[Verdict]:
    """`accuracy` on `pairs` held out; `true_accuracy` and the labels' `ceiling`, where known."""
    truth = accuracy if true_accuracy is None else true_accuracy
    allowed = 1.0 if ceiling is None else ceiling
    noise = 2 * (0.25 / max(pairs, 1)) ** 0.5
    yield Verdict(
        "reward",
        "better than chance",
        truth >= CHANCE,
        f"agrees with {truth:.2f} of held-out pairs (chance 0.50, needs {CHANCE})",
        "More and clearer comparisons, no ties, and check that chosen and rejected are the "
        "right way round.",
    )
    yield Verdict(
        "reward",
        "not above its ceiling",
        accuracy <= allowed + noise,
        f"agrees with {accuracy:.2f} of the labels; their noise allows {allowed:.2f}",
        "It has seen these pairs: a prompt or an answer of the held-out pairs is among the "
        "training pairs.",
    )


def check_best_of(n: int, gain: list[float]) -> Iterator[Verdict]:
    """`gain` in true utility of the best of `n` by reward over the mean of n."""
    mean, low, high = gain
    yield Verdict(
        "reward",
        f"best-of-{n} gains",
        low > 0,
        f"{mean:+.3f} true utility, 95 % interval {low:+.3f} to {high:+.3f}",
        "What it likes is not better, and PPO would follow it: fix the reward model first.",
    )


def check_ppo(explained_variance: list, kl: list) -> Iterator[Verdict]:
    """Both hold one value a step, None where it was no number."""
    second_half = explained_variance[len(explained_variance) // 2 :]
    late = [value for value in second_half if value is not None]
    mean = float(np.mean(late or np.nan))
    most = max(np.inf if value is None else value for value in kl)
    yield Verdict(
        "ppo",
        "the critic explains",
        mean >= EXPLAINS if late else None,
        f"explained variance {mean:.2f} in the second half (needs {EXPLAINS})",
        "Start the critic from the reward model, warm it up for longer, or raise its learning "
        "rate.",
    )
    yield Verdict(
        "ppo",
        "the KL stays in bounds",
        most <= RUNAWAY,
        f"at most {most:.1f} nats a response (bound {RUNAWAY:.0f})",
        "Raise kl_coef, lower the learning rate, or warm the critic up for longer.",
    )


CHECKS = {
    "base": check_base,
    "sft": check_sft,
    "reward": check_reward,
    "best_of": check_best_of,
    "ppo": check_ppo,
}


def diagnose(measured: dict[str, dict]) -> dict:
    """Return the verdicts of all checks, in the order of the stages, and the first stage that
    failed, or None, as plain data.
    """
    verdicts = []
    for name, check in CHECKS.items():
        verdicts += check(**measured[name])
    failed = next((found.stage for found in verdicts if found.ok is False), None)
    return {"failed": failed, "verdicts": [asdict(found) for found in verdicts]}


def measure(note=print) -> dict[str, dict]:
    """Return the values that the checks need, of the reader's own models or else the shipped.

    CheckpointError names a model that is missing or damaged.
    """
    folders = {}
    for name in STAGES:
        own = paths.RUNS / name
        folders[name] = own if own.is_dir() else shipped(name)
        stopped = (paths.RUNS / f"{name}.run" / "state.pt").is_file()
        later = "; a later run was stopped" if stopped else ""
        note(f"{name}: {folders[name]}{later}")
    sft = load_model(folders["sft"])
    reward, _ = load_model(folders["reward"])
    prompts = data.prompts_of("validation")
    _, ended = answer_all(*sft, prompts, 2)
    return {
        "base": base_probes(*load_model(folders["base"])),
        "sft": {"ended": float(np.mean(ended))},
        "reward": load_card(folders["reward"])["measured"],
        "best_of": {"n": N, "gain": best_of_n_gain(*sft, reward, prompts[:PROMPTS], N)},
        "ppo": ppo_metrics(folders["ppo"]),
    }


def ppo_metrics(folder: Path) -> dict:
    """Return the metrics of the reader's own run, or those in the policy's card."""
    rows = read_metrics(paths.RUNS / "ppo.run")
    if not rows:
        card = load_card(folder)["measured"]
        rows = [card | {"kl": card.get("largest_kl", card["kl"])}]
    return {name: [row[name] for row in rows] for name in ("explained_variance", "kl")}
