"""Commands for teachers and maintainers, each run as `python -m tools.NAME` in the checkout; no part of the package."""
