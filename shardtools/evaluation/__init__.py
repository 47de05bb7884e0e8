"""Evaluation: what a model has learnt, measured on its features and, to come, on its predictions."""

from __future__ import annotations

from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.model_options import ModelOptions

__all__ = [
    "ModelFacts",
    "ModelOptions",
]
