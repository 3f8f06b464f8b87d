"""Helpers of the course "Spoken digits": small, plain, meant to be read.

In this order: recipe, clips, frontend, classifier, training, evaluation, intervals.
"""

__version__ = "0.1.0"
