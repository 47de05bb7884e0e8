"""Evaluation: what a model has learnt, measured on its features and, to come, on its predictions."""

from __future__ import annotations

from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.model_options import ModelOptions
from shardtools.evaluation.resizing import check_files, check_resize, image_sizes

__all__ = [
    "ModelFacts",
    "ModelOptions",
    "check_files",
    "check_resize",
    "image_sizes",
]
