"""Classifiers that are judged: opened from runs, files, libraries and folders, with what their outputs stand for."""

from __future__ import annotations

from shardtools.pipelines.evaluate.models.classifier import Classifier
from shardtools.pipelines.evaluate.models.opening import load_classifier

__all__ = [
    "Classifier",
    "load_classifier",
]
