"""The template language and the scenes that prompts are made of."""

from shardtools.prompts.filling import PromptOptions, check_template, fill_template, scenes_for
from shardtools.prompts.places365 import PLACES365_SCENES
from shardtools.prompts.scenes import PLACES365, load_scenes
from shardtools.prompts.template import TOKENS, Part, Template, parse_template

__all__ = [
    "PLACES365",
    "PLACES365_SCENES",
    "TOKENS",
    "Part",
    "PromptOptions",
    "Template",
    "check_template",
    "fill_template",
    "load_scenes",
    "parse_template",
    "scenes_for",
]
