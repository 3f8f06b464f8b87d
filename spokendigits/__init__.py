"""Helpers of the course "Spoken digits". Read recipe, clips, frontend, classifier, training, evaluation, intervals."""

__version__ = "0.1.0"
