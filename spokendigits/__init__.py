"""Helpers of the course "Spoken digits": small, plain, meant to be read."""

import os

__version__ = "0.1.0"

# torch asks for huge pages, which `cpu.keep_memory` is about. It reads this once, at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
