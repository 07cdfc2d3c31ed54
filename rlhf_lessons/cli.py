"""The command line, `python -m rlhf_lessons`: every command, its flags, its exit codes.

A command is a function: its arguments are the flags, its docstring is the help, and configs bring
their fields along. Whatever loads torch, or the class page, is imported inside the functions, so
that help and usage errors come at once.
"""

import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import arg

from rlhf_lessons import data, paths
from rlhf_lessons.stages.config import (
    PPO_RECIPE,
    PRETRAIN,
    REWARD,
    SFT_RECIPE,
    PPOConfig,
    PretrainConfig,
    RewardConfig,
    SFTConfig,
)

PROGRAM = "python -m rlhf_lessons"
ABOUT = f"""\
RLHF Lessons: a language model goes through all of reinforcement learning from human feedback.

Each command has its own help, such as: {PROGRAM} ask --help

Exit codes: 0 all is well, 1 it failed or a stage is bad, 2 the input does not fit, \
130 you stopped it."""
POSITIVE = (  # settings that must be above 0
    "steps epochs batch_size num_minibatches update_epochs context layers width validate_every lr "
    "critic_lr temperature max_new_tokens max_grad_norm rankings"
).split()
EXIT_CODES = {
    "Interrupted": 130,
    "Stopped": 1,
    "LostProcess": 1,
    "OSError": 1,
    "CheckpointError": 2,
    "ValueError": 2,
}
Source = Annotated[
    Literal["best", "mine", "shipped"],
    arg(
        help="`mine` and `shipped` insist on your own or the shipped models; "
        "`best` takes yours if it is good enough."
    ),
]
Models = Annotated[str, arg(help="The models, by name or by folder, separated by commas.")]
Seed = Annotated[int, arg(help="The same seed gives the same answers.")]
Json = Annotated[bool, arg(help="Print one JSON object and nothing else.")]
Out = Annotated[Path | None, arg(help="Folder for the finished model; by default in runs.")]
Parent = Annotated[
    Path | None,
    arg(
        help="Folder of the model to start from; by default your own if it is good enough, "
        "else the shipped one."
    ),
]
Fresh = Annotated[bool, arg(help="Forget a stopped run instead of resuming it.")]
SkipBadRows = Annotated[bool, arg(help="Leave out rows that do not fit, and say how many.")]
Db = Annotated[str | None, arg(help="The ratings file, or a database's URL.")]
Forget = Annotated[
    bool,
    arg(
        help="Also do what the files would delete or change of what is here: forgotten raters, "
        "votes undone or changed, hidden texts, rounds opened or paused."
    ),
]
Round = Annotated[str | None, arg(help="Only this round, such as one lesson's.")]


def note(text: str) -> None:
    """Print what is not the result to stderr, so that --json stays pure."""
    print(text, file=sys.stderr, flush=True)


def show(found, json: bool, text: Callable) -> None:
    """Print a result, as one JSON object or as the text that a function makes of it."""
    print(data.to_json(found) if json else text(found))


# ---- Try the models ------------------------------------------------------------------------------


def ask(
    prompt: str,
    models: Models = "base,sft,ppo",
    n: int = 3,
    temperature: float = 1.0,
    seed: Seed = 0,
    source: Source = "best",
    json: Json = False,
) -> None:
    """Send one prompt to several models and show their answers side by side.

    Args:
        prompt: What you ask, in quotation marks.
        n: Answers of each model.
        temperature: 1 samples as the model learned it, lower is duller, 0 takes the likeliest.
    """
    from rlhf_lessons.evaluation import ask as asking
    from rlhf_lessons.reports.terminal import side_by_side

    writers = asking.load_writers(models.split(","), source, note)
    samples = asking.ask(prompt, writers, n, temperature, seed)
    show({"prompt": prompt, "samples": samples}, json, lambda found: side_by_side(**found))
    if notice := asking.out_of_world_notice(prompt):
        note("\n" + notice)


def evaluate(
    models: Models = "base,sft,ppo",
    split: Literal["heldout", "validation", "train"] = "heldout",
    n: int = 4,
    seed: Seed = 0,
    source: Source = "best",
    json: Json = False,
) -> None:
    """Score models' answers to prompts that no model has seen, with 95 % intervals.

    Args:
        split: The prompts: `heldout` were never used in training or tuning.
        n: Answers to each prompt.
    """
    if not 1 <= n <= 100:
        raise ValueError(f"n must lie between 1 and 100, not {n}")
    from rlhf_lessons.evaluation import arena
    from rlhf_lessons.evaluation.ask import load_writers
    from rlhf_lessons.reports.terminal import models_table

    writers = load_writers(models.split(","), source, note)
    result = {"split": split, **arena.evaluate(writers, data.tasks(split), n, seed)}
    show(result, json, models_table)


