"""The one exception for a mistake that the reader can mend, and the check for mistyped names. Every chapter uses them."""

import difflib
from collections.abc import Iterable, Sequence


class CourseError(Exception):
    """Says in one line what was wrong, where, and what to do next.

    The command line prints it without a traceback and exits with 2; a notebook shows only the line.
    """

    def _render_traceback_(self) -> list[str]:
        # IPython's hook: a reader's typing mistake should not print forty lines of our own code.
        return [f"{type(self).__name__}: {self}"]


def check_names(given: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raises a CourseError that names the nearest known name for the first unknown one."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name).lower(), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise CourseError(f"{what} {name!r}.{hint} Known: {', '.join(known)}.")


def first_line(error: Exception) -> str:
    """What an error of some library says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
