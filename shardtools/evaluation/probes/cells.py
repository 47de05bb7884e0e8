"""One measurement of a probe: draw, search, fit once more, test, write.

Owns the order of writes: trials as they are told, weights, then the cell's own file, which commits it. Killed anywhere,
a cell goes on with the trials that were told. Test accuracy is NumPy's of the written weights, so that predictions made
of them later say the same; the price is one product of matrices on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Bools, Int64s
from shardtools.errors import DatasetError, RunError
from shardtools.evaluation.metrics import mean_class_accuracy
from shardtools.evaluation.probes.copies import copies_of_validation, image_numbers, refusal, tested_on
from shardtools.evaluation.probes.logistic import Linear
from shardtools.evaluation.probes.options import ProbeOptions
from shardtools.evaluation.probes.plan import Cell, CellKey, cell_path, journal_path, weights_path
from shardtools.evaluation.probes.reading import ROWS_PER_BLOCK, Images, Probed
from shardtools.evaluation.probes.searching import Best, Range, search
from shardtools.evaluation.probes.solving import Part, Settings, Solver
from shardtools.evaluation.probes.splitting import Drawn, draw_balanced, draw_parts
from shardtools.evaluation.probes.weights import WeightFacts, weights_content
from shardtools.evaluation.protocols import PROBE_PROTOCOLS
from shardtools.execution import Batch, Progress, Ready, TaskDone, TaskFacts
from shardtools.manifest import digest
from shardtools.storage import Storage
from shardtools.words import counted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What all cells of a run share.

    Attributes:
        probed: Images that are learnt from (balanced, without copies where those are dropped) and tested on.
        numbers: A number for each image that is learnt from, the same for the same bytes.
        notes: A line each.
    """

    probed: Probed
    numbers: Int64s
    notes: tuple[str, ...]


def prepare(options: ProbeOptions, probed: Probed) -> Prepared:
    """Takes out what may not be learnt from.

    Raises:
        DatasetError: An image is tested on and learnt from, a copy is and copies are refused, or a class has fewer
            images than --balanced asks for.
    """
    notes = [*probed.train.notes, *probed.test.notes]
    copied = tested_on(probed)
    urls = (options.dataset, options.test_dataset or options.dataset)
    if copied.any():
        if options.copies == "refuse":
            raise refusal(probed.train, np.flatnonzero(copied), f"images of {probed.test.what}", urls)
        notes.append(_noted(int(copied.sum()), probed.test.what, options.copies))
        if options.copies == "drop":
            probed = _without(probed, copied)
    if options.balanced is not None:
        probed = _balanced(probed, options.balanced)
    numbers, _ = image_numbers(probed.train, probed.test)
    return Prepared(probed=probed, numbers=numbers, notes=tuple(notes))


def drawn_for(options: ProbeOptions, prepared: Prepared, key: CellKey) -> tuple[Drawn, tuple[str, ...]]:
    """The images of a cell, and notes.

    Raises:
        DatasetError: Copies of validation images would be learnt from and are refused, or no image validates.
    """
    train = prepared.probed.train
    drawn = draw_parts(train.key_hashes, train.labels, seed=key.seed, shots=key.shots, given=prepared.probed.validates)
    notes: list[str] = []
    if not len(drawn.validation):
        raise DatasetError(
            f"{train.what}: every class has one image, so none is left to choose settings by: give --val-split"
        )
    copied = copies_of_validation(prepared.numbers, drawn)
    if len(copied):
        if options.copies == "refuse":
            raise refusal(train, copied, f"validation images that seed {key.seed} draws", (options.dataset,))
        notes.append(_noted(len(copied), f"validation images of {key.stem}", options.copies))
        if options.copies == "drop":
            drawn = Drawn(train=np.setdiff1d(drawn.train, copied), validation=drawn.validation, final=drawn.final)
    if key.shots is not None:
        short = int((np.bincount(train.labels[drawn.final]) < key.shots).sum())
        if short:
            notes.append(
                f"{counted(short, 'class has', 'classes have')} fewer than {counted(key.shots, 'image')}: all of them "
                "are taken"
            )
    return drawn, tuple(notes)


def measure_cells(
    options: ProbeOptions,
    prepared: Prepared,
    keys: Sequence[CellKey],
    solver: Solver,
    storage: Storage,
    show: Progress,
) -> None:
    """Measures some cells, one after the other."""
    show(Ready())
    for number, key in enumerate(keys):
        measure_cell(options, prepared, key, solver, storage, show)
        show(TaskDone(task=number, facts=TaskFacts()))


