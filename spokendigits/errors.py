"""The one exception for a mistake that the reader can mend."""


class CourseError(Exception):
    """Says in one line what was wrong, where, and what to do next.

    The command line prints it without a traceback and exits with 2; a notebook shows only the line.
    """

    def _render_traceback_(self) -> list[str]:
        # IPython's hook: a reader's typing mistake should not print forty lines of our own code.
        return [f"{type(self).__name__}: {self}"]
