"""The command line, `python -m rlhf_lessons`: its commands, their flags, its exit codes.

A command is a function, and its flags are the arguments; configs bring theirs along. Whatever loads torch is
imported inside the functions, so that help and usage errors come at once.
"""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

PROGRAM = "python -m rlhf_lessons"
HELP = f"""usage: {PROGRAM} COMMAND [FLAGS]

RLHF Lessons: a language model goes through the whole of reinforcement learning from human feedback.

Try the models
  ask "PROMPT"   send one prompt to three models: base, after fine-tuning (sft), after RLHF (ppo)
  evaluate       score their answers to prompts that no model has seen, with 95 % intervals
  diagnose       find the stage that went wrong, and the evidence

Train your own, into the folder runs (Ctrl-C stops; the same command goes on from there)
  course         all four stages from scratch, then before and after: about 20 minutes
  pretrain       step 1: a base model learns to predict the next token of web scraps
  sft            step 2: supervised fine-tuning on prompts with ideal answers
  reward         step 3: a reward model learns from comparisons which answers people prefer
  ppo            step 4: reinforcement learning against the reward model

Data
  data build     write the course's data files anew
  ratings        people's votes: export, import, statistics, merge, forget (ratings --help says more)
  classroom      serve: the page on which a class rates from its phones; check: try it with one phone
  reports        gather a class's reports, which rl.report() writes, into a table

Each command has its own help, such as: {PROGRAM} ask --help
Exit codes: 0 all is well, 1 it failed or a stage is bad, 2 the input does not fit, 130 you stopped it.
"""
Source = Literal["best", "mine", "shipped"]
Prompt = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]


def note(*lines: str) -> None:
    """Say something that is not the result: on stderr, so that --json stays pure."""
    print(*lines, file=sys.stderr, flush=True)


def words(names: str) -> list[str]:
    """Return the names in a list such as `base,sft,ppo`, each once."""
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def ask(
    prompt: Prompt,
    models: str = "base,sft,ppo",
    n: int = 3,
    temperature: float = 1.0,
    seed: int = 0,
    source: Source = "best",
    json: bool = False,
) -> None:
    """Send one prompt to several models and show their answers side by side.

    Args:
        prompt: What you ask, in quotation marks.
        models: The models, separated by commas.
        n: Answers of each model.
        temperature: 1 samples as the model learned it, lower is safer and duller, 0 takes the likeliest answer.
        seed: The same seed gives the same answers.
        source: `mine` and `shipped` insist on your own or the shipped models; `best` takes yours if good enough.
        json: Print one JSON object and nothing else.
    """
    from rlhf_lessons.data import to_json
    from rlhf_lessons.evaluation import ask as asking

    samples = asking.ask(
        prompt, asking.load_writers(words(models), source, note), n, temperature, seed
    )
    print(
        to_json({"prompt": prompt, "samples": samples})
        if json
        else asking.side_by_side(prompt, samples)
    )
    if word := asking.out_of_world_notice(prompt):
        note("\n" + word)


def evaluate(
    models: str = "base,sft,ppo",
    split: Literal["heldout", "validation", "train"] = "heldout",
    n: int = 4,
    seed: int = 0,
    source: Source = "best",
    json: bool = False,
) -> None:
    """Let models answer all prompts of a split, and score the answers by the toy world's judge.

    Args:
        models: The models, separated by commas.
        split: The prompts: `heldout` were never used in training or tuning.
        n: Answers to each prompt.
        seed: The same seed gives the same answers.
        source: `mine` and `shipped` insist on your own or the shipped models; `best` takes yours if good enough.
        json: Print one JSON object and nothing else.
    """
    if not 1 <= n <= 100:
        raise ValueError(f"n must lie between 1 and 100, not {n}")
    from rlhf_lessons.data import tasks, to_json
    from rlhf_lessons.evaluation import arena
    from rlhf_lessons.evaluation.ask import load_writers

    result = arena.evaluate(load_writers(words(models), source, note), tasks(split), n, seed, split)
    print(to_json(result) if json else arena.before_after(result))


