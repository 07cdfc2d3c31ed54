"""The course in one file: the recipe of each stage, from web scraps to a policy shaped by people.

Each `make_...` trains one stage by its recipe, measures it on validation prompts, and saves a
checkpoint folder with its card. The command line, the shipped checkpoints and the proof in the
README all come from here.
"""

import itertools
import random
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rlhf_lessons import data
from rlhf_lessons.checkpoints import shipped
from rlhf_lessons.evaluation.arena import answer_all, score_all
from rlhf_lessons.evaluation.probes import base_probes
from rlhf_lessons.evaluation.reward_model import report
from rlhf_lessons.lm import processes
from rlhf_lessons.lm.models import load_card, load_model, new_model, save_model, toy_config
from rlhf_lessons.lm.sampling import generate
from rlhf_lessons.lm.tokenizer import CHAT_TEMPLATE, train_tokenizer
from rlhf_lessons.stages.config import (
    PPO_FIRST,
    PPO_RECIPE,
    PRETRAIN,
    REWARD,
    SFT_RECIPE,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    SFTConfig,
)
from rlhf_lessons.stages.loop import Stage
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.stages.pretrain import Pretrain, bits_per_byte
from rlhf_lessons.stages.reward import RewardModelling, normalise
from rlhf_lessons.stages.run import finished, train
from rlhf_lessons.stages.sft import SFT
from rlhf_lessons.world.corpus import scraps
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.raters import Rater
from rlhf_lessons.world.tasks import parse

VOCABULARY = 1536
# The closer two answers, the less sure; 5 % of choices are flipped; closer than 0.05 is a tie.
RATER = Rater(noise=0.12, flip_rate=0.05, tie_margin=0.05)
RANKINGS = 4000  # prompts whose answers are compared
K = 4  # answers to each
VERIFIABLE = ("maths", "code")  # families whose answers a program can check


def encode_corpus(tokenizer, texts: list[str]) -> np.ndarray:
    """Return all scraps as one row of token ids, each between <bos> and <eos>."""
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    return np.array([i for row in rows for i in (start, *row, end)], dtype=np.uint16)


def save(
    out: Path,
    name: str,
    stage: Stage,
    tokenizer,
    about: str,
    started: float,
    quality: float,
    **found,
) -> Path:
    """Save a finished stage's model with its card, forget its resume state, and return the folder.

    The first of a stage's models is the one that it trains.
    """
    model, *_ = stage.models.values()
    card = {
        "stage": name,
        "title": f"RLHF Lessons: {name}",
        "about": about,
        "config": asdict(stage.config),
        "seconds": round(time.monotonic() - started),
        "quality": round(quality, 4),
        "measured": found,
    }
    if processes.first():
        save_model(model, tokenizer, out, card)
        finished(state_folder(out))
    processes.gather(out)  # no process reads it before it is there
    return out


def state_folder(out: Path) -> Path:
    """Return where a stage that is to be saved in `out` keeps its metrics and its resume state."""
    return out.with_name(out.name + ".run")


def make_base(out: Path, config: PretrainConfig = PRETRAIN) -> Path:
    """Step 1: train a tokenizer and a language model on web scraps."""
    started = time.monotonic()
    texts = list(scraps(data.SCRAPS))
    held_out = list(scraps(1000, seed=1))
    tokenizer = train_tokenizer(texts[:20_000], VOCABULARY)
    validation = encode_corpus(tokenizer, held_out)
    shape = toy_config(VOCABULARY, config.layers, config.width)
    model = new_model(shape, config.seed)
    stage = Pretrain(model, encode_corpus(tokenizer, texts), validation, config)
    loss = train(stage, state_folder(out), "pretrain")[-1]["validation_loss"]
    tokenizer.chat_template = None  # a base model knows text, not turns
    n_bytes = len("".join(held_out).encode())
    return save(
        out,
        "base",
        stage,
        tokenizer,
        "Predicts the next token of web scraps.",
        started,
        -loss,
        validation_loss=loss,
        bits_per_byte=bits_per_byte(loss, len(validation), n_bytes),
        corpus_sha256=data.corpus_hash(),
        **base_probes(model, tokenizer),
    )


