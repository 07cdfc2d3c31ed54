"""The loss by TRL and by this course on one batch: `python tests/trl_losses.py METHOD`.

It runs in a process of its own, with TRL's release on the path (`test_trl_parity.py` puts it
there). TRL's trainers get token ids, so that only the losses are compared; what they sample is
replaced by answers of ours.
"""

import copy
import json
import os
import random
import sys
import tempfile
import warnings
from unittest.mock import patch

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", ACCELERATE_USE_CPU="true")
warnings.simplefilter("ignore")

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from tiny_models import sentence, tiny_llama  # noqa: E402

from rlhf_lessons.lm.models import to_reward_model  # noqa: E402
from rlhf_lessons.lm.sampling import pad, response_logprobs  # noqa: E402
from rlhf_lessons.lm.tokenizer import train_tokenizer  # noqa: E402
from rlhf_lessons.stages import losses  # noqa: E402
from rlhf_lessons.stages.config import DPOConfig, GRPOConfig, PPOConfig, RLOOConfig  # noqa: E402
from rlhf_lessons.stages.dpo import DPO  # noqa: E402
from rlhf_lessons.stages.ppo import PPO  # noqa: E402
from rlhf_lessons.stages.reward import RewardModelling, to_rankings  # noqa: E402
from rlhf_lessons.stages.rloo import GRPO, RLOO  # noqa: E402
from rlhf_lessons.stages.rollout import Rollout  # noqa: E402
from rlhf_lessons.stages.sft import encode_demonstrations, sft_loss  # noqa: E402

GROUP = 4
RNG = random.Random(0)
TOKENIZER = train_tokenizer([sentence(RNG, 20, 30) + " What is 4-2?" for _ in range(200)], 320)
PAIRS = [
    {"prompt": f"Write {i}", "chosen": sentence(RNG, 2, 9), "rejected": sentence(RNG, 2, 9)}
    for i in range(6)
]


def settings(kind, **more):
    """TRL's settings for one process on a CPU that reports to nobody."""
    folder = tempfile.mkdtemp()
    return kind(output_dir=folder, report_to="none", use_cpu=True, bf16=False, **more)


def moved(model, seed: int = 5, size: float = 0.02):
    """A copy of a model whose weights have moved by a share of their deviation."""
    model = copy.deepcopy(model)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += size * weight.std() * torch.randn(weight.shape, generator=rng)
    return model


def sft():
    from trl import SFTConfig, SFTTrainer

    model = tiny_llama(TOKENIZER)
    rows = encode_demonstrations(
        TOKENIZER, [{"prompt": row["prompt"], "completion": row["chosen"]} for row in PAIRS]
    )
    columns = [{"input_ids": ids, "labels": labels} for ids, labels in rows]
    trainer = SFTTrainer(
        model,
        settings(SFTConfig, max_length=None),
        train_dataset=Dataset.from_list(columns),
        processing_class=TOKENIZER,
    )
    theirs = trainer.compute_loss(model, trainer.data_collator(columns))
    return theirs, sft_loss(model, rows, TOKENIZER.pad_token_id)


def reward():
    from trl import RewardConfig, RewardTrainer

    lm = tiny_llama(TOKENIZER)
    run = RewardModelling(lm, TOKENIZER, PAIRS, config_of_rows(6))
    rankings = to_rankings(TOKENIZER, PAIRS)
    columns = [
        {"chosen_ids": r.rows[r.pairs[0][0]], "rejected_ids": r.rows[r.pairs[0][1]]}
        for r in rankings
    ]
    model = copy.deepcopy(run.model)
    model.config.pad_token_id = TOKENIZER.pad_token_id
    trainer = RewardTrainer(
        model,
        settings(RewardConfig, max_length=None),
        train_dataset=Dataset.from_list(columns),
        processing_class=TOKENIZER,
    )
    theirs = trainer.compute_loss(model, trainer.data_collator(columns))
    return theirs, torch.tensor(next(run).loss)


def config_of_rows(size: int):
    from rlhf_lessons.stages.config import RewardConfig

    return RewardConfig(epochs=1, batch_size=size)


