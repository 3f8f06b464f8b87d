"""A new last layer on what a network learned before: fitted in a second, without a training loop. Chapters 3, 6 and 7."""

import copy

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from spokendigits.classifier import Classifier
from spokendigits.errors import CourseError

NEVER = -100.0  # the logit of a digit that was never heard


def fit_head(
    classifier: Classifier,
    embedded: np.ndarray,
    digit: np.ndarray,
    strength: float = 0.001,
    weight: np.ndarray | None = None,
) -> Classifier:
    """A copy of a classifier whose last layer is a logistic regression, in evaluation mode.

    embedded: float [clips, features], from `explain.embeddings` of this classifier; digit: int [clips]. `strength` is the
    inverse of the regularization (scikit-learn's C): a small one trusts the single number little, which pays when the test
    sounds unlike the training. weight: how much each clip counts, float [clips].
    A digit that no clip says is never the answer.
    Raises CourseError for fewer than three digits, or if the recipe's loss is not "cross_entropy".
    """
    known = np.unique(digit)
    if len(known) < 3:
        raise CourseError(
            f"fit_head: clips of {len(known)} digits are too few to choose from. Give clips of more digits."
        )
    if classifier.recipe.loss != "cross_entropy":
        raise CourseError(
            'fit_head: a logistic regression chooses one of ten. Set the recipe\'s loss to "cross_entropy".'
        )
    regression = LogisticRegression(C=strength, max_iter=1000)
    fitted = make_pipeline(StandardScaler(), regression).fit(embedded, digit, logisticregression__sample_weight=weight)
    scaler = fitted[0]
    # Scaling and regression in a row are one linear layer.
    weights = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - weights @ scaler.mean_
    out = copy.deepcopy(classifier).eval()
    *before, last = out.backbone.get_classifier().modules()
    if not isinstance(last, nn.Linear):
        raise CourseError(
            f"fit_head: the last layer of {classifier.recipe.backbone} is not linear. Choose another backbone."
        )
    for layer in before:
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()  # it scales by 1: the regression's own scale is in its weights
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(NEVER)
        last.weight[known] = torch.from_numpy(weights).float()
        last.bias[known] = torch.from_numpy(bias).float()
    return out
