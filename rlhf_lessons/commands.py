"""The commands that train: each stage, its config as flags, and the whole course. Loads torch."""

import time
from pathlib import Path

from rlhf_lessons import data, paths, plots, recipes
from rlhf_lessons.checkpoints import QUALITY, choose
from rlhf_lessons.data import to_json
from rlhf_lessons.evaluation.arena import answer_all, before_after, evaluate
from rlhf_lessons.evaluation.ask import WRITERS, ask, side_by_side
from rlhf_lessons.lm.models import load_card, load_model
from rlhf_lessons.stages.config import PPOConfig, PretrainConfig, RewardConfig, SFTConfig
from rlhf_lessons.stages.reward import score
from rlhf_lessons.stages.run import forget, read_metrics
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS


def pretrain(
    config: PretrainConfig = recipes.PRETRAIN, out: Path | None = None, fresh: bool = False
) -> None:
    """Step 1: train a base model from scratch to predict the next token of web scraps.

    Args:
        config: How to train.
        out: Folder for the finished model; runs/base where you name none.
        fresh: Forget a stopped run instead of going on with it.
    """
    checked(config)
    out = prepare(out, "base", fresh)
    told(recipes.make_base(out, config))


def sft(
    config: SFTConfig = recipes.SFT_RECIPE,
    out: Path | None = None,
    base: Path | None = None,
    demonstrations: str | None = None,
    fresh: bool = False,
) -> None:
    """Step 2: fine-tune the base on prompts with ideal answers.

    Args:
        config: How to train.
        out: Folder for the finished model; runs/sft where you name none.
        base: Folder of the base; where you name none, your own if it is good enough, else the shipped one.
        demonstrations: A JSONL file with `prompt` and `completion`, or a data set of the hub; else the course's.
        fresh: Forget a stopped run instead of going on with it.
    """
    checked(config)
    rows = data.read_rows(demonstrations, "demonstrations") if demonstrations else None
    base = parent(base, "base")
    out = prepare(out, "sft", fresh, base)
    told(recipes.make_sft(out, base, rows, config))


def reward(
    config: RewardConfig = recipes.REWARD,
    out: Path | None = None,
    sft: Path | None = None,
    comparisons: str | None = None,
    rankings: int = recipes.RANKINGS,
    fresh: bool = False,
) -> None:
    """Step 3: train a reward model on comparisons of answers.

    Args:
        config: How to train.
        out: Folder for the finished model; runs/reward where you name none.
        sft: Folder of the SFT model; where you name none, your own if it is good enough, else the shipped one.
        comparisons: A JSONL file with `prompt`, `chosen` and `rejected`, or a data set of the hub; where you name
            none, the SFT model writes answers and simulated raters compare them.
        rankings: How many prompts' answers the simulated raters compare.
        fresh: Forget a stopped run instead of going on with it.
    """
    checked(config)
    if rankings < 1:
        raise ValueError(f"rankings must be at least 1, not {rankings}")
    rows = data.read_rows(comparisons, "comparisons") if comparisons else None
    sft = parent(sft, "sft")
    out = prepare(out, "reward", fresh, sft)
    told(recipes.make_reward(out, sft, rows, config, rankings))


def ppo(
    config: PPOConfig = recipes.PPO_RECIPE,
    out: Path | None = None,
    sft: Path | None = None,
    reward: Path | None = None,
    truth: bool = False,
    fresh: bool = False,
) -> None:
    """Step 4: let the SFT model learn to write what the reward model scores highly.

    Args:
        config: How to train.
        out: Folder for the finished model; runs/ppo where you name none.
        sft: Folder of the SFT model; where you name none, your own if it is good enough, else the shipped one.
        reward: Folder of the reward model, found in the same way.
        truth: Reward by the toy world's judge instead, to see what a perfect reward model would bring.
        fresh: Forget a stopped run instead of going on with it.
    """
    checked(config)
    sft, reward = parent(sft, "sft"), parent(reward, "reward")
    if load_model(sft)[1].get_vocab() != load_model(reward)[1].get_vocab():
        raise ValueError(
            f"{sft} and {reward} have different vocabularies: train the reward model on this SFT model"
        )
    out = prepare(out, "ppo", fresh, sft, reward)
    told(recipes.make_ppo(out, sft, reward, config, truth))


POSITIVE = (
    "steps",
    "epochs",
    "batch_size",
    "num_minibatches",
    "context",
    "validate_every",
    "lr",
    "critic_lr",
    "temperature",
    "max_new_tokens",
    "max_grad_norm",
)


def checked(config) -> None:
    """ValueError naming a setting of a config that must be above 0 and is not."""
    for name in POSITIVE:
        if getattr(config, name, 1) <= 0:
            raise ValueError(f"{name} must be above 0, not {getattr(config, name)}")


def parent(folder: Path | None, name: str) -> Path:
    """Return the folder of the model to start from, and say which it is."""
    if folder is not None:
        return folder
    folder, reason = choose(name)
    print(reason)
    return folder


