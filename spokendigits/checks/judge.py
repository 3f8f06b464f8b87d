"""The judge of the notebooks' self-checks: says whether an answer is right, or which mistake it looks like.

A check is written as a table: a generator that yields what is asked, and then rows, each a test of the answer and the
hint for one that passes it. The first test that is true speaks, and nothing after it is computed; a `Lesson` in place
of the hint says that the answer is right. Where one number is asked, rows hold right and wrong numbers in place of
tests, and the nearest speaks; the last row is for all others. `check`, `number` or `whole_number` makes of a table the
function that notebooks call. It prints one line, and returns True or False.

Whatever the answer is, this never raises: it may be a number of Python, NumPy, pandas or PyTorch, or something else
altogether. What fails in a table before it asks, or in one of numbers, is the data's fault, and is raised.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial, wraps
from numbers import Real
from typing import Any, ParamSpec

import numpy as np

NEAR = 0.005  # relative: answers may be rounded to three digits
RATES = (8_000, 16_000, 22_050, 44_100, 48_000)  # hertz that recordings often have
PERCENT = "That is in percent. A share lies between 0 and 1."

# What is asked; then (test, hint), or (number, hint) with, where it differs, how far off an answer may be, relative.
Table = Iterator[Any]
P = ParamSpec("P")


class Lesson(str):
    """What is said to a right answer."""


class Unclear(Exception):
    """An answer that cannot be compared at all; says what was expected."""


def check(table: Callable[P, Table], near: float | None = None) -> Callable[P, bool]:
    """Makes the function that notebooks call of a table; None among its arguments is an answer not given yet.

    near: where the first argument is one number, and rows hold numbers: how far off it may be, relative.
    """
    signature = inspect.signature(table)

    @wraps(table)
    def judged(*given: Any, **named: Any) -> bool:
        arguments = signature.bind(*given, **named).args
        rows = table(*arguments)
        asked = next(rows)
        if any(part is None for one in arguments for part in (one if type(one) is tuple else (one,))):
            print(f"Not answered yet: {asked}")
            return False
        rows = rows if near is None else list(rows)
        try:
            words = first_true(rows) if near is None else nearest(one_number(arguments[0]), rows, near)
        except Unclear as problem:
            words = str(problem)
        except Exception as error:  # whatever was given: a learner gets a line, not a traceback
            words = f"This cannot be compared ({type(error).__name__}). Asked: {asked}"
        right = isinstance(words, Lesson)
        print(f"{'Right.' if right else 'Not yet.'} {words}")
        return right

    judged.__signature__ = signature.replace(return_annotation=bool)
    return judged


number, whole_number = partial(check, near=NEAR), partial(check, near=0)


def first_true(rows: Table) -> str:
    """The words of the first row whose test is true, or that is words alone."""
    return next(row if isinstance(row, str) else row[1] for row in rows if isinstance(row, str) or row[0])


def nearest(value: float, rows: Table, near: float) -> str:
    """The words for the nearest number of those near enough: right and wrong may lie so close that both are."""
    *rows, otherwise = rows
    words = [
        (abs(value - float(number)), hint)
        for number, hint, *own in rows
        if np.isclose(value, number, rtol=own[0] if own else near, atol=1e-9)
    ]
    return min(words, key=lambda row: round(row[0], 9), default=(0, otherwise))[1]


def plain(answer: Any) -> Any:
    """An answer with PyTorch's tensors, itself or in a list, as lists; notebooks that need no PyTorch do not load it."""
    if hasattr(answer, "detach") and hasattr(answer, "tolist"):
        return answer.tolist()
    return [plain(part) for part in answer] if type(answer) in (list, tuple) else answer


def numbers_of(answer: Any) -> np.ndarray | None:
    """The numbers of an answer, float64 of its shape, whatever carries them; None where it is not numbers."""
    try:
        array = np.asarray(plain(answer))
        if array.dtype.kind == "O" and all(isinstance(part, Real) and type(part) is not bool for part in array.flat):
            array = array.astype(float)  # as pandas's Int64
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return array.astype(float) if array.dtype.kind in "iuf" else None


def kind_of(answer: Any) -> str:
    """An answer in a word or two, as a hint names it."""
    if isinstance(answer, str):
        return "text"
    if isinstance(answer, bool | np.bool_):
        return "True or False"
    if callable(answer):
        return "a function: call it"
    name = type(answer).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def array_of(answer: Any, expected: str, shape: tuple[int, ...] | None = None, axes: str = "") -> np.ndarray:
    """The numbers of an answer, float64 of its shape, which may have to be `shape`."""
    values = numbers_of(answer)
    if values is None:
        raise Unclear(f"Expected {expected}, not {kind_of(answer)}.")
    if shape and values.ndim > 1 and values.shape == shape[::-1] != shape:
        raise Unclear(f"Rows and columns are swapped: expected the shape {shape}, {axes}.")
    if shape and values.shape != shape:
        raise Unclear(f"Expected the shape {shape}, {axes}, not {values.shape}.")
    return values


def so_many(answer: Any, count: int, expected: str) -> np.ndarray:
    """The numbers of an answer in a row, float64 [count]."""
    values = numbers_of(answer)
    if values is None or values.size != count:
        raise Unclear(f"{expected}, not {kind_of(answer) if values is None else values.size}.")
    return values.reshape(-1)


def one_number(answer: Any) -> float:
    """The one finite number of an answer."""
    value = float(so_many(answer, 1, "Expected one number")[0])
    if not math.isfinite(value):
        raise Unclear(f"{value} cannot be compared. Was something divided by zero, or its logarithm taken?")
    return value


def one_name(answer: Any) -> str:
    """A name, in whatever holds it."""
    try:
        parts = np.asarray(answer, dtype=object).reshape(-1)
    except (TypeError, ValueError, RuntimeError):
        parts = np.empty(0)
    name = parts[0] if len(parts) == 1 else answer
    if not isinstance(name, str):
        raise Unclear(f"Expected one name, in quotes, not {kind_of(name)}.")
    return str(name).strip()


def are_whole(values: np.ndarray) -> bool:
    """Whether all are whole numbers."""
    return bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def row_numbers(answer: Any, count: int) -> np.ndarray:
    """Row numbers of a table of `count` rows, int [n]."""
    rows = numbers_of(answer)
    if rows is None and (parts := np.asarray(plain(answer), dtype=object)).ndim == 1 and len(parts):
        if all(isinstance(part, bool | np.bool_) for part in parts.flat):
            raise Unclear("That is a mask of True and False. `np.flatnonzero` makes row numbers of it.")
        if all(isinstance(part, str) for part in parts.flat):
            raise Unclear("Those are names. Asked are row numbers.")
    if rows is None or rows.ndim != 1 or not len(rows) or not are_whole(rows):
        raise Unclear(f"Expected an array of row numbers, not {kind_of(answer)} like this.")
    if rows.min() < 0 or rows.max() >= count:
        raise Unclear(f"Row numbers go from 0 to {count - 1}.")
    return rows.astype(int)
