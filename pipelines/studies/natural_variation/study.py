"""Objects whose factors are known: how far networks hold when pose, size, position, light or background varies.

    python -m shardtools.pipelines.studies.natural_variation --out study           (docs/study_natural_variation.md)
    python -m shardtools.pipelines.studies.natural_variation --short --out study   (some 3,500 pictures: minutes)

Hardware: one CPU core or more. Time and metric: docs/study_natural_variation.md. Needs Debian's sweethome3d-furniture
for the objects, the packages of `shardtools backgrounds`, OpenGL without a screen, and the packages of the encoders.

    OUT/meshes, OUT/backgrounds     catalogues, with licenses
    OUT/datasets/*                  pictures with every factor in the manifest; features and predictions beside them
    OUT/runs/*                      trainings
    OUT/measured/*.json             figures with intervals over objects; results.parquet has all of them for SQL
    OUT/table.md, *.png             what the seed found beside what is found here

Owns the order. Every step is skipped once what it makes is there, so the same command goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shardtools.pipelines.studies.command import (
    add_sources,
    given_options,
    require_rendering_and_training,
    show_line,
    study_parser,
    told_errors,
)
from shardtools.pipelines.studies.folder import TABLE_FILE, say_nothing
from shardtools.pipelines.studies.natural_variation.figures import draw_figures
from shardtools.pipelines.studies.natural_variation.findings import findings_table, judge
from shardtools.pipelines.studies.natural_variation.measured import Measured, read_measured, write_table
from shardtools.pipelines.studies.natural_variation.plan import SHORT, StudyOptions
from shardtools.pipelines.studies.natural_variation.sheets import draw_sheets
from shardtools.pipelines.studies.natural_variation.steps import (
    choose_classes,
    measure_steps,
    measured_names,
    training_steps,
    world_steps,
)
from shardtools.pipelines.studies.natural_variation.tables import make_tables
from shardtools.pipelines.studies.steps import catalogue_steps, hold_study
from shardtools.storage import Storage


def run_study(options: StudyOptions, *, show: Callable[[str], None] = say_nothing) -> str:
    """Makes all that is not there yet.

    Args:
        options: The study.
        show: Called with lines about what is done.

    Returns:
        The report as Markdown, also in `table.md`; the figures lie beside it.

    Raises:
        ShardtoolsError: The folder holds another study, is in use, or a step failed; what is done stays.
    """
    with hold_study(options.folder, options.settings(), show) as (storage, run):
        sources = options.meshes, options.meshes_folder, options.backgrounds, options.backgrounds_folder
        run(catalogue_steps(*sources))
        wnids = choose_classes(options)
        run(world_steps(options, wnids))
        run(measure_steps(options, storage))
        run(training_steps(options, storage))
        report = make_report(options, storage)
        storage.write(TABLE_FILE, report.encode())
    return report


def make_report(options: StudyOptions, storage: Storage) -> str:
    """Tables, figures and sheets of what was measured; the tables as Markdown."""
    names = measured_names(options)
    found = read_measured(storage, names)
    write_table(storage, options.folder, names)
    draw_figures(options.folder, options, found)
    draw_sheets(options.folder, options)
    return "\n".join([*make_tables(options, found), findings_table(judge(options, found)), *_notes(found)])


def _notes(found: Measured) -> list[str]:
    return [f"- {note}" for note in found.notes]


def parse(arguments: Sequence[str] | None = None) -> StudyOptions:
    """The options of a command line."""
    parser = study_parser(
        "natural_variation",
        "Renders objects whose factors are known, and measures how far networks hold when one varies.",
        out="natural-variation",
        short="12 classes of 9 objects, one encoder: minutes",
    )
    add_sources(parser)
    parser.add_argument("--classes", type=int, help="classes, those with the most objects")
    parser.add_argument("--objects", type=int, help="objects of each")
    parser.add_argument(
        "--encoder", dest="encoders", action="append", help="as `shardtools features` takes it, or NAME=WEIGHTS"
    )
    parser.add_argument("--no-training", action="store_true", help="linear classifiers alone")
    given = parser.parse_args(arguments)
    changes = given_options(given, SHORT, ("meshes", "backgrounds", "classes", "objects", "encoders"))
    if given.no_training:
        changes |= {"fine_tuned": "", "scratch_seeds": 0}
    return StudyOptions(**changes)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    with told_errors():
        options = parse(arguments)
        require_rendering_and_training()
        print(run_study(options, show=show_line))
        print(f"{Path(options.out)} holds catalogues, datasets, runs, results, table and figures")
