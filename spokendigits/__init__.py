"""Helpers of the course "Spoken digits": small, plain, meant to be read."""

__version__ = "0.1.0"
