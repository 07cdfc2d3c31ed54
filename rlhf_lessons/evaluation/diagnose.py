"""Which stage went wrong: each stage's likeliest failure, looked for in what can be measured, with the evidence.

Each stage stands on the one before, so mend the first that failed. `measure` gathers the values, on validation
prompts only, from models, their cards and their metrics; the checks are pure functions of those values.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ABLE = (
    0.9  # share of probes that a base must get right: what it cannot do, no later stage teaches it
)
ENDS = 0.9  # share of answers that must end by themselves
CHANCE = 0.6  # a reward model that agrees with the truth less often than this knows next to nothing
EXPLAINS = (
    0.1  # share of the returns' variance that a critic must foresee in the second half of a run
)
RUNAWAY = 20.0  # nats a response from the SFT model; sound runs here stay below 10
PROMPTS, N = 40, 16  # validation prompts for best-of-n, and n


@dataclass(frozen=True)
class Verdict:
    """What one check found; `ok` is None where there was nothing to measure."""

    stage: str
    check: str
    ok: bool | None
    evidence: str
    advice: str = ""


def verdict(stage: str, check: str, ok: bool | None, evidence: str, advice: str) -> Verdict:
    """Return a verdict; advice only where it is needed."""
    return Verdict(
        stage, check, ok if ok is None else bool(ok), evidence, "" if ok is not False else advice
    )


def check_base(found: dict) -> list[Verdict]:
    """`found`: the share of probes that the base gets right, by ability."""
    weak = [f"{name} {share:.2f}" for name, share in found.items() if not share >= ABLE]
    evidence = (
        f"weak: {', '.join(weak)} (each needs {ABLE})"
        if weak
        else f"all {len(found)} abilities above {ABLE}"
    )
    return [
        verdict(
            "base",
            "copies and adds",
            not weak,
            evidence,
            "Pretrain for longer: copying comes in one step, "
            "seen as a drop of the loss. Later stages cannot make up for it.",
        )
    ]


def check_sft(found: dict) -> list[Verdict]:
    """`found`: the share of answers that `ended`."""
    return [
        verdict(
            "sft",
            "ends its answers",
            found["ended"] >= ENDS,
            f"{found['ended']:.2f} end (needs {ENDS})",
            "The end token must be in the labels. Train for longer, or on more demonstrations.",
        )
    ]


def check_reward(found: dict) -> list[Verdict]:
    """`found`: of held-out pairs, `accuracy` against labels on `pairs`, `true_accuracy`, and the labels' `ceiling`."""
    accuracy, ceiling, truth = found["accuracy"], found["ceiling"], found["true_accuracy"]
    noise = 2 * (0.25 / max(found["pairs"], 1)) ** 0.5
    if truth is None:  # no true utilities known: the labels must do
        truth, ceiling = accuracy, 1.0 if ceiling is None else ceiling
    return [
        verdict(
            "reward",
            "better than chance",
            truth >= CHANCE,
            f"agrees with {truth:.2f} of held-out pairs (chance 0.50, needs {CHANCE})",
            "More and clearer comparisons, no ties, and check that chosen and "
            "rejected are the right way round.",
        ),
        verdict(
            "reward",
            "not above its ceiling",
            accuracy <= ceiling + noise,
            f"agrees with {accuracy:.2f} of the labels; their noise allows {ceiling:.2f}",
            "It has seen these pairs: a prompt or an answer of the "
            "held-out pairs is among the training pairs.",
        ),
    ]


def check_best_of(found: dict) -> list[Verdict]:
    """`found`: `gain` in true utility of the best of `n` by reward over the mean of n, as [mean, low, high]."""
    mean, low, high = found["gain"]
    return [
        verdict(
            "reward",
            f"best-of-{found['n']} gains",
            low > 0,
            f"{mean:+.3f} true utility, 95 % interval {low:+.3f} to {high:+.3f}",
            "What it likes is not better. PPO would follow it astray: mend the reward model first.",
        )
    ]


