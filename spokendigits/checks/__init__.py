"""The notebooks' self-checks, one file a notebook: `from spokendigits.checks import data as checks`."""
