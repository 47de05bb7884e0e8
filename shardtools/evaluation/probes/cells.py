"""One measurement of a probe: draw, search, fit once more, test, write.

Owns the order of writes: trials as they are told, weights, then the cell's own file, which commits it. Killed anywhere,
a cell goes on with the trials that were told. Test accuracy is NumPy's of the written weights, so that predictions made
of them later say the same; the price is one product of matrices on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shardtools.arrays import Bools, Int64s
from shardtools.errors import DatasetError, RunError
from shardtools.evaluation.probes.copies import copies_of_validation, image_numbers, refusal, tested_on
from shardtools.evaluation.probes.logistic import Linear
from shardtools.evaluation.probes.options import ProbeOptions
from shardtools.evaluation.probes.plan import Cell, CellKey, cell_path, weights_path
from shardtools.evaluation.probes.reading import ROWS_PER_BLOCK, Images, Probed
from shardtools.evaluation.probes.solving import Part, Solver
from shardtools.evaluation.probes.splitting import Drawn, draw_balanced, draw_parts
from shardtools.evaluation.probes.weights import weights_content
from shardtools.evaluation.protocols import PROBE_PROTOCOLS
from shardtools.execution import Batch, Progress
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


def measure_cell(
    options: ProbeOptions, prepared: Prepared, key: CellKey, solver: Solver, storage: Storage, show: Progress
) -> Cell:
    """Searches, fits, tests and writes one cell.

    Raises:
        RunError: Every setting diverged.
    """
    probed, (drawn, _) = prepared.probed, drawn_for(options, prepared, key)
    num_classes = len(probed.classes)
    train, validation = part(probed.train, drawn.train), part(probed.train, drawn.validation)

    def judge(settings: Sequence[Mapping[str, float]]) -> Sequence[float]:
        found = solver.accuracies(train, validation, num_classes, settings, seed=key.seed)
        show(Batch(rows=len(settings)))
        return [-1.0 if one is None else one for one in found]

    best = _search(options, judge)
    classifier = solver.fit(part(probed.train, drawn.final), num_classes, best[0], seed=key.seed)
    if classifier is None:
        raise RunError(f"{key.stem}: the classifier of the best setting diverged: give more --trials")
    show(Batch(rows=1))
    content = weights_content(
        classifier, probed.classes, {"encoder": probed.train.store.info.encoder.fingerprint, "l2": str(probed.train.l2)}
    )
    storage.write(weights_path(key), content)
    right = is_right(classifier, probed.test)
    cell = Cell(
        shots=key.shots,
        seed=key.seed,
        settings=dict(best[0]),
        validation_accuracy=best[1],
        num_diverged=0,
        num_searched=len(drawn.train),
        num_validation=len(drawn.validation),
        num_trained=len(drawn.final),
        num_test=len(probed.test),
        num_right=int(right.sum()),
        class_accuracy=_class_accuracy(right, probed.test.labels),
        weights_sha256=digest(content),
    )
    storage.write(cell_path(key), cell.to_json())
    return cell


def part(images: Images, rows: Int64s) -> Part:
    """Features and classes of some images."""
    return Part(features=images.take(rows), labels=images.labels[rows])


def is_right(classifier: Linear, images: Images) -> Bools:
    """Whether the likeliest class of each image is its own, bool [N]."""
    found = np.empty(len(images), np.bool_)
    for start in range(0, len(images), ROWS_PER_BLOCK):
        rows = np.arange(start, min(start + ROWS_PER_BLOCK, len(images)))
        found[rows] = classifier.predict(images.take(rows)) == images.labels[rows]
    return found


def _class_accuracy(right: Bools, labels: Int64s) -> float:
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=right)
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def _search(
    options: ProbeOptions, judge: Callable[[Sequence[Mapping[str, float]]], Sequence[float]]
) -> tuple[Mapping[str, float], float]:
    """Tries settings that are evenly spread over the space."""
    space = PROBE_PROTOCOLS[options.solver].space
    steps = np.linspace(0, 1, options.num_trials)
    tried = [{name: float(low * (high / low) ** step) for name, (low, high) in space.items()} for step in steps]
    found: list[float] = []
    for start in range(0, len(tried), options.trials_together):
        found += judge(tried[start : start + options.trials_together])
    best = int(np.argmax(found))
    return tried[best], found[best]


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
