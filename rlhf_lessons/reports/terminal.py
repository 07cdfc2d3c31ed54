"""What the command line shows: tables of models and of votes, and the figures of a course."""

import math
from itertools import chain
from pathlib import Path

from rlhf_lessons import data, paths, plots
from rlhf_lessons.evaluation.arena import METRICS, answer_all, evaluate
from rlhf_lessons.evaluation.ask import WRITERS, ask, side_by_side
from rlhf_lessons.evaluation.votes import FIGURES
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.stages.reward import score
from rlhf_lessons.stages.run import read_metrics
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS


def models_table(result: dict) -> str:
    """Return the table of an `arena.evaluate`: scores, families, wins, with intervals."""
    models = result["models"]
    families = list(next(iter(models.values()))["families"])
    scores = [[name, *map(cell, found["overall"].values())] for name, found in models.items()]
    by_family = [
        [name, *(cell(found["families"][family]["utility"]) for family in families)]
        for name, found in models.items()
    ]
    lines = [
        f"{result['n']} answers a model to {result['split']} prompts; mean, and 95 % interval in "
        "brackets",
        "",
        *data.grid(["", *METRICS], scores),
        "",
        "True utility by family",
        "",
        *data.grid(["", *families], by_family),
    ]
    if result["win_rates"]:
        lines += ["", "Share of prompts' answers that win by true utility, close ones left out", ""]
    for win in result["win_rates"]:
        lines.append(f"  {win['model']} against {win['against']}: {cell(win['rate'])}")
    return "\n".join(lines)


def cell(interval: list[float]) -> str:
    """Return `0.71 [0.68 0.74]`, or a dash where nothing was measured."""
    mean, low, high = interval
    return f"{mean:.2f} [{low:.2f} {high:.2f}]" if math.isfinite(mean) else "-"


def compare(folder: Path | None = None) -> str:
    """Write table, answers and figures into the folder of all four models; return the text."""
    folder = folder or paths.RUNS
    models = {name: load_model(folder / name) for name in WRITERS}
    result = evaluate(models, data.tasks("heldout"))
    answers = [side_by_side(prompt, ask(prompt, models)) for prompt in ARTICLE_PROMPTS]
    text = "\n\n".join([models_table(result), *answers])
    paths.write_text(folder / "before_after.txt", text + "\n")
    paths.write_text(folder / "evaluation.json", data.to_json(result) + "\n")
    for name, figure in figures(folder, models, result).items():
        plots.save(figure, folder / "figures" / f"{name}.png")
    return text


def figures(folder: Path, models: dict, result: dict) -> dict:
    """Return figures by name: how each stage went, where it left metrics; before and after."""
    drawn = {
        "1_pretrain": ("base", plots.loss_curve),
        "2_sft": ("sft", plots.loss_curve),
        "3_reward": ("reward", plots.loss_curve, "ranking loss", "nats per pair"),
        "4_ppo": ("ppo", plots.ppo_dashboard),
    }
    found = {}
    for name, (stage, draw, *labels) in drawn.items():
        if metrics := read_metrics(folder / f"{stage}.run"):
            found[name] = draw(metrics, *labels)
    bars = {}
    for name, scores in result["models"].items():
        bars[name] = {"overall": scores["overall"]["utility"]}
        bars[name] |= {family: each["utility"] for family, each in scores["families"].items()}
    calibration = load_card(folder / "reward")["measured"]["calibration"]
    return found | {
        "3_calibration": plots.calibration(calibration),
        "5_before_after": plots.bars_with_intervals(bars),
        "5_rewards": plots.reward_histogram(rewards(folder / "reward", models)),
    }


def rewards(reward: Path, models: dict) -> dict[str, list[float]]:
    """Return the rewards of the SFT and the PPO model's answers to validation prompts."""
    prompts = [task.prompt for task in data.tasks("validation")]
    asked = [prompt for prompt in prompts for _ in range(4)]
    found = {}
    for name in ("sft", "ppo"):
        texts, ended = (list(chain(*rows)) for rows in answer_all(*models[name], prompts, 4))
        found[name] = score(*load_model(reward), asked, texts, ended).tolist()
    return found


def votes_table(found: dict) -> str:
    """Return what `statistics` gives as a table for a terminal."""
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found["answers"].items()))
    head = (
        f"{sum(found['answers'].values())} answers by {found['raters']} raters: "
        f"{kinds or 'none yet'}; {found['ties']} ties, {found['both_bad']} times both bad\n"
    )
    lines = [
        [label, *votes_cells(found[name], name not in ("seconds", "alpha"))]
        for name, (label, _) in FIGURES.items()
    ]
    for row in found["leaderboard"]:
        label = f"comparisons that {data.printable(row['model'])} would win"
        lines.append([label, *votes_cells(row, True)])
    return "\n".join([head, *data.grid(["", "value", "95 % interval", "votes", ""], lines)])


def votes_cells(figure: dict, is_share: bool) -> list[str]:
    """Return a figure as cells: value, interval, votes, remark."""
    value, low, high = (
        "-" if number is None else f"{100 * number:.0f} %" if is_share else f"{number:.2f}"
        for number in (figure["value"], figure["low"], figure["high"])
    )
    return [value, "-" if low == "-" else f"{low} to {high}", str(figure["n"]), figure["why"]]
