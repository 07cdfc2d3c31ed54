"""What the commands print: answers side by side, the before/after table, and JSON that any program reads."""

import json
import math
import textwrap

WIDTH = 100


def side_by_side(prompt: str, samples: dict[str, list[str]]) -> str:
    """Return the answers as text, a block a model."""
    lines = [f"> {shown(prompt)}"]
    for name, texts in samples.items():
        lines += ["", name.upper()]
        for number, text in enumerate(texts, 1):
            first, *more = [
                part
                for line in shown(text).strip("\n").split("\n")
                for part in textwrap.wrap(line, WIDTH - 6) or [""]
            ]
            lines += [
                f"{number:4}  {first or '(nothing: it ended at once)'}",
                *(f"      {part}" for part in more),
            ]
    return "\n".join(lines)


def shown(text: str) -> str:
    """Return a text with every character that a terminal would obey, or that no eye sees, as `?`."""
    return "".join(c if c == "\n" or c.isprintable() else "?" for c in text)


def before_after(result: dict) -> str:
    """Return the table of an evaluation (`evaluation.arena.evaluate`): scores, families, wins, with intervals."""
    models = result["models"]
    metrics = list(next(iter(models.values()))["overall"])
    families = list(next(iter(models.values()))["families"])
    lines = [
        f"{result['n']} answers a model to {result['split']} prompts; mean, and 95 % interval in brackets",
        "",
    ]
    lines += grid(
        ["", *metrics],
        [[name, *(cell(found["overall"][m]) for m in metrics)] for name, found in models.items()],
    )
    lines += ["", "True utility by family", ""]
    lines += grid(
        ["", *families],
        [
            [name, *(cell(found["families"][f]["utility"]) for f in families)]
            for name, found in models.items()
        ],
    )
    if result["win_rates"]:
        lines += ["", "Share of prompts' answers that win by true utility, close ones left out", ""]
        lines += [
            f"  {win['model']} against {win['against']}: {cell(win['rate'])}"
            for win in result["win_rates"]
        ]
    return "\n".join(lines)


def cell(interval: list[float]) -> str:
    """Return `0.71 [.68 .74]`, or a dash where nothing was measured."""
    mean, low, high = interval
    return f"{mean:.2f} [{low:.2f} {high:.2f}]" if mean is not None and math.isfinite(mean) else "-"


def grid(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines with columns of equal width."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  "
        + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]


def to_json(data) -> str:
    """Return JSON in ASCII, with null for numbers that are not finite."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(inner) for inner in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(plain(data), indent=1, allow_nan=False)