def dpo():
    from trl import DPOConfig as TRLConfig
    from trl import DPOTrainer

    reference = tiny_llama(TOKENIZER)
    model = moved(reference)
    run = DPO(copy.deepcopy(model), TOKENIZER, PAIRS, DPOConfig(beta=0.3, batch_size=6), reference)
    columns = []
    for ranking in to_rankings(TOKENIZER, PAIRS):
        (better, worse), start = ranking.pairs[0], ranking.prompt_length
        columns.append(
            {
                "prompt_ids": ranking.rows[better][:start],
                "chosen_ids": ranking.rows[better][start:],
                "rejected_ids": ranking.rows[worse][start:],
            }
        )
    trainer = DPOTrainer(
        model,
        ref_model=reference,
        args=settings(TRLConfig, beta=0.3, max_length=None),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=TOKENIZER,
    )
    theirs = trainer.compute_loss(model, trainer.data_collator(columns))
    return theirs, torch.tensor(next(run).loss)


def rollout_of(stage, policy, reference, full: bool = False) -> tuple[Rollout, list, list]:
    """A batch of random answers to two prompts, as if `policy` had sampled them: the rollout,
    and the ids of prompts and answers. With `full`, all are as long as they may be, with no end.
    """
    prompts = [prompt for prompt in ("Write a", "Write the b") for _ in range(GROUP)]
    prompt_ids = [TOKENIZER(prompt)["input_ids"] for prompt in prompts]
    if full:
        prompt_ids = [prompt_ids[0]] * len(prompts)
    answers = []
    for i in range(len(prompts)):
        length = 7 if full else 2 + i % 5
        ids = [RNG.randrange(5, 300) for _ in range(length)]
        answers.append(ids if full else [*ids, TOKENIZER.eos_token_id])
    left, left_mask = pad(prompt_ids, TOKENIZER.pad_token_id, "left")
    right, right_mask = pad(answers, TOKENIZER.pad_token_id)
    ids, mask = torch.cat([left, right], 1), torch.cat([left_mask, right_mask], 1)
    with torch.no_grad():
        old, _ = response_logprobs(policy, ids, mask, right.shape[1])
        asked, _ = response_logprobs(reference, ids, mask, right.shape[1])
    scores = torch.tensor([RNG.gauss(0, 1) for _ in prompts])
    ended = torch.full((len(prompts),), not full)
    batch = Rollout(
        texts=[TOKENIZER.decode(answer) for answer in answers],
        ids=ids,
        attention_mask=mask,
        context_length=left.shape[1],
        response_mask=right_mask,
        logprobs=old,
        ended=ended,
        logits=1,  # few: all rows go through in one pass
        prompts=prompts,
        scores=scores,
        reference_logprobs=asked,
    )
    return batch, prompt_ids, answers


def groups(name: str):
    """RLOO, GRPO or Dr. GRPO: advantages and loss after the policy has moved from its samples."""
    import trl

    reference = tiny_llama(TOKENIZER)
    policy = moved(reference)
    common = {"steps": 1, "batch_size": 2 * GROUP, "group_size": GROUP, "max_new_tokens": 8}
    theirs = {
        "per_device_train_batch_size": 2 * GROUP,
        "num_generations": GROUP,
        "max_completion_length": 8,
        "beta": 0.05,
        "num_iterations": 2,
        "disable_dropout": True,
    }
    if name == "rloo":
        kind, stage, config = "RLOO", RLOO, RLOOConfig(**common)
    elif name == "grpo":
        kind, stage, config = "GRPO", GRPO, GRPOConfig(**common)
        theirs["loss_type"] = "grpo"
    else:
        kind, stage = "GRPO", GRPO
        config = GRPOConfig(**common, scale_rewards=False, loss_type="dr_grpo")
        theirs |= {"loss_type": "dr_grpo", "scale_rewards": "none"}

    def unused(prompts, texts, ended):
        raise AssertionError("the scores are given")

    run = stage(copy.deepcopy(policy), TOKENIZER, unused, ["a"], config, reference=reference)
    run.suppressed = []  # TRL samples any token
    batch, prompt_ids, answers = rollout_of(run, policy, reference)
    reference.save_pretrained(folder := tempfile.mkdtemp())
    policy.config._name_or_path = folder  # from where TRL takes its reference
    trainer = getattr(trl, f"{kind}Trainer")(
        model=policy,
        reward_funcs=lambda completions, **_: batch.scores.tolist(),
        args=settings(getattr(trl, f"{kind}Config"), **theirs),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in batch.prompts]),
        processing_class=TOKENIZER,
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    sampled = {
        "RLOO": (prompt_ids, answers, batch.texts),
        "GRPO": (prompt_ids, answers, None, batch.texts, None, {}, None, None),
    }[kind]
    trainer._generate = lambda prompts: sampled
    found = trainer._generate_and_score_completions([{"prompt": p} for p in batch.prompts])
    later = moved(policy, 6, 0.05)
    run.policy.load_state_dict(later.state_dict())
    trainer.model.load_state_dict(later.state_dict())
    mine = run.estimate(batch)
    torch.testing.assert_close(mine.advantages, found["advantages"], atol=1e-5, rtol=1e-5)
    loss = trainer._compute_loss(trainer.model, found)
    metrics = run.minibatch(mine, torch.arange(2 * GROUP), 0)
    assert metrics["ratio_error"] > 0.2, "the clip must be at work"
    return loss, torch.tensor(metrics["policy_loss"])


