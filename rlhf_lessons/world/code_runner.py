"""What a few lines of Python would print, found out without running them.

The text is parsed with `ast` and interpreted here, in the subset that the toy world needs. Nothing is ever
handed to `exec` or `eval`, every loop and value has a limit, and what lies outside the subset is an error.
"""

import ast
import math
import operator
import warnings
from functools import lru_cache

TEXT, STEPS, DEPTH, SIZE, NUMBER = (
    1000,
    400,
    30,
    200,
    10**6,
)  # limits: characters, steps, nesting, sizes
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
CALLS = {
    "sum": sum,
    "len": len,
    "str": str,
    "int": int,
    "list": list,
    "range": range,
    "sorted": sorted,
}
METHODS = {
    "upper": str.upper,
    "lower": str.lower,
    "strip": str.strip,
    "join": str.join,
    "split": str.split,
}


class OutsideError(Exception):
    """The code leaves the subset or its limits."""


@lru_cache(maxsize=4096)
def run_code(code: str) -> tuple[str, str]:
    """Return what the code prints, and the error that stopped it (empty where none did). Never raises.

    The error begins with `syntax` where the text is no Python at all.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code[:TEXT])
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return "", f"syntax: {error}"
    machine = Machine()
    try:
        machine.carry_out(tree.body, 0)
    except (
        OutsideError,
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        return machine.output, f"{type(error).__name__}: {error}"
    return machine.output, "" if len(code) <= TEXT else "it is too long"


class Machine:
    """The variables, the output so far, and the steps taken."""

    def __init__(self):
        self.names, self.output, self.steps = {}, "", 0

    def carry_out(self, lines: list[ast.stmt], depth: int) -> None:
        """Carry out statements one after the other."""
        for line in lines:
            match line:
                case ast.Expr(value):
                    self.value(value, depth)
                case ast.Assign([ast.Name(name)], value):
                    self.names[name] = self.value(value, depth)
                case ast.For(ast.Name(name), values, body, []):
                    for item in self.value(values, depth):
                        self.names[name] = item
                        self.carry_out(body, depth + 1)
                case _:
                    raise OutsideError(type(line).__name__)

    def value(self, node: ast.expr, depth: int) -> int | str | list | range | None:
        """Return the value of an expression; every one, whatever made it, is within the limits."""
        self.steps += 1
        if self.steps > STEPS or depth > DEPTH or len(self.output) > 5 * SIZE:
            raise OutsideError("it goes on for too long")

        def inner(child):
            return self.value(child, depth + 1)

        def unfold(items):  # what is starred stands for several
            parts = [
                inner(item.value) if isinstance(item, ast.Starred) else [inner(item)]
                for item in items
            ]
            return [value for part in parts for value in part]

        match node:
            case ast.Constant(int() | str() as value):
                found = value
            case ast.Name(name):
                found = self.names[name]
            case ast.UnaryOp(ast.USub(), child):
                found = -inner(child)
            case ast.BinOp(left, op, right) if type(op) in OPERATORS:
                pair = inner(left), inner(right)
                if isinstance(op, ast.Mult):  # refuse a text repeated too often before it is made
                    within_limits(
                        math.prod(part if isinstance(part, int) else len(part) for part in pair)
                    )
                found = OPERATORS[type(op)](*pair)
            case ast.List(items) | ast.Tuple(items):
                found = unfold(items)
            case ast.JoinedStr(parts):
                found = "".join(str(inner(part)) for part in parts)
            case ast.FormattedValue(child, -1, None):
                found = inner(child)
            case ast.Call(ast.Name("print"), args, options):
                how = {"sep": " ", "end": "\n"} | {
                    option.arg: inner(option.value) for option in options
                }
                text = how["sep"].join(map(str, unfold(args))) + how["end"]
                self.output += text
                return None
            case ast.Call(ast.Name(name), args, []) if name in CALLS:
                found = CALLS[name](*unfold(args))
            case ast.Call(ast.Attribute(owner, name), args, []) if name in METHODS:
                found = METHODS[name](inner(owner), *map(inner, args))
            case _:
                raise OutsideError(type(node).__name__)
        return within_limits(found)


def within_limits(value):
    """Return a value, unless it is too large for this machine: lists hold numbers and texts only."""
    too_large = abs(value) > NUMBER if isinstance(value, int) else len(value) > SIZE
    if too_large or not (
        isinstance(value, int | str) or all(isinstance(part, int | str) for part in value)
    ):
        raise OutsideError("a value is too large")
    return value
