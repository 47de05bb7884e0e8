"""ImageNet-CoG: which concepts are unseen, how far they are from seen ones, and how well they are told apart."""

from typing import TYPE_CHECKING

from shardtools.evaluation.cog.options import (
    LEAVES,
    MEASURES,
    CogOptions,
    EligibleOptions,
    LevelOptions,
    PartOptions,
    ReportOptions,
)
from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.evaluation.cog.counts import image_counts
    from shardtools.evaluation.cog.figures import (
        CogFigures,
        CogModel,
        Figure,
        cog_figures,
        fine_tuned_figures,
        own_figures,
        report_figures,
    )
    from shardtools.evaluation.cog.funnel import WORDNET_NOUNS, Funnel, Step, eligible_concepts, narrow
    from shardtools.evaluation.cog.hierarchy import Hierarchy, open_hierarchy
    from shardtools.evaluation.cog.levels import Level, check_levels, cut_again, cut_levels, random_levels
    from shardtools.evaluation.cog.levels_file import read_levels, write_eligible, write_levels
    from shardtools.evaluation.cog.making import MadeLevels, make_levels, open_levels
    from shardtools.evaluation.cog.parts import LevelImages, level_rows, level_view, overlay_levels, write_parts
    from shardtools.evaluation.cog.pictures import (
        draw_all,
        draw_fine_tuned,
        draw_levels,
        draw_measures,
        draw_shots,
    )
    from shardtools.evaluation.cog.published_files import published_levels, published_parts
    from shardtools.evaluation.cog.ranking import Concept, corpus_hierarchy, rank_concepts
    from shardtools.evaluation.cog.run import CogResult, run_cog
    from shardtools.evaluation.cog.similarity import similarities
    from shardtools.evaluation.cog.tables import Table, cog_tables
    from shardtools.evaluation.cog.vectors import Vectors, open_vectors
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "LEAVES",
    "MEASURES",
    "WORDNET_NOUNS",
    "CogFigures",
    "CogModel",
    "CogOptions",
    "CogResult",
    "Concept",
    "EligibleOptions",
    "Figure",
    "Funnel",
    "Hierarchy",
    "Level",
    "LevelImages",
    "LevelOptions",
    "MadeLevels",
    "PartOptions",
    "ReportOptions",
    "Step",
    "Table",
    "Vectors",
    "check_levels",
    "cog_figures",
    "cog_tables",
    "corpus_hierarchy",
    "cut_again",
    "cut_levels",
    "draw_all",
    "draw_fine_tuned",
    "draw_levels",
    "draw_measures",
    "draw_shots",
    "eligible_concepts",
    "fine_tuned_figures",
    "image_counts",
    "level_rows",
    "level_view",
    "make_levels",
    "narrow",
    "open_hierarchy",
    "open_levels",
    "open_vectors",
    "overlay_levels",
    "own_figures",
    "published_levels",
    "published_parts",
    "random_levels",
    "rank_concepts",
    "read_levels",
    "report_figures",
    "run_cog",
    "similarities",
    "write_eligible",
    "write_levels",
    "write_parts",
]