def measure_cell(
    options: ProbeOptions, prepared: Prepared, key: CellKey, solver: Solver, storage: Storage, show: Progress
) -> Cell:
    """Searches, fits, tests and writes one cell.

    Raises:
        RunError: Every setting diverged.
    """
    probed, (drawn, _) = prepared.probed, drawn_for(options, prepared, key)
    best = _search(options, prepared, drawn, key, solver, storage, show)
    final = Part(probed.train, drawn.final)
    classifier = solver.fit(final, len(probed.classes), best.settings, seed=key.seed)
    if classifier is None:
        raise RunError(
            f"{key.stem}: the classifier of the best settings diverged on all training images: give more --trials"
        )
    encoder = probed.train.store.info.encoder.fingerprint
    facts = WeightFacts(classes=probed.classes, encoder=encoder, l2=probed.train.l2)
    content = weights_content(classifier, facts)
    storage.write(weights_path(key), content)
    answers, labels = _answers(classifier, probed.test), probed.test.labels
    cell = Cell(
        shots=key.shots,
        seed=key.seed,
        settings=dict(best.settings),
        validation_accuracy=best.value,
        num_diverged=sum(one.value is None for one in best.trials),
        num_searched=len(drawn.train),
        num_validation=len(drawn.validation),
        num_trained=len(drawn.final),
        num_test=len(probed.test),
        num_right=int((answers == labels).sum()),
        class_accuracy=mean_class_accuracy(labels, answers, len(probed.classes)),
        weights_sha256=digest(content),
    )
    storage.write(cell_path(key), cell.to_json())
    return cell


def steps_of_trial(options: ProbeOptions) -> int:
    """What a solver counts in one trial: itself, or its epochs."""
    return options.epochs if options.solver == "sgd" else 1


def _search(
    options: ProbeOptions,
    prepared: Prepared,
    drawn: Drawn,
    key: CellKey,
    solver: Solver,
    storage: Storage,
    show: Progress,
) -> Best:
    """The settings of the best validation accuracy."""
    images, num_classes = prepared.probed.train, len(prepared.probed.classes)
    train, validation = Part(images, drawn.train), Part(images, drawn.validation)
    protocol = PROBE_PROTOCOLS[options.solver]
    num_judged = 0

    def judge(settings: Settings) -> list[float]:
        nonlocal num_judged
        num_judged += len(settings)
        return solver.accuracies(train, validation, num_classes, settings, seed=key.seed)

    best = search(
        judge,
        {name: Range(low=low, high=high) for name, (low, high) in protocol.space.items()},
        num_trials=options.num_trials,
        batch=options.trials_together,
        seed=key.seed,
        multivariate=protocol.multivariate,
        group=protocol.group,
        journal=storage.object_url(journal_path(key)),
    )
    # Those that a run before this one has tried.
    show(Batch(rows=steps_of_trial(options) * (options.num_trials - num_judged)))
    return best


def _answers(classifier: Linear, images: Images) -> Int64s:
    """The likeliest class of each image, int64 [N]."""
    found = np.empty(len(images), np.int64)
    for start in range(0, len(images), ROWS_PER_BLOCK):
        rows = np.arange(start, min(start + ROWS_PER_BLOCK, len(images)))
        found[rows] = classifier.predict(images.take(rows))
    return found


def _without(probed: Probed, copied: Bools) -> Probed:
    """The rest, in which every class must still have an image."""
    found = _only(probed, ~copied)
    counts = np.bincount(found.train.labels, minlength=len(found.classes))
    if not counts.all():
        raise DatasetError(
            f"{probed.train.what}: all images of class {probed.classes[int(counts.argmin())]} are copies of images of "
            f"{probed.test.what}, so none is left to learn from: give another split, or --copies keep"
        )
    return found


def _only(probed: Probed, kept: Bools) -> Probed:
    validates = None if probed.validates is None else probed.validates[kept]
    return Probed(classes=probed.classes, train=probed.train.only(kept), validates=validates, test=probed.test)


def _balanced(probed: Probed, count: int) -> Probed:
    counts = np.bincount(probed.train.labels, minlength=len(probed.classes))
    few = int(counts.argmin())
    if counts[few] < count:
        raise DatasetError(
            f"{probed.train.what}: class {probed.classes[few]} has {counted(int(counts[few]), 'image')}, --balanced "
            f"asks for {count} of every class: give {int(counts[few])} or less"
        )
    return _only(probed, draw_balanced(probed.train.key_hashes, probed.train.labels, count))


def _noted(count: int, judged: str, copies: str) -> str:
    done = "left out" if copies == "drop" else "trained on all the same"
    return f"{counted(count, 'exact copy', 'exact copies')} of {judged} {done}"