def check_ppo(found: dict) -> list[Verdict]:
    """`found`: `explained_variance` and `kl`, a list each with one value a step (None where it was no number)."""
    late = [
        v
        for v in found["explained_variance"][len(found["explained_variance"]) // 2 :]
        if v is not None
    ]
    foresees = float(np.mean(late)) if late else None
    kl = [float("inf") if v is None else v for v in found["kl"]]
    return [
        verdict(
            "ppo",
            "the critic explains",
            foresees >= EXPLAINS if late else None,
            f"explained variance {foresees:.2f} in the second half (needs {EXPLAINS})"
            if late
            else "no metrics",
            "Start the critic from the reward model, warm it up for longer, or raise its learning rate.",
        ),
        verdict(
            "ppo",
            "the KL stays in bounds",
            max(kl) <= RUNAWAY if kl else None,
            f"at most {max(kl):.1f} nats a response (bound {RUNAWAY:.0f})" if kl else "no metrics",
            "Raise kl_coef, lower the learning rate, or warm the critic up for longer.",
        ),
    ]


CHECKS = {
    "base": check_base,
    "sft": check_sft,
    "reward": check_reward,
    "best_of": check_best_of,
    "ppo": check_ppo,
}


def diagnose(measured: dict[str, dict]) -> list[Verdict]:
    """Return a verdict for each check, in the order of the stages; `measured` may lack some."""
    return [
        found
        for name, check in CHECKS.items()
        for found in (
            check(measured[name])
            if measured.get(name)
            else [Verdict(name, "is there", None, "nothing to measure")]
        )
    ]


def measure(note=print) -> dict[str, dict]:
    """Return the values that the checks need, of the reader's own models where there are any, else the shipped."""
    from rlhf_lessons import paths
    from rlhf_lessons.checkpoints import STAGES, shipped
    from rlhf_lessons.data import tasks
    from rlhf_lessons.evaluation.arena import answer_all
    from rlhf_lessons.evaluation.best_of_n import best_of_n_gain
    from rlhf_lessons.evaluation.probes import base_probes
    from rlhf_lessons.lm.models import load_card, load_model

    folders = {
        name: next((p for p in (paths.RUNS / name, shipped(name)) if p.is_dir()), None)
        for name in STAGES
    }
    for name, folder in folders.items():
        note(
            f"{name}: {folder or 'there is none'}"
            + (
                "; a later run was stopped"
                if (paths.RUNS / f"{name}.run" / "state.pt").is_file()
                else ""
            )
        )
    prompts, measured = [task.prompt for task in tasks("validation")], {}
    if folders["base"]:
        measured["base"] = base_probes(*load_model(folders["base"]))
    if folders["sft"]:
        sft = load_model(folders["sft"])
        measured["sft"] = {"ended": float(np.mean(answer_all(*sft, prompts, 2)[1]))}
    if folders["reward"]:
        measured["reward"] = load_card(folders["reward"])["measured"]
    if folders["sft"] and folders["reward"]:
        measured["best_of"] = {
            "n": N,
            "gain": best_of_n_gain(*sft, load_model(folders["reward"])[0], prompts[:PROMPTS], N),
        }
    measured["ppo"] = ppo_metrics(paths.RUNS / "ppo.run", folders["ppo"])
    return measured


def ppo_metrics(run: Path, folder: Path | None) -> dict:
    """Return the metrics of the reader's own run, or those in the card of the shipped policy; empty without both."""
    from rlhf_lessons.lm.models import load_card
    from rlhf_lessons.stages.run import read_metrics

    rows = read_metrics(run)
    if not rows and folder:
        measured = load_card(folder)["measured"]
        rows = [measured | {"kl": measured.get("largest_kl", measured["kl"])}]
    return (
        {name: [row[name] for row in rows if name in row] for name in ("explained_variance", "kl")}
        if rows
        else {}
    )


def summary(verdicts: list[Verdict]) -> dict:
    """Return the first stage that failed, or None, and the verdicts, as plain data."""
    failed = next((found.stage for found in verdicts if found.ok is False), None)
    return {"failed": failed, "verdicts": [asdict(found) for found in verdicts]}


def as_text(verdicts: list[Verdict]) -> str:
    """Return the verdicts as text, a line each, and which stage to mend."""
    lines, failed = [], summary(verdicts)["failed"]
    for found in verdicts:
        mark = {True: "ok", False: "FAILED", None: "-"}[found.ok]
        lines.append(f"{mark:6}  {found.stage:6}  {found.check}: {found.evidence}")
        lines += [f"{'':16}{found.advice}"] if found.advice else []
    return "\n".join(lines) + (
        "\n\n"
        + (
            f"Mend this stage first: {failed}. Later ones stand on it."
            if failed
            else "No stage shows a known failure."
        )
    )
