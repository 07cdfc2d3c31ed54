"""What the whole course brought: a table of all models, their answers, figures of each stage."""

from pathlib import Path

from rlhf_lessons import data, paths, plots
from rlhf_lessons.evaluation.arena import evaluate
from rlhf_lessons.evaluation.ask import WRITERS, ask
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.reports.terminal import models_table, side_by_side
from rlhf_lessons.stages.run import read_metrics
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS


def compare(folder: Path | None = None) -> str:
    """Write table, answers and figures into the folder of all four models; return the text."""
    folder = folder or paths.RUNS
    models = {name: load_model(folder / name) for name in WRITERS}
    result = {"split": "heldout", **evaluate(models, data.tasks("heldout"))}
    answers = [side_by_side(prompt, ask(prompt, models)) for prompt in ARTICLE_PROMPTS]
    text = "\n\n".join([models_table(result), *answers])
    paths.write_text(folder / "before_after.txt", text + "\n")
    paths.write_text(folder / "evaluation.json", data.to_json(result) + "\n")
    pictures = folder / "figures"
    pictures.mkdir(exist_ok=True)
    for name, figure in figures(folder, result).items():
        figure.savefig(pictures / f"{name}.png", dpi=90)
    return text


def figures(folder: Path, result: dict) -> dict:
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
    }