def compare(
    methods: Annotated[str, arg(help="Which, separated by commas.")] = "ppo,rloo,grpo,dpo,rs,bon",
    seeds: int = 4,
    split: Literal["heldout", "validation"] = "validation",
    chains: Path | None = None,
    out: Path | None = None,
    json: Json = False,
) -> None:
    """Train by several methods from the same SFT model and votes, and compare gain, KL and time.

    Besides `ppo`: `rloo`, `grpo` and `dr_grpo` have no critic, `dpo` no reward model; `rs`
    fine-tunes on the best of 16 answers, `bon` only chooses; `verified` is RLOO with a second
    reward, for what a program can check, and `warm_verified` the same after SFT on right answers.
    A stopped comparison continues.

    Args:
        seeds: How many runs of each method.
        split: The prompts to measure on; settings are chosen on `validation`.
        chains: Folder with models for each seed, seed0/sft and so on; by default those that ship.
        out: Folder for models, measurements and table; by default runs/compare.
    """
    from rlhf_lessons.reports import compare as comparing
    from rlhf_lessons.reports.terminal import compared_table

    out = out or paths.RUNS / "compare"
    names = [name.strip() for name in methods.split(",")]
    models = comparing.chains_of(seeds, chains, names)
    found = comparing.compare(names, models, split, out)
    show(comparing.summary(found), json, compared_table)
    if not json:
        print(f"\nModels and measurements, a row for each: {out / split}")


def diagnose(json: Json = False) -> int:
    """Find the stage that went wrong: in your own models if you have any, else in those shipped."""
    from rlhf_lessons.evaluation import diagnose as doctor
    from rlhf_lessons.reports.terminal import diagnosis

    found = doctor.diagnose(doctor.measure(note))
    show(found, json, diagnosis)
    return int(found["failed"] is not None)


# ---- Train your own ------------------------------------------------------------------------------


def course(fresh: bool = False, preset: Literal["laptop", "gpu"] = "laptop") -> None:
    """Train all stages from scratch, then compare the models: about 20 minutes on two cores.

    Ctrl-C stops it after the step in progress; the same command resumes there, and leaves alone
    what is finished.

    Args:
        fresh: Train everything again, finished stages too.
        preset: `gpu` trains a model ten times larger and saves it under runs/gpu; it runs on a GPU
            if the environment variable RLHF_LESSONS_DEVICE is cuda.
    """
    import matplotlib

    matplotlib.use("Agg")  # figures go into files
    from rlhf_lessons.reports.course import COURSE, LARGE
    from rlhf_lessons.reports.course import compare as compared

    began = time.monotonic()
    large = preset == "gpu"
    folder = paths.RUNS / "gpu" if large else paths.RUNS
    for number, (stage, (title, *parents)) in enumerate(COURSE.items(), 1):
        print(f"\nStep {number} of {len(COURSE)}: {title}", flush=True)
        out = folder / stage
        folders = {name: folder / name for name in parents}
        settings = {"config": LARGE[stage]} if large else {}
        if not fresh and made_at(out) > max(map(made_at, folders.values()), default=0):
            print(f"Finished before, in {out}; --fresh trains it again.")
        else:
            make(stage, out, fresh, folders, **settings)
    print("\n" + compared(folder))
    print(f"\nThe course took {(time.monotonic() - began) / 60:.0f} minutes, into {folder}")


def pretrain(config: PretrainConfig = PRETRAIN, out: Out = None, fresh: Fresh = False) -> None:
    """Step 1: train a base model from scratch to predict the next token of web scraps."""
    make("base", out, fresh, {}, config=config)


def sft(
    config: SFTConfig = SFT_RECIPE,
    out: Out = None,
    base: Parent = None,
    demonstrations: str | None = None,
    skip_bad_rows: SkipBadRows = False,
    fresh: Fresh = False,
) -> None:
    """Step 2: fine-tune the base on prompts with ideal answers.

    Demonstrations are JSONL with `prompt` and `completion`, or conversations in TRL's forms.

    Args:
        demonstrations: A file or data set of the hub; by default data/demonstrations.jsonl.
    """
    rows = demonstrations and data.read_rows(demonstrations, "demonstrations", skip_bad_rows)
    make("sft", out, fresh, {"base": base}, demonstrations=rows, config=config)


