"""The whole course: its stages, and a table of what they brought, with answers and figures."""

from dataclasses import replace
from pathlib import Path

from rlhf_lessons import data, paths, plots
from rlhf_lessons.evaluation.arena import evaluate
from rlhf_lessons.evaluation.ask import WRITERS, ask
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.reports.terminal import models_table, side_by_side, utilities
from rlhf_lessons.stages.config import PPO_FIRST, PPO_RECIPE, PRETRAIN, REWARD, SFT_RECIPE
from rlhf_lessons.stages.run import read_metrics
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS

COURSE = {  # each stage: its title, and the models that it starts from
    "base": ("pretrain a base model on web scraps",),
    "sft": ("supervised fine-tuning", "base"),
    "first_reward": ("a first reward model, of half of the comparisons", "sft"),
    "first": ("a first policy, by a few steps of PPO", "sft", "first_reward"),
    "reward": ("the reward model, which also knows that policy's answers", "sft", "first"),
    "ppo": ("PPO", "sft", "reward"),
}
# A model ten times larger, for a GPU. Learning rates fall as the width rises.
LARGE = {
    "base": replace(PRETRAIN, layers=6, width=384, lr=1e-3),
    "sft": replace(SFT_RECIPE, lr=1.7e-4),
    "first_reward": replace(REWARD, lr=3.3e-4),
    "first": replace(PPO_FIRST, lr=1.7e-4, critic_lr=3.3e-4),
    "reward": replace(REWARD, lr=3.3e-4),
    "ppo": replace(PPO_RECIPE, lr=1.7e-4, critic_lr=3.3e-4),
}
FIGURES = {  # of each stage, where it left metrics
    "1_pretrain": ("base", plots.loss_curve),
    "2_sft": ("sft", plots.loss_curve),
    "3_reward": ("reward", plots.loss_curve, "ranking loss", "nats per pair"),
    "4_ppo": ("ppo", plots.ppo_dashboard),
}


def compare(folder: Path) -> str:
    """Write table, answers and figures beside the four models in `folder`; return the text."""
    models = {name: load_model(folder / name) for name in WRITERS}
    result = {"split": "heldout", **evaluate(models, data.tasks("heldout"))}
    answers = [side_by_side(prompt, ask(prompt, models)) for prompt in ARTICLE_PROMPTS]
    text = "\n\n".join([models_table(result), *answers])
    paths.write_text(folder / "before_after.txt", text + "\n")
    paths.write_text(folder / "evaluation.json", data.to_json(result) + "\n")
    figures = {}
    for name, (stage, draw, *labels) in FIGURES.items():
        if metrics := read_metrics(folder / f"{stage}.run"):
            figures[name] = draw(metrics, *labels)
    calibration = load_card(folder / "reward")["measured"]["calibration"]
    figures["3_calibration"] = plots.calibration(calibration)
    figures["5_before_after"] = plots.bars_with_intervals(utilities(result))
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / "figures" / f"{name}.png", dpi=90)
    return text
