"""What is refused, and how: with one line that says why."""

import pytest

from spokendigits.errors import CourseError


def refused(match: str, call, *arguments, **options) -> str:
    """The one line of the CourseError that a call ends in."""
    with pytest.raises(CourseError, match=match) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)