def ppo():
    """TRL's last PPO, of 1.12. On answers that end it puts the score one token later than we do, so
    these are of full length; and it whitens by the unbiased deviation, so for once we do."""
    import trl.experimental.ppo.ppo_trainer as theirs

    reference = tiny_llama(TOKENIZER)
    policy = moved(reference)
    reward_model = to_reward_model(reference, seed=1)
    reward_model.config.pad_token_id = TOKENIZER.pad_token_id
    config = PPOConfig(
        steps=1, batch_size=8, num_minibatches=1, max_new_tokens=7, critic_warmup=0, kl_coef=0.05
    )
    run = PPO(copy.deepcopy(policy), TOKENIZER, reward_model, ["a"], config, reference=reference)
    run.suppressed = []
    batch, prompt_ids, _ = rollout_of(run, policy, reference, full=True)
    batch.scores = run_scores(reward_model, batch)

    def whiten(x, mask):
        tokens = x[mask]
        return ((x - tokens.mean()) * torch.rsqrt(tokens.var() + 1e-8)).masked_fill(~mask, 0.0)

    with patch.object(losses, "whiten", whiten):
        episodes = run.estimate(batch)
    args = settings(
        theirs.PPOConfig,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=1,
        num_ppo_epochs=2,
        num_mini_batches=1,
        total_episodes=8,
        local_rollout_forward_batch_size=8,
        response_length=7,
        temperature=1.0,
        kl_coef=0.05,
        vf_coef=1.0,
        missing_eos_penalty=1.0,
        learning_rate=0.0,
        num_sample_generations=0,
        save_strategy="no",
        logging_strategy="no",
    )
    critic = copy.deepcopy(run.critic)
    trainer = theirs.PPOTrainer(
        args=args,
        processing_class=TOKENIZER,
        model=policy,
        ref_model=reference,
        reward_model=reward_model,
        value_model=critic,
        train_dataset=Dataset.from_list([{"input_ids": prompt_ids[0]}] * 8),
        eval_dataset=Dataset.from_list([{"input_ids": prompt_ids[0]}] * 8),
    )
    found = []

    def backward(loss):
        found.append(loss.item())
        policy.load_state_dict(later.state_dict())
        critic.load_state_dict(later_critic.state_dict())

    later, later_critic = moved(policy, 6, 0.1), moved(critic, 7, 0.1)
    trainer.accelerator.backward = backward
    logits = policy(batch.ids).logits[:, batch.context_length - 1 : -1].detach()
    with patch.object(theirs, "batch_generation", lambda *_: (batch.ids, logits)):
        trainer.train()
    mine = []
    for models in ((run.policy, run.critic), (later, later_critic)):
        run.policy.load_state_dict(models[0].state_dict())
        run.critic.load_state_dict(models[1].state_dict())
        metrics = run.minibatch(episodes, torch.arange(8), 0)
        mine.append(metrics["policy_loss"] + metrics["value_loss"])
    assert metrics["ratio_error"] > 0.2, "the clip must be at work"
    return torch.tensor(found), torch.tensor(mine)


def run_scores(reward_model, batch: Rollout) -> torch.Tensor:
    from rlhf_lessons.stages.rollout import score_ids

    return score_ids(reward_model, batch.ids, batch.attention_mask)


METHODS = {
    "sft": sft,
    "reward": reward,
    "dpo": dpo,
    "rloo": lambda: groups("rloo"),
    "grpo": lambda: groups("grpo"),
    "dr_grpo": lambda: groups("dr_grpo"),
    "ppo": ppo,
}

if __name__ == "__main__":
    import trl

    found, mine = METHODS[sys.argv[1]]()
    print(json.dumps({"trl": trl.__version__, "theirs": found.tolist(), "ours": mine.tolist()}))
