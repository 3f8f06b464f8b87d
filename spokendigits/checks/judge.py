"""The notebooks' self-checks: each one says whether an answer is right, or which mistake it looks like.

A check prints one or two short lines, and returns True or False. Whatever it is given, it never raises: an answer may
be a Python number, of NumPy, pandas or PyTorch, or something else altogether. What is right is computed from the data
that the notebook passes in.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

NEAR = 0.005  # relative: answers may be rounded to three digits
RATES = (8_000, 16_000, 22_050, 44_100, 48_000)  # hertz that recordings often have
SILENCE = 1e-10  # power; what librosa's decibels take for the logarithm of nothing
SMALLEST = 1e-16  # probability; what scikit-learn's log-loss takes for 0, nearly
ALIKE = 6.5  # decibels between two pictures, mean over what is not quiet: a right guess's lies far below, a wrong one's above
AT_ONCE = 128  # clips

# A wrong answer, or a test for it, or a function without arguments that works it out; and the hint.
Mistakes = Sequence[tuple[Any, str]]


class Unclear(Exception):
    """An answer that cannot be compared at all; says what was expected."""


def say(asked: str, answer: Any, judge: Callable[[Any], tuple[bool, str]]) -> bool:
    """Prints what `judge` says of an answer; None, or None among several answers, was not given yet."""
    if answer is None or (type(answer) is tuple and any(one is None for one in answer)):
        print(f"Not answered yet: {asked}")
        return False
    try:
        right, words = judge(answer)
    except Unclear as problem:
        right, words = False, str(problem)
    except Exception as error:  # whatever was given: a learner gets a line, not a traceback
        right, words = False, f"This cannot be compared ({type(error).__name__}). Asked: {asked}"
    print(f"{'Right.' if right else 'Not yet.'} {words}")
    return right


def first_true(tests: Sequence[tuple[bool | Callable[[], bool], str]], lesson: str) -> tuple[bool, str]:
    """The hint of the first test that is true; where none is, the answer is right."""
    for failed, hint in tests:
        if failed() if callable(failed) else failed:
            return False, hint
    return True, lesson


def judge_number(
    answer: Any,
    right: float,
    asked: str,
    lesson: str,
    wrong: Mistakes = (),
    otherwise: str = "",
    near: float = NEAR,
    share: bool = False,
    near_wrong: float | None = None,
) -> bool:
    """Judges one number.

    near: how far off it may be, relative; 0 for counts. near_wrong: the same for mistakes, if it differs.
    share: it lies in 0..1, and in percent gets a hint of its own.
    """

    def judge(answer: Any) -> tuple[bool, str]:
        value = one_number(answer)
        candidates = [(right, None, near), *((one, words, near_wrong) for one, words in wrong)]
        if share:
            candidates.append((100 * right, "That is in percent. A share lies between 0 and 1.", near))
        # The nearest one: a mistake may lie so close that both are near.
        distance, hint = math.inf, otherwise
        for candidate, words, allowed in candidates:
            candidate = float(candidate() if callable(candidate) else candidate)
            gap = abs(value - candidate)
            if gap <= (near if allowed is None else allowed) * abs(candidate) + 1e-9 and gap < distance - 1e-12:
                distance, hint = gap, words
            if hint is None and distance <= 1e-9:  # it is that very number
                break
        return (True, lesson) if hint is None else (False, hint)

    return say(asked, answer, judge)


def plain(answer: Any) -> Any:
    """An answer with PyTorch's tensors, its own or in a list, as arrays of NumPy."""
    if isinstance(answer, torch.Tensor):
        values = answer.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    if type(answer) in (list, tuple):
        return [plain(one) for one in answer]
    return answer


def numbers_of(answer: Any) -> np.ndarray | None:
    """The numbers of an answer, float64 of its shape, whatever carries them; None where it is not numbers."""
    try:
        array = np.asarray(plain(answer))
        if array.dtype.kind == "O" and all(is_number(one) for one in array.flat):  # as pandas's Int64
            array = array.astype(float)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return array.astype(float) if array.dtype.kind in "iuf" else None


def is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


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


def one_number(answer: Any) -> float:
    found = numbers_of(answer)
    if found is None:
        raise Unclear(f"Expected one number, not {kind_of(answer)}.")
    if found.size != 1:
        raise Unclear(f"Expected one number, not {found.size}.")
    value = float(found.reshape(-1)[0])
    if not math.isfinite(value):
        raise Unclear(f"{value} cannot be compared. Was something divided by zero, or its logarithm taken?")
    return value


def are_whole(found: np.ndarray) -> bool:
    return bool(np.isfinite(found).all() and (found == np.floor(found)).all())


def row_numbers(answer: Any, count: int) -> np.ndarray:
    """Row numbers of a table of `count` rows, int [n]."""
    found = numbers_of(answer)
    if found is None and isinstance(answer, list | tuple | np.ndarray | pd.Series | pd.Index | torch.Tensor):
        array = np.asarray(plain(answer), dtype=object).reshape(-1)
        if len(array) and all(isinstance(one, bool | np.bool_) for one in array):
            raise Unclear("That is a mask of True and False. `np.flatnonzero` makes row numbers of it.")
        if len(array) and all(isinstance(one, str) for one in array):
            raise Unclear("Those are names. Asked are row numbers.")
    if found is None or found.ndim != 1 or not len(found) or not are_whole(found):
        raise Unclear(f"Expected an array of row numbers, not {kind_of(answer)} like this.")
    if found.min() < 0 or found.max() >= count:
        raise Unclear(f"Row numbers go from 0 to {count - 1}.")
    return found.astype(int)


def one_name(answer: Any) -> str:
    """A name, in whatever holds it."""
    if not isinstance(answer, str):
        try:
            array = np.asarray(answer, dtype=object).reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            array = np.empty(0)
        if len(array) == 1:
            answer = array[0]
    if not isinstance(answer, str):
        raise Unclear(f"Expected one name, in quotes, not {kind_of(answer)}.")
    return str(answer).strip()


def check_shape(found: np.ndarray, shape: tuple[int, ...], named: str) -> None:
    """Says so where an array has another shape, above all a transposed one."""
    if found.shape == shape:
        return
    if found.ndim > 1 and found.shape == shape[::-1]:
        raise Unclear(f"Rows and columns are swapped: expected the shape {shape}, {named}.")
    raise Unclear(f"Expected the shape {shape}, {named}, not {found.shape}.")