def make_sft(
    out: Path, base: Path, demonstrations: list[dict] | None = None, config: SFTConfig = SFT_RECIPE
) -> Path:
    """Step 2: fine-tune the base on demonstrations; by default, those of the course."""
    started = time.monotonic()
    rows = demonstrations or data.demonstrations()
    model, tokenizer = load_model(base)
    tokenizer.chat_template = CHAT_TEMPLATE
    stage = SFT(model, tokenizer, rows, config)
    train(stage, state_folder(out), "sft")
    return save(
        out,
        "sft",
        stage,
        tokenizer,
        f"The base, fine-tuned on {len(rows)} demonstrations.",
        started,
        validation_utility(model, tokenizer),
        demonstrations=len(rows),
        data_sha256=data.rows_hash(rows),
    )


def validation_utility(model, tokenizer) -> float:
    """Return the mean true utility of four answers to each validation prompt."""
    prompts = data.prompts_of("validation")
    scores = score_all(prompts, *answer_all(model, tokenizer, prompts, 4))
    return float(scores["utility"].mean())


def make_comparisons(
    model,
    tokenizer,
    prompts: list[str],
    rater: Rater = RATER,
    seed: int = 0,
    k: int = K,
    off_prompt: bool = False,
) -> list[dict]:
    """Sample `k` answers to each prompt and let a simulated rater compare all pairs, less ties.

    With `off_prompt`, answers to two other prompts join each ranking. Without them, a reward model
    never sees that an e-mail is no answer to a request for code, and PPO finds one answer that it
    likes everywhere: we saw it happen. Rows are TRL's preference format, with the `group` (ranking)
    that a pair belongs to, the true `utilities` of chosen and rejected, and whether each `ended`.
    """
    texts, ended = answer_all(model, tokenizer, prompts, k, seed)
    answers = [list(zip(*row, strict=True)) for row in zip(texts, ended, strict=True)]
    rng = random.Random(f"rater/{seed}")
    if off_prompt:
        for row, others in zip(answers, off_prompt_for(prompts, rng), strict=True):
            row += [answers[other][0] for other in others]
    rows = []
    for group, (prompt, given) in enumerate(zip(prompts, answers, strict=True)):
        judged = []
        for answer in given:
            utility = round(judge(prompt, *answer).utility, 4)
            judged.append((rater.utility_of(prompt, *answer), utility, *answer))
        for pair in itertools.combinations(judged, 2):
            choice = rater.pick(pair[0][0] - pair[1][0], rng)
            if choice == "right":
                pair = reversed(pair)
            _, utilities, (chosen, rejected), ended = zip(*pair, strict=True)
            if choice == "tie" or chosen == rejected:
                continue
            rows.append(
                {
                    "prompt": prompt,
                    "chosen": chosen,
                    "rejected": rejected,
                    "group": group,
                    "utilities": list(utilities),
                    "ended": list(ended),
                }
            )
    return rows


def off_prompt_for(prompts: list[str], rng: random.Random) -> list[tuple[int, int]]:
    """Return the places of two prompts for each: another that shares most words with it, whose
    answer is wrong in a fact or two only, and any, which now and then is the same.
    """
    words = {prompt: frozenset(prompt.split()) for prompt in prompts}
    places = {prompt: place for place, prompt in enumerate(prompts)}

    def nearest(prompt: str) -> int:
        others = [other for other in words if other != prompt]
        differ = {other: len(words[prompt] ^ words[other]) for other in others}
        return places[min(others, key=lambda other: (differ[other], rng.random()))]

    return [(nearest(prompt), rng.randrange(len(prompts))) for prompt in prompts]


def comparisons_for(
    out: Path, sft: Path, policy: Path | None, rankings: int | None, seed: int
) -> list[dict]:
    """Return the shipped comparisons where this very SFT model wrote their answers, else new ones.

    A reward model must know the answers of the policy that PPO starts from, so another SFT model
    writes its own; simulated raters compare them. Where there is a `policy` of an earlier round,
    it writes half: what it has learned to get away with is what the reward model must learn. They
    lie beside the run's metrics.
    """
    mine, theirs = (load_card(model).get("weights_sha256") for model in (sft, shipped("sft")))
    if mine == theirs and policy is None and rankings is None:
        print("Comparisons: those that ship, since this SFT model wrote their answers.")
        return data.comparisons()
    rankings = rankings or RANKINGS
    writers = [model for model in (sft, policy) if model]
    names = " and of ".join(str(model) for model in writers)
    hashes = "_".join(load_card(model)["weights_sha256"][:8] for model in writers)
    file = state_folder(out) / f"comparisons_{rankings}_seed{seed}_{hashes}.jsonl"
    print(f"Comparisons: answers of {names}, compared by simulated raters, in {file}.")
    if not file.is_file():
        asked = list(itertools.islice(itertools.cycle(data.prompts_of("train")), rankings))
        share = rankings // len(writers)
        rows = []
        for part, model in enumerate(writers):
            prompts = asked[part * share :][:share]
            new = make_comparisons(*load_model(model), prompts, seed=seed + part, off_prompt=True)
            rows += [row | {"group": row["group"] + part * share} for row in new]
        if processes.first():
            data.write_rows(file, rows)
        processes.gather(file)
    return data.read_rows(file, "comparisons")