def reward(
    config: RewardConfig = REWARD,
    out: Out = None,
    sft: Parent = None,
    policy: Path | None = None,
    comparisons: str | None = None,
    skip_bad_rows: SkipBadRows = False,
    rankings: int | None = None,
    fresh: Fresh = False,
) -> None:
    """Step 3: train a reward model on comparisons of answers.

    Comparisons are JSONL with `prompt`, `chosen` and `rejected`, or in another of TRL's or
    hh-rlhf's forms. By default they are data/comparisons.jsonl, of answers by the shipped SFT
    model; another SFT model writes its own answers, and simulated raters compare them.

    Args:
        policy: Folder of an earlier round's policy; half of the answers compared are then its own.
        comparisons: A file or data set of the hub; by default see above.
        rankings: Prompts whose answers simulated raters compare, instead of those that ship.
    """
    rows = comparisons and data.read_rows(comparisons, "comparisons", skip_bad_rows)
    settings = {"policy": policy, "comparisons": rows, "config": config, "rankings": rankings}
    make("reward", out, fresh, {"sft": sft}, **settings)


def ppo(
    config: PPOConfig = PPO_RECIPE,
    out: Out = None,
    sft: Parent = None,
    reward: Parent = None,
    truth: bool = False,
    fresh: Fresh = False,
) -> None:
    """Step 4: let the SFT model learn to write what the reward model scores highly.

    Args:
        truth: Reward by the toy world's judge instead, to see what a perfect reward model brings.
    """
    make("ppo", out, fresh, {"sft": sft, "reward": reward}, config=config, truth=truth)


def make(
    stage: str, out: Path | None, fresh: bool, parents: dict[str, Path | None], **settings
) -> None:
    """Train a stage by its recipe from the models named, or the usual ones, and say how it went.

    ValueError naming a setting that must be above 0 and is not, or a folder that holds something
    else than a model, since the new one takes the place of what is there.
    """
    given = vars(settings["config"]) | settings if settings else {}
    for name in POSITIVE:
        value = given.get(name)
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0, not {value}")
    out = (out or paths.RUNS / stage).absolute()
    if out.exists() and any(out.iterdir()) and not made_at(out):
        raise ValueError(
            f"{out}: holds something that is no model of this course; "
            "name another folder with --out"
        )
    from rlhf_lessons import recipes
    from rlhf_lessons.checkpoints import QUALITY, choose
    from rlhf_lessons.lm.models import load_card
    from rlhf_lessons.stages.run import forget

    folders = []
    for name, folder in parents.items():
        if folder is None:
            folder, reason = choose(name)
            print(reason)
        elif not made_at(folder):
            print(f"{name}: {folder}. {load_card(folder).get('about')}")
        folders.append(folder)
    if fresh:
        forget(recipes.state_folder(out))
    getattr(recipes, f"make_{stage}")(out, *folders, **settings)
    card = load_card(out)
    print(
        f"Finished: {out}, {card['quality']:.3f} ({QUALITY[stage]}), {card['seconds']} s. "
        f"Metrics of every step: {recipes.state_folder(out) / 'metrics.jsonl'}"
    )


def made_at(folder: Path) -> float:
    """Return when a checkpoint was made, in seconds; 0 where there is none."""
    card = Path(folder, "card.json")
    return card.stat().st_mtime if card.is_file() else 0.0


# ---- Data and votes ------------------------------------------------------------------------------


def build(folder: Path | None = None) -> None:
    """Write the course's data files anew, all that need no model.

    Args:
        folder: Where to; by default the course's own folder `data`.
    """
    for path in data.build(folder):
        print(f"{path}  {path.stat().st_size:,} bytes")


def opened(db: str | None, readonly: bool = True):
    """Return the ratings store; ValueError where there is none yet."""
    from rlhf_lessons.feedback.store import DEFAULT, Store

    db = db or str(DEFAULT)
    if "://" not in db and not Path(db).is_file():
        raise ValueError(
            f"{db}: there are no ratings yet; rate something in a lesson, or name a file with --db"
        )
    return Store(db, readonly)


