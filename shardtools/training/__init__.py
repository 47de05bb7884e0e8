"""Training without torch: recipes, options, the launcher, metrics and their curves."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand
from shardtools.training.options import TrainOptions, TrainResult
from shardtools.training.recipe import Recipe

if TYPE_CHECKING:
    from shardtools.training.classes import ClassPlan, Names, map_classes, plan_classes, read_names
    from shardtools.training.curves import draw_curves
    from shardtools.training.launch import Training, require_training_libraries, train
    from shardtools.training.metrics import METRICS_FILE, MetricsLog, read_metrics
    from shardtools.training.recipes import RecipeFile, find_recipe, list_recipes, load_recipe
    from shardtools.training.run_file import CURVES_FILE, MODEL_FILE, RUN_FILE, read_finished, write_run_file
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CURVES_FILE",
    "METRICS_FILE",
    "MODEL_FILE",
    "RUN_FILE",
    "ClassPlan",
    "MetricsLog",
    "Names",
    "Recipe",
    "RecipeFile",
    "TrainOptions",
    "TrainResult",
    "Training",
    "draw_curves",
    "find_recipe",
    "list_recipes",
    "load_recipe",
    "map_classes",
    "plan_classes",
    "read_finished",
    "read_metrics",
    "read_names",
    "require_training_libraries",
    "train",
    "write_run_file",
]