def prepare(out: Path | None, name: str, fresh: bool, *parents: Path) -> Path:
    """Return the folder for a finished model, and forget a stopped run where it is to be or is out of date.

    ValueError where the folder holds something else, since a finished model takes the place of what was there.
    """
    out = (out or paths.RUNS / name).absolute()
    if (
        out.exists()
        and not (out / "card.json").is_file()
        and (not out.is_dir() or any(out.iterdir()))
    ):
        raise ValueError(
            f"{out}: holds something that is no model of this course; name another folder with --out"
        )
    run = recipes.state_folder(out)
    files = list(run.iterdir()) if run.is_dir() else []
    began = min((file.stat().st_mtime for file in files), default=0)
    if files and not fresh and any(made_at(folder) > began for folder in parents):
        print(
            f"The run in {run} began before the model that it starts from was made: starting afresh."
        )
        fresh = True
    if fresh:
        forget(run)
    return out


def made_at(folder: Path) -> float:
    """Return when a checkpoint was made, in seconds; 0 where there is none."""
    card = Path(folder, "card.json")
    return card.stat().st_mtime if card.is_file() else 0.0


def told(folder: Path) -> None:
    """Say where a finished model is and how good it is."""
    card = load_card(folder)
    print(
        f"Finished: {folder}, {card['quality']:.3f} ({QUALITY[card['stage']]}), {card['seconds']} s. "
        f"Metrics of every step: {recipes.state_folder(folder) / 'metrics.jsonl'}"
    )


def course(fresh: bool = False) -> None:
    """Train all four stages from scratch, then compare the models: a table, the article's prompts, figures.

    It takes about 20 minutes on two cores. Ctrl-C stops it after the step in progress; the same command
    goes on from there, and leaves alone what is finished.

    Args:
        fresh: Train everything again, finished stages too.
    """
    began = time.monotonic()
    base, sft_model, reward_model, policy = (
        paths.RUNS / name for name in ("base", "sft", "reward", "ppo")
    )
    stages = {
        base: ("pretrain a base model on web scraps", (), lambda: recipes.make_base(base)),
        sft_model: ("supervised fine-tuning", (base,), lambda: recipes.make_sft(sft_model, base)),
        reward_model: (
            "the reward model",
            (sft_model,),
            lambda: recipes.make_reward(reward_model, sft_model),
        ),
        policy: (
            "PPO",
            (sft_model, reward_model),
            lambda: recipes.make_ppo(policy, sft_model, reward_model),
        ),
    }
    for number, (out, (title, parents, make)) in enumerate(stages.items(), 1):
        print(f"\nStep {number} of 4: {title}", flush=True)
        if not fresh and made_at(out) > max(map(made_at, parents), default=0):
            print(f"Finished before, in {out}; --fresh trains it again.")
        else:
            prepare(out, out.name, fresh, *parents)
            told(make())
    compare()
    print(
        f"\nThe course took {(time.monotonic() - began) / 60:.1f} minutes. Models, metrics and figures: {paths.RUNS}"
    )


def compare() -> None:
    """Print the before/after table and the answers to the article's prompts; write them and the figures to runs/."""
    models = {name: load_model(paths.RUNS / name) for name in WRITERS}
    result = evaluate(models, data.tasks("heldout"))
    text = "\n\n".join(
        [before_after(result), *(side_by_side(p, ask(p, models)) for p in ARTICLE_PROMPTS)]
    )
    print("\n" + text)
    (paths.RUNS / "before_after.txt").write_text(text + "\n", encoding="utf-8")
    (paths.RUNS / "evaluation.json").write_text(to_json(result) + "\n", encoding="utf-8")
    for name, figure in figures(models, result).items():
        plots.save(figure, paths.RUNS / "figures" / f"{name}.png")


def figures(models: dict, result: dict) -> dict:
    """Return the course's figures by name: how each stage went, where its metrics are there, and before and after."""
    base, tuned, ranked, policy = (
        read_metrics(paths.RUNS / f"{name}.run") for name in ("base", "sft", "reward", "ppo")
    )
    bars = {
        name: {"overall": found["overall"]["utility"]}
        | {family: scores["utility"] for family, scores in found["families"].items()}
        for name, found in result["models"].items()
    }
    return (
        ({"1_pretrain": plots.loss_curve(base)} if base else {})
        | ({"2_sft": plots.loss_curve(tuned)} if tuned else {})
        | (
            {"3_reward": plots.loss_curve(ranked, "ranking loss", "nats per pair")}
            if ranked
            else {}
        )
        | ({"4_ppo": plots.ppo_dashboard(policy)} if policy else {})
        | {
            "3_calibration": plots.calibration(
                load_card(paths.RUNS / "reward")["measured"]["calibration"]
            ),
            "5_before_after": plots.bars_with_intervals(bars),
            "5_rewards": plots.reward_histogram(rewards(models)),
        }
    )


def rewards(models: dict) -> dict[str, list[float]]:
    """Return the reward model's scores of the SFT and the PPO model's answers to validation prompts."""
    judge, tokenizer = load_model(paths.RUNS / "reward")
    prompts, found = [task.prompt for task in data.tasks("validation")], {}
    for name in ("sft", "ppo"):
        texts, ended = answer_all(*models[name], prompts, 4)
        flat = [
            (p, text, end)
            for p, *rows in zip(prompts, texts, ended, strict=True)
            for text, end in zip(*rows, strict=True)
        ]
        found[name] = score(judge, tokenizer, *map(list, zip(*flat, strict=True))).tolist()
    return found
