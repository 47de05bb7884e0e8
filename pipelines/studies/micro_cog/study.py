"""ImageNet-CoG in small, offline: how well features tell concepts apart, the farther they are from what was seen.

    python -m shardtools.pipelines.studies.micro_cog --out study           (docs/study_cog.md)
    python -m shardtools.pipelines.studies.micro_cog --short --out study   (some 1,800 pictures: minutes)

Hardware: one CPU core or more. Time and metric: docs/study_cog.md. Needs Debian's sweethome3d-furniture for the
objects and dataset-fashion-mnist for the photographs, OpenGL without a screen, and the packages of the encoders.

    OUT/meshes, OUT/backgrounds   catalogues, with licenses
    OUT/datasets/world            pictures, with features, the levels of each fold, and the probes
    OUT/runs/*                    own networks
    OUT/measured/*.parquet        figures; results.parquet has all of them for SQL
    OUT/table.md, *.png           the tables and pictures of `shardtools cog report`, and what the thesis found

Owns the order. Every step is skipped once what it makes is there, so the same command goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shardtools.evaluation.cog import cog_tables, draw_all, own_figures
from shardtools.evaluation.results import block_markdown, write_results
from shardtools.pipelines.studies.command import (
    add_sources,
    given_options,
    require_rendering_and_training,
    show_line,
    study_parser,
    told_errors,
)
from shardtools.pipelines.studies.folder import TABLE_FILE, say_nothing
from shardtools.pipelines.studies.micro_cog.concepts import Concepts, choose_concepts
from shardtools.pipelines.studies.micro_cog.findings import findings_table, judge
from shardtools.pipelines.studies.micro_cog.plan import SHORT, StudyOptions
from shardtools.pipelines.studies.micro_cog.steps import (
    RESULTS_FILE,
    choose_classes,
    measure_steps,
    network_steps,
    picture_steps,
    read_measured,
)
from shardtools.pipelines.studies.steps import catalogue_steps, hold_study
from shardtools.taxonomy import lemmas_of


def run_study(options: StudyOptions, *, show: Callable[[str], None] = say_nothing) -> str:
    """Makes all that is not there yet.

    Args:
        options: The study.
        show: Called with lines about what is done.

    Returns:
        The report as Markdown, also in `table.md`; the pictures lie beside it.

    Raises:
        ShardtoolsError: The folder holds another study, is in use, or a step failed; what is done stays.
    """
    with hold_study(options.folder, options.settings(), show) as (storage, run):
        run(catalogue_steps(options.meshes, options.catalogues[0], options.backgrounds, options.catalogues[1]))
        wnids = choose_classes(options)
        concepts = choose_concepts(options, wnids)
        run(picture_steps(options, wnids))
        run(network_steps(options, concepts))
        run(measure_steps(options, storage))
        report = make_report(options, concepts)
        storage.write(TABLE_FILE, report.encode())
    return report


def make_report(options: StudyOptions, concepts: Concepts) -> str:
    """Concepts, tables, verdicts and pictures of what was measured."""
    rows = read_measured(options)
    write_results(rows, options.folder / RESULTS_FILE)
    found = own_figures(rows, baseline=options.encoders[0])
    _, left = draw_all(found, options.folder)
    tables = [f"{table.title}\n\n{block_markdown(table.block)}\n" for table in cog_tables(found)]
    notes = [f"- {line}" for line in left]
    return "\n".join([*_concept_lines(concepts), "", *tables, "", findings_table(judge(options, rows)), *notes])


def _concept_lines(concepts: Concepts) -> list[str]:
    """The sets of concepts, each with its names, and the similarity of the first and the last."""
    lines = []
    for level in (*concepts.seen_sets, *concepts.levels):
        names = ", ".join(lemmas_of(one.wnid)[0] for one in level.concepts)
        ends = [one.similarity for one in (level.concepts[0], level.concepts[-1])]
        span = "" if None in ends else f" ({ends[0]:.2f} to {ends[1]:.2f})"
        lines.append(f"- {level.name}{span}: {names}")
    return lines


def parse(arguments: Sequence[str] | None = None) -> StudyOptions:
    """The options of a command line."""
    parser = study_parser(
        "micro_cog",
        "Measures how well features tell concepts apart, the farther they are from what was seen.",
        out="micro-cog",
        short="three levels, one encoder, few pictures: minutes",
    )
    add_sources(parser)
    parser.add_argument("--fashion", help='idx files of Fashion-MNIST; "" for none')
    parser.add_argument("--levels", type=int, help="levels of unseen concepts")
    parser.add_argument("--size", type=int, help="concepts of each")
    parser.add_argument("--encoder", dest="encoders", action="append", help="as `shardtools features` takes it")
    given = parser.parse_args(arguments)
    names = ("meshes", "backgrounds", "fashion", "levels", "size", "encoders")
    return StudyOptions(**given_options(given, SHORT, names))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    with told_errors():
        options = parse(arguments)
        require_rendering_and_training()
        print(run_study(options, show=show_line))
        print(f"{Path(options.out)} holds catalogues, datasets, runs, results, table and pictures")