def export(
    out: Path,
    format: Literal[
        "preference", "unpaired", "rankings", "demonstrations", "csv", "events"
    ] = "preference",
    to: Literal["trl"] | None = None,
    round: Round = None,
    anonymous: bool = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Write ratings into a file: as training data, as a table, or all that there is.

    The formats `preference` and `unpaired` are TRL's, `rankings` hold K answers each,
    `demonstrations` train SFT, `csv` is a table of all answers for a spreadsheet, and `events` is
    everything, undone votes too.

    Args:
        out: The file to write; what is there is replaced.
        format: What to write, see above.
        to: `trl` writes conversations, which TRL turns into the same tokens as our stages, and
            prints Python code that trains on them.
        anonymous: Call the raters `rater 1` and so on, and leave out times and reasons.
    """
    from rlhf_lessons.feedback.export import snippet, trainer, written

    if round is not None and format == "events":
        raise ValueError(
            "events are always all rounds: leave out --round, or choose another format"
        )
    if to:
        trainer(format)  # it must have one
    text, rows, left_out = written(opened(db), format, round, anonymous, to)
    try:
        paths.write_text(out, text)
    except OSError as error:
        raise OSError(f"{out}: nothing was written ({error.strerror})") from error
    if json:
        print(data.to_json({"file": str(out), "rows": rows, "left_out": left_out}))
        return
    print(f"{rows} rows written to {out}")
    for reason, n in left_out.items():
        print(f"  left out: {n} ({reason})")
    if to and rows:
        print(f"\nTo train on them with TRL:\n\n{snippet(format, out)}")


def import_(
    file: Path,
    round: str = "imported",
    forget: Forget = False,
    db: Db = None,
    json: Json = False,
) -> None:
    """Add votes from a file that export wrote, or from one in TRL's formats.

    Votes that are there already count once. A file with a row that does not fit is not taken at
    all.

    Args:
        file: A .jsonl file, or another ratings file. A table (CSV) cannot be imported.
        round: The round that they belong to, where the file does not say.
    """
    from rlhf_lessons.feedback import exchange
    from rlhf_lessons.feedback.store import DEFAULT, Store

    show(exchange.load(Store(db or str(DEFAULT)), file, round, forget), json, brought)


def merge(
    out: str,
    files: Annotated[tuple[Path, ...], arg(metavar="FILES")],
    forget: Forget = False,
    json: Json = False,
) -> None:
    """Put the ratings of many laptops into one file. What is in several of them counts once.

    Args:
        out: The ratings file to add to, created if there is none; or a database's URL.
        files: Ratings files, or files that `ratings export --format events` wrote.
    """
    from rlhf_lessons.feedback import exchange
    from rlhf_lessons.feedback.store import Store

    if not files:
        raise ValueError("name the files to merge after the file to put them into")
    store = Store(out)
    total = Counter()
    for file in files:
        found = exchange.load(store, file, forget=forget)
        total.update(found)
        if not json:
            print(f"{file}: {brought(found)}")
    if json:
        print(data.to_json(dict(total)))


def brought(found: dict[str, int]) -> str:
    """Return what an import brought, in words."""
    text = f"{found['new']} new events, {found['known']} that were here already"
    if found["forgotten"]:
        text += f"; {found['forgotten']} left out, since their rater was forgotten"
    return text


def stats(round: Round = None, db: Db = None, json: Json = False) -> None:
    """Say how well raters agree and what else moves their votes, with 95 % intervals."""
    from rlhf_lessons.evaluation.votes import statistics
    from rlhf_lessons.reports.terminal import votes_table

    show(statistics(opened(db).answers(round)), json, votes_table)


def forget(who: str, db: Db = None, json: Json = False) -> None:
    """Delete all data about one rater: votes, texts and name. It cannot be undone.

    That somebody was deleted is noted, without the name, so that an older copy of the file does
    not bring it back.

    Args:
        who: The rater's name, or id where several have one name.
    """
    from rlhf_lessons.feedback import exchange

    show(exchange.forget(opened(db, readonly=False), who), json, deleted)


def deleted(found: dict) -> str:
    """Return what was deleted, in words, and what to do where it is not over."""
    said = f"Deleted: {found['events']} events. Copies and exports made before still hold them."
    if found["finished"]:
        return said
    return said + (
        "\nIt is not over yet: another program reads the file, which keeps the old text until "
        "that ends. Close it, such as a notebook or the class page, and run this command again."
    )


def reports(folder: Path, out: Path = Path("class.csv")) -> int:
    """Gather a class's reports into a table for a spreadsheet: a row for each report.html.

    The exit code is 1 where a file could not be read; the others are in the table all the same.

    Args:
        folder: Reports in folders within it count too, whatever their files are called.
        out: The CSV file to write; what is there is replaced.
    """
    from rlhf_lessons.reports.class_table import gather

    rows, problems = gather(folder, out)
    for problem in problems:
        note(f"left out: {problem}")
    print(f"{rows} reports written to {out}")
    return int(bool(problems))


# ---- The class page ------------------------------------------------------------------------------


def serve(
    db: Db = None,
    host: str = "127.0.0.1",
    port: int = 8800,
    code: str = "",
    prefix: str = "",
    url: str = "",
    teams: Literal[0, 2] = 0,
    answers: Path | None = None,
    goal: int = 20,
) -> None:
    """Open the class page: students rate on their phones, and you see the room learn.

    Ctrl-C ends it; nothing is lost. Your notebooks must use the same ratings file.

    Args:
        host: Who may connect: by default this computer; 0.0.0.0 is all its networks.
        port: Where to listen.
        code: The class code; by default drawn at random, and kept beside the ratings file.
        prefix: A path before all pages, such as /rate, where a proxy passes requests on.
        url: What students type where it is not this computer's address, as with a tunnel.
        teams: 2 gives each half of the room an opposite brief.
        answers: A JSONL file of answers to rate; by default the course's own.
        goal: Judgements asked of each student in a round.
    """
    from rlhf_lessons.classroom import serve as page
    from rlhf_lessons.feedback.store import DEFAULT

    options = {"code": code, "teams": teams, "goal": goal, "prefix": prefix}
    page.serve(db or str(DEFAULT), host, port, url, answers or page.ANSWERS, **options)


def try_class_page(
    host: str = "0.0.0.0", port: int = 8800, url: str = "", minutes: float = 5
) -> int:
    """Try the class page with one phone: whether it connects, joins, and its vote is stored.

    Args:
        host: As for `serve`; here all networks of this computer.
        port: As for `serve`.
        url: As for `serve`.
        minutes: How long to wait for the phone.
    """
    from rlhf_lessons.classroom import serve as page

    return page.check(host, port, url, minutes)


def ladder(
    policies: tuple[Path, ...] = (), family: str = "story", simulated: int = 0, db: Db = None
) -> None:
    """Let the class vote on what its own reward model likes best: Goodhart with a room.

    A new round opens on the class page: the best of 1, 4 ... 256 answers, by the reward model of
    the current round's votes, or one after PPO, beside a plain answer. The projector shows how
    often it wins: by the reward model, by true utility, by the votes.

    Args:
        policies: Folders of checkpoints after PPO; by default the shipped one.
        family: What the prompts are about: story, email, poem, code, maths, or all.
        simulated: So many simulated raters vote; in the current round too, if nobody has.
    """
    from rlhf_lessons.checkpoints import shipped
    from rlhf_lessons.classroom.ladder import climb

    store = opened(db, readonly=False)
    print(climb(store, policies or [shipped("ppo")], family, simulated))


# ---- The one dispatcher --------------------------------------------------------------------------

COMMANDS = {
    "ask": ask,
    "evaluate": evaluate,
    "compare": compare,
    "diagnose": diagnose,
    "course": course,
    "pretrain": pretrain,
    "sft": sft,
    "reward": reward,
    "ppo": ppo,
    "data build": build,
    "ratings export": export,
    "ratings import": import_,
    "ratings stats": stats,
    "ratings merge": merge,
    "ratings forget": forget,
    "classroom serve": serve,
    "classroom check": try_class_page,
    "classroom ladder": ladder,
    "reports": reports,
}


def main(words: list[str]) -> int:
    """Run a command and return its exit code; errors that a person can fix are one line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    first = not several or os.environ["RANK"] == "0"  # the one that prints
    if not first:
        sys.stdout = open(os.devnull, "w")
    both = " ".join(words[:2])
    if both in COMMANDS:
        words = [both, *words[2:]]
    name = words[0] if words else ""
    group = {each: run for each, run in COMMANDS.items() if each.startswith(f"{name} ")}
    how = (
        tyro.conf.FlagCreatePairsOff,
        tyro.conf.OmitArgPrefixes,
        tyro.conf.PositionalRequiredArgs,
    )
    parse = tyro.extras.subcommand_cli_from_dict
    try:
        if several:
            from rlhf_lessons.lm.processes import join

            join()
        return (
            parse(group or COMMANDS, prog=PROGRAM, description=ABOUT, args=words, config=how) or 0
        )
    except KeyboardInterrupt:
        note("\nStopped.")
        return 130
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        if first or code == 1:
            note(f"{PROGRAM} {name}: {error}")
        return code


def exit_code(error: Exception) -> int | None:
    """Return the exit code of an error that its message explains; None for one that is our fault.

    Errors are told apart by name, since loading their classes would load torch. A ValueError
    explains itself where the course raised it.
    """
    where = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    ours = where.is_relative_to(Path(__file__).parent)
    for kind in type(error).__mro__:
        if kind.__name__ in EXIT_CODES and (ours or kind is not ValueError):
            return EXIT_CODES[kind.__name__]
    return None
