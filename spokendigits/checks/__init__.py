"""The notebooks' self-checks, one file a notebook: `from spokendigits.checks import data as checks`. And what they expect."""

from typing import Any

from spokendigits import corpora
from spokendigits.corpora.corpus import Corpus


def expect(found: Any, words: str, recordings: Corpus) -> None:
    """Holds what this course found to its own corpora: `AssertionError` with `words` where it is not so.

    Anybody else's recordings may tell another story, and so may Speech Commands, which was never tried whole. Of those
    the words are printed, and the notebook goes on.
    """
    if not found and recordings.name in corpora.NAMES and recordings.name != "speech_commands":
        raise AssertionError(words)
    if not found:
        print(f"Other than with the course's own recordings: {words}.")
