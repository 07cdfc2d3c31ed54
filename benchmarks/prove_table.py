"""The tables of the proof: text from the figures of `prove_figures.py`, kept in `proof.json`."""

from prove_figures import RIVALS
from prove_measure import SAMPLES

from rlhf_lessons.evaluation.intervals import wilson
from rlhf_lessons.world.tasks import FAMILIES


def number(value: float, percent: bool = False, sign: str = "") -> str:
    """Return a number to two digits, or in whole percent."""
    return f"{100 * value:{sign}.0f} %" if percent else f"{value:{sign}.2f}"


def cell(figure: list[float], percent: bool = False, sign: str = "") -> str:
    """Return `mean (low to high)` of a figure."""
    mean, low, high = (number(value, percent, sign) for value in figure)
    return f"{mean} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def head(*cells: str) -> list[str]:
    """Return the first two lines of a table."""
    return ["", line(*cells), line(*["---"] * len(cells))]


def line(*cells: str) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def table(found: dict) -> str:
    """Return all tables, with a few words above each."""
    seeds = found["by_seed"]
    which = "held-out" if found["split"] == "heldout" else found["split"]
    taught, base = found["demonstrations"], found["base"]
    probes = ", ".join(f"{name} {number(share, True)}" for name, share in base["probes"].items())
    rows = [
        f"One base, seeds {', '.join(seeds)}, {found['prompts']} {which} prompts. In brackets: "
        "95 % intervals, bootstrapped by prompt (seeds and base are fixed), paired by prompt where "
        "two models are compared. Best temperatures are those of highest utility on the validation "
        "prompts, one for all seeds.",
        "",
        f"The demonstrations have a utility of {number(taught['utility'])} and fulfil "
        f"{number(taught['fulfils'], True)}; the base, at temperature 1, {cell(base['utility'])} "
        f"and {cell(base['fulfils'], True)}. The base's probes: {probes}.",
        *temperatures(found["temperature"]["rows"]),
        *rivals(found["temperature"]["rivals"]),
        *by_seed(seeds, base),
        *side_effects(found["temperature"]["side_effects"]),
        *lengths(found["length"]),
    ]
    return "\n".join(rows) + "\n"


def temperatures(rows: list[dict]) -> list[str]:
    """Return a table each of utility, share fulfilled, and entropy and words, by temperature."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    heats = list(dict.fromkeys(row["temperature"] for row in rows))
    at = {(row["model"], row["temperature"]): row for row in rows}
    shown = {
        "utility": lambda row: cell(row["utility"]),
        "fulfils": lambda row: cell(row["fulfils"], True),
        "nats a token, words": lambda row: f"{row['entropy']:.2f}, {row['words']:.0f}",
    }
    lines = []
    for what, show in shown.items():
        lines += head(what, *(f"T = {heat:g}" for heat in heats))
        lines += [line(model, *(show(at[model, heat]) for heat in heats)) for model in models]
    return lines


def rivals(rows: list[dict]) -> list[str]:
    """Return the table of the rivals and what they cost."""
    lines = head("at its best T", "T", "utility", "fulfils", "judgements", "seconds")
    for row in rows:
        heat, seconds = f"{row['temperature']:g}", f"{row['seconds']:.0f}"
        scores = cell(row["utility"]), cell(row["fulfils"], True)
        lines.append(line(row["rival"], heat, *scores, f"{row['judgements']:,}", seconds))
    return [
        *lines,
        "",
        "Judgements are raters' marks or comparisons. Seconds are of training after the base, with "
        "the making of comparisons and of answers to train on (those of SFT's own winners count "
        "with the reward model). The best of 16 pays again at each "
        "use: 16 answers sampled and scored for the one given. The last rows, from the best of 16 "
        "on, need the reward model; the best of 16 and PPO are also shown at T = 1.",
    ]


def by_seed(seeds: dict[str, dict], base: dict) -> list[str]:
    """Return the table with a column for each seed, beside the targets set beforehand."""
    lines = head("T = 1 unless colder", "target", *(f"seed {seed}" for seed in seeds))

    def add(name: str, target: str, show) -> None:
        lines.append(line(name, target, *(show(found) for found in seeds.values())))

    def interval_of(key: str, percent: bool = False, sign: str = ""):
        return lambda found: cell(found[key], percent, sign)

    add("SFT, highest utility at any T", "≤ 0.60", interval_of("sft_highest_utility"))
    add("SFT, most fulfilled at any T", "≤ 25 %", interval_of("sft_highest_fulfils", True))
    add("SFT, fulfils: enough for PPO to find?", "0.5 to 10 %", lambda found: "")
    for family in FAMILIES:
        add(f"... {family}", "", lambda f, family=family: cell(f["sft_whole"][family], True))
    add("PPO, utility", "≥ 0.80", interval_of("ppo_utility"))
    for family in FAMILIES:
        add(f"... {family}", "≥ 0.65", lambda f, family=family: cell(f["families"][family]))
    add("PPO, fulfils", "≥ 65 %", interval_of("ppo_fulfils", True))
    add("PPO at its best T, utility", "≥ 0.87", interval_of("ppo_colder_utility"))
    add("... fulfils", "≥ 80 %", interval_of("ppo_colder_fulfils", True))
    for whose in RIVALS:
        add(
            f"best rival that learns {whose}", "", lambda f, whose=whose: f["rivals"][whose]["name"]
        )

        def against(key: str, percent: bool = False, sign: str = "", whose: str = whose):
            return lambda found: cell(found["rivals"][whose][key], percent, sign)

        add("... utility at its best T", "", against("utility"))
        add("... fulfils", "", against("fulfils", True))
        add("PPO minus this rival", "≥ +0.10", against("lead", sign="+"))
        add("... times its fulfilled", "≥ 2", against("times_fulfilled"))
        add("PPO at its best T minus this rival", "≥ +0.15", against("lead_colder", sign="+"))
        add("... wins, without ties", "≥ 70 %, low > 60 %", against("wins_colder", True))
    lines += article(seeds, base)
    add("reward model right about SFT answers 0.2 apart", "≥ 85 %", lambda f: agreement(f, "all"))
    for family in FAMILIES:
        add(f"... {family}", "≥ 75 %", lambda found, family=family: agreement(found, family))
    add("reward of SFT answers with 0, 1, 2, 3 parts", "rises", lambda found: "")
    for family in FAMILIES:
        add(f"... {family}", "", lambda found, family=family: by_parts(found, family))
    add("calibration error, mean over pairs", "", lambda found: calibration(found)[0])
    add("... worst bin off by", "≤ 0.05", lambda found: calibration(found)[1])
    add("PPO over SFT, utility", "", interval_of("gain", sign="+"))
    add(
        "share of the gain with true utility as reward",
        "≥ 75 %",
        interval_of("share_of_true_gain", True),
    )
    add("KL from SFT, nats a response", "", lambda found: number(found["kl"]))
    add("distinct of 64 stories, SFT, PPO", "≥ 60 % of SFT's", distinct)
    return lines


def agreement(found: dict, family: str) -> str:
    """Return how often the reward model is right on pairs of a family, or of all."""
    return cell(found["reward_model"]["agreement"][family], True)


def by_parts(found: dict, family: str) -> str:
    """Return the mean reward of SFT answers with none, one and more of a family's parts."""
    means = found["reward_model"]["by_parts"][family]
    return ", ".join(f"{mean:+.1f}" if mean is not None else "–" for mean in means)