def make_reward(
    out: Path,
    sft: Path,
    policy: Path | None = None,
    comparisons: list[dict] | None = None,
    config: RewardConfig = REWARD,
    rankings: int | None = None,
) -> Path:
    """Step 3: train a reward model on comparisons; by default, of the SFT model's own answers and
    of those by the `policy` of an earlier round.
    """
    started = time.monotonic()
    model, tokenizer = load_model(sft)
    comparisons = comparisons or comparisons_for(out, sft, policy, rankings, config.seed)
    stage = RewardModelling(model, tokenizer, comparisons, config)
    train(stage, state_folder(out), "reward")
    asked = data.prompts_of("train")[:500]
    samples = generate(model, tokenizer, asked, seed=config.seed + 1)
    normalise(stage.model, tokenizer, asked, samples.texts, samples.ended.tolist())
    kept_aside = data.prompts_of("validation")
    new_pairs = make_comparisons(model, tokenizer, kept_aside, seed=config.seed + 2, k=8)
    found = report(stage.model, tokenizer, new_pairs, gap=0.2)
    return save(
        out,
        "reward",
        stage,
        tokenizer,
        f"Trained on {len(comparisons)} comparisons.",
        started,
        found.true_accuracy,
        comparisons=len(comparisons),
        data_sha256=data.rows_hash(comparisons),
        **asdict(found),
    )


def true_reward(prompts: list[str], texts: list[str], ended: list[bool]) -> torch.Tensor:
    """Return the judge's utility of each answer, (batch,)."""
    return torch.tensor([judge(*row).utility for row in zip(prompts, texts, ended, strict=True)])


def verified_reward(prompts: list[str], texts: list[str], ended: list[bool]) -> torch.Tensor:
    """Return 1 for each answer that a program can check and finds right, else 0: (batch,).

    Sums can be worked out and code can be run; a story cannot be checked, and gets 0. It is what
    `judge` calls fulfilled, so a gain in that shows only that the policy can be brought there.
    """
    rows = zip(prompts, texts, ended, strict=True)
    return torch.tensor(
        [parse(row[0])["family"] in VERIFIABLE and judge(*row).fulfils for row in rows]
    ).float()


def make_ppo(
    out: Path,
    sft: Path,
    reward: Path,
    config: PPOConfig = PPO_RECIPE,
    truth: bool = False,
) -> Path:
    """Step 4: let the SFT model learn what the reward model likes, or with `truth`, the judge."""
    started = time.monotonic()
    policy, tokenizer = load_model(sft)
    reward_model, _ = load_model(reward)
    stage = PPO(
        policy,
        tokenizer,
        true_reward if truth else reward_model,
        data.prompts_of("train"),
        config,
        critic_init=reward_model,
        true_utility=true_reward,
    )
    metrics = train(stage, state_folder(out), "ppo")
    late = [row["explained_variance"] or 0.0 for row in metrics[len(metrics) // 2 :]]
    return save(
        out,
        "ppo",
        stage,
        tokenizer,
        "The SFT model after PPO.",
        started,
        validation_utility(policy, tokenizer),
        kl=metrics[-1]["kl"],
        largest_kl=max(row["kl"] for row in metrics),
        explained_variance=sum(late) / len(late),
        reward=metrics[-1]["reward"],
    )


# Steps 3 and 4 in a first round: with the half of the comparisons that holds SFT answers only, and
# for a policy whose answers the second round compares, too. A reward model that has seen SFT
# answers only is at chance between those of a policy that PPO has trained against it.
make_first_reward = partial(make_reward, rankings=RANKINGS // 2)
make_first = partial(make_ppo, config=PPO_FIRST)
