"""`pytest --nbval notebooks` works in a home of its own.

What was trained before must not stand in for what today's code makes. And learned weights come from packages: what a
hub has, or a network, changes no output.
"""

import os
import tempfile

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    # Whatever kernel an editor wrote into a notebook.
    config.option.nbval_current_env = True
    os.environ["HF_HUB_OFFLINE"] = "1"
    # The processes that xdist starts share the first one's home.
    if not hasattr(config, "workerinput"):
        home = tempfile.TemporaryDirectory(prefix="spokendigits-")
        config.add_cleanup(home.cleanup)
        os.environ["SPOKENDIGITS_HOME"] = home.name
