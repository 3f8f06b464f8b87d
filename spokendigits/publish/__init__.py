"""Notebooks into a book: the runner, the build, the pages that say what was found."""
