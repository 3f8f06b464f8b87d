"""`pytest --nbval notebooks` works in a home of its own: what was trained before must not stand in for what today's code makes."""

import os
import tempfile

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    config.option.current_env = (
        True  # whatever kernel an editor wrote into a notebook
    )
    if not hasattr(
        config, "workerinput"
    ):  # the processes that xdist starts share the first one's
        home = tempfile.TemporaryDirectory(prefix="spokendigits-")
        config.add_cleanup(home.cleanup)
        os.environ["SPOKENDIGITS_HOME"] = home.name
