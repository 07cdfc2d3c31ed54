"""Comparing a lesson's outputs where they come from a model that the cell has just trained.

Another processor rounds differently, and over hundreds of steps the last digits drift apart. In
cells tagged `trained`, numbers may therefore differ by a tenth or by one in their last digit; all
else must be equal, as everywhere.
"""

import re

NUMBER = re.compile(r"\d+(?:\.(\d+))?")
TAG = "trained"


def alike(number: re.Match, stored: re.Match) -> bool:
    """Whether two printed numbers differ by rounding only."""
    last_digit = 10.0 ** -len(stored[1] or "")
    allowed = max(0.1 * float(stored[0]), last_digit)
    return abs(float(number[0]) - float(stored[0])) <= 1.001 * allowed


def with_stored_numbers(text: str, stored: str) -> str:
    """Return the text with each number replaced by the stored one at its place that is alike."""
    numbers = list(NUMBER.finditer(stored))
    if len(numbers) != len(NUMBER.findall(text)):
        return text
    beside = iter(numbers)

    def chosen(number: re.Match) -> str:
        other = next(beside)
        return other[0] if alike(number, other) else number[0]

    return NUMBER.sub(chosen, text)


def settle(outputs: list, stored: list) -> None:
    """Put the stored numbers into the texts of outputs, where they are alike."""
    for output, other in zip(outputs, stored):
        if "text" in output and "text" in other:
            output["text"] = with_stored_numbers(output["text"], other["text"])
        for kind in output.get("data", {}).keys() & other.get("data", {}).keys():
            if kind.startswith("text/"):
                output["data"][kind] = with_stored_numbers(
                    output["data"][kind], other["data"][kind]
                )


def compare_nearly(compare):
    """Wrap nbval's `compare_outputs` so that tagged cells are compared nearly."""

    def compare_outputs(self, test, ref, *more):
        if TAG in self.cell.metadata.get("tags", []):
            settle(test, ref)
        return compare(self, test, ref, *more)

    return compare_outputs