def calibration(found: dict) -> tuple[str, str]:
    """Return how far predicted and observed are apart: the mean over pairs, and the worst bin's."""
    off = [(abs(p - seen), n) for p, seen, n in found["reward_model"]["calibration"]]
    mean = sum(distance * n for distance, n in off) / sum(n for _, n in off)
    return number(mean), number(max(off)[0])


def distinct(found: dict) -> str:
    """Return the shares of different stories, and PPO's in percent of SFT's."""
    sft, ppo = (found["distinct"][name] for name in ("sft", "ppo"))
    return f"{number(sft, True)}, {number(ppo, True)}: {number(ppo / sft, True)}"


def article(seeds: dict[str, dict], base: dict) -> list[str]:
    """Return the rows of the article's prompts: 200 samples each, and the greedy answer."""

    def sampled(share: float) -> str:
        return cell([share, *wilson(share, SAMPLES)], True)

    def greedy(at: dict, place: int) -> str:
        return "yes" if at["0.0"]["fulfils"][place] else "no"

    def most(at: dict, place: int) -> float:
        return max(of["fulfils"][place] for of in at.values())

    lines = []
    for place, name in enumerate(("article's story", "article's sum")):
        of_base = number(most(base["article"], place), True)
        sft = [number(most(f["article"]["sft"], place), True) for f in seeds.values()]
        ppo = [sampled(f["article"]["ppo"]["1.0"]["fulfils"][place]) for f in seeds.values()]
        whether = [greedy(found["article"]["ppo"], place) for found in seeds.values()]
        lines += [
            line(f"{name}: base, most at any T", "0 %", *[of_base] * len(seeds)),
            line("... SFT, most at any T", "≤ 30 %", *sft),
            line("... PPO", "≥ 80 %", *ppo),
            line("... PPO greedily", "yes", *whether),
        ]
    return lines


def side_effects(rows: list[dict]) -> list[str]:
    """Return the table of the tastes."""
    lines = head("taste, T = 1", "SFT", "PPO", "shift")
    for row in rows:
        shift = cell(row["shift"], True, "+")
        lines.append(line(row["taste"], cell(row["sft"], True), cell(row["ppo"], True), shift))
    return lines


def lengths(found: dict[str, list[dict]]) -> list[str]:
    """Return the table of utility against length."""
    quarters = ("shortest quarter", "second", "third", "longest quarter")
    lines = head("utility by length in each family, T = 1 (words)", *quarters)
    for name, parts in found.items():
        cells = [f"{number(part['utility'])} ({part['words']:.0f})" for part in parts]
        lines.append(line(name, *cells))
    return lines