def diagnose(json: bool = False) -> int:
    """Look for the stage that went wrong: your own models where you have any, else the shipped ones.

    The exit code is 1 where something failed.

    Args:
        json: Print one JSON object and nothing else.
    """
    from rlhf_lessons.data import to_json
    from rlhf_lessons.evaluation import diagnose as doctor

    verdicts = doctor.diagnose(doctor.measure(note))
    print(to_json(doctor.summary(verdicts)) if json else doctor.as_text(verdicts))
    return int(any(verdict.ok is False for verdict in verdicts))


def build(folder: Path | None = None) -> None:
    """Write all data that needs no model: prompts, demonstrations, a sample of the corpus and its hash.

    Args:
        folder: Where to; the course's own folder `data` where you name none.
    """
    from rlhf_lessons import data

    for path in data.build(folder):
        print(f"{path}  {path.stat().st_size:,} bytes")


def reports(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    out: Path = Path("class.csv"),
) -> int:
    """Gather a class's reports into a table for a spreadsheet: a row for each report.html in a folder.

    The exit code is 1 where a file could not be read; the others are in the table all the same.

    Args:
        folder: The folder; reports in folders within it count too, whatever their files are called.
        out: The CSV file to write; what is there is replaced.
    """
    from rlhf_lessons.reports.class_table import gather

    rows, problems = gather(folder, out)
    for problem in problems:
        note(f"left out: {problem}")
    print(f"{rows} reports written to {out}")
    return int(bool(problems))


def trainer(name: str) -> Callable:
    """Return one of the commands that train."""
    import matplotlib

    matplotlib.use("Agg")  # figures go into files
    from rlhf_lessons import commands

    return getattr(commands, name)


def command(arguments: list[str]) -> tuple[Callable, str, list[str]]:
    """Return the function that is asked for, its name, and the flags; SystemExit where there is none."""
    first, *rest = arguments or [""]
    if first in ("-h", "--help", "help"):
        print(HELP)
        sys.exit(0)
    here = {"ask": ask, "evaluate": evaluate, "diagnose": diagnose, "reports": reports}
    if first in here:
        return here[first], first, rest
    if first in ("pretrain", "sft", "reward", "ppo", "course"):
        return trainer(first), first, rest
    if first == "data" and rest[:1] == ["build"]:
        return build, "data build", rest[1:]
    if first == "data" and rest and rest[0] in ("-h", "--help"):
        return build, "data build", rest
    if first == "ratings":
        from rlhf_lessons.feedback.commands import pick

        return pick(rest)
    if first == "classroom" and rest[:1] in (["serve"], ["check"]):
        from rlhf_lessons.classroom import serve as classroom

        return getattr(classroom, rest[0]), f"classroom {rest[0]}", rest[1:]
    note(
        HELP
        if not first
        else f"There is no command '{' '.join(arguments[:2]) if first == 'data' else first}'. "
        f"The commands: ask, evaluate, diagnose, course, pretrain, sft, reward, ppo, data build, ratings, classroom, "
        f"reports. More: {PROGRAM} --help"
    )
    sys.exit(2)


def exit_code(error: Exception) -> int | None:
    """Return the exit code of an error that its message explains; None for one that is a fault of ours.

    Errors are told apart by name, since loading their classes would load torch.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    where = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    if "Interrupted" in names:
        return 130
    if names & {"Stopped", "OSError"}:
        return 1
    ours = "ValueError" in names and where.is_relative_to(Path(__file__).parent)
    return 2 if ours or names & {"CheckpointError", "DataError"} else None


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; errors that a person can mend are one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    function, name, flags = command(sys.argv[1:] if arguments is None else arguments)
    plain = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    try:
        return tyro.cli(function, args=flags, prog=f"{PROGRAM} {name}", config=plain) or 0
    except KeyboardInterrupt:
        note("\nStopped.")
        return 130
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        note(f"{PROGRAM} {name}: {error}")
        return code
