"""RLHF Lessons: a language model goes through all of reinforcement learning from human feedback.

    import rlhf_lessons as rl
    model, tokenizer = rl.load("sft")              # base, sft, reward or ppo
    rl.keep(model, tokenizer, "sft", "how made")   # for rl.load("sft", "mine")
    rl.ask("What is 4-2 and 3-1?")                 # base, SFT and PPO model side by side
    rl.judge("What is 4-2 and 3-1?", "2 and 2.")   # the true quality of an answer
    card = rl.rate(pairs, "my round")              # you are the rater: a card in the notebook
    rl.live_reward_model(card)                     # a reward model that learns from your votes
    rl.report("Ada")                               # one page of what you did

Each name is fetched from its module when it is first used, so that nothing loads PyTorch before it
is needed. The stages (`PPO` and the others) are imported from their own modules,
`rlhf_lessons.stages.ppo` and so on.
"""

from importlib import import_module

__version__ = "0.1.0"
HOMES = {
    "load": "checkpoints",
    "keep": "checkpoints",
    "ask": "evaluation.ask",
    "generate": "lm.sampling",
    "tasks": "data",
    "judge": "world.judge",
    "rate": "widgets.rate",
    "live_reward_model": "widgets.live",
    "Guess": "widgets.guess",
    "minutes_here": "exercises.notebook",
    "stoppable": "exercises.notebook",
    "report": "reports.learner",
}
__all__ = ["__version__", *HOMES]


def __getattr__(name: str):
    if name not in HOMES:
        raise AttributeError(f"rlhf_lessons has no '{name}'; it has {', '.join(HOMES)}")
    return getattr(import_module(f"rlhf_lessons.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
