"""Which classifiers of a run say what they think of which images.

Owns the choice: of each number of shots the first seed's classifier judges what it is tested on, and the images of
other datasets that it is applied to, as the thesis looks for labels that are missing (section 3.5.3).
"""

from __future__ import annotations

from collections.abc import Iterable

from shardtools.evaluation.probes.options import ProbeOptions
from shardtools.evaluation.probes.overlay import (
    CONFIDENT,
    classifier_facts,
    num_confident,
    overlay_name,
    write_predictions,
)
from shardtools.evaluation.probes.plan import Cell, weights_path
from shardtools.evaluation.probes.reading import Images, Probed, class_names, read_applied
from shardtools.evaluation.probes.weights import read_weights
from shardtools.quoting import shell_word
from shardtools.storage import Storage
from shardtools.words import counted


def write_all_predictions(
    options: ProbeOptions, probed: Probed, storage: Storage, cells: Iterable[Cell]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Writes the overlays that are asked for, but those that are there.

    Args:
        options: Of the run.
        probed: Its images.
        storage: Its folder.
        cells: Its measurements.

    Returns:
        Addresses of the overlays, those of the tested images first; and notes.

    Raises:
        AlreadyExistsError: Another program's overlay has such a name.
        DatasetError: A dataset that is applied to has no such features.
    """
    tested, applied, notes = [], [], []
    split = options.test_split if options.test_view is None else None
    for cell in cells:
        is_first = cell.seed == options.seeds[0]
        if options.predictions == "all" or (options.predictions == "first" and is_first):
            tested.append(_write(options, storage, cell, tested_url(options), probed.test, split))
        for url in options.apply if is_first else ():
            images = read_applied(url, options, probed)
            applied.append(_write(options, storage, cell, url, images, options.apply_split))
            notes.append(_confident(applied[-1], url, len(images)))
    return (*tested, *applied), tuple(notes)


def tested_url(options: ProbeOptions) -> str:
    """The dataset that is tested on."""
    return options.test_dataset or options.dataset


def _write(options: ProbeOptions, storage: Storage, cell: Cell, url: str, images: Images, split: str | None) -> str:
    classifier, weights = read_weights(storage, weights_path(cell.key))
    name = overlay_name(options.run_name, _suffix(cell, options))
    facts = classifier_facts(
        images.store.info.encoder,
        _output_names(options, weights.classes),
        len(weights.classes),
        cell.weights_sha256,
        options.solver,
    )
    return write_predictions(
        url,
        name,
        images,
        classifier,
        facts,
        split=split,
        labels_by=options.labels_by,
        out=None if options.out is None else f"{options.out.rstrip('/')}/{url.rstrip('/').rpartition('/')[2]}/{name}",
        replace=options.replace,
    )


def _output_names(options: ProbeOptions, classes: tuple[str, ...]) -> tuple[str, ...] | None:
    """Names of the outputs; `None` where classes go by number and their names do not tell them apart."""
    if options.labels_by == "wnid":
        return classes
    names = class_names(options.dataset)
    found = tuple(names.get(int(one), "") for one in classes)
    return found if len(set(found)) == len(found) and all(found) else None


def _suffix(cell: Cell, options: ProbeOptions) -> str:
    parts = [] if cell.shots is None else [f"shots{cell.shots}"]
    if cell.seed != options.seeds[0]:
        parts.append(f"seed{cell.seed}")
    return "_".join(parts)


def _confident(address: str, url: str, num_images: int) -> str:
    count, name = num_confident(address), address.rpartition("/")[2]
    return (
        f"{counted(count, 'image')} of {num_images} ({100 * count / num_images:.1f}%) of {url} taken for another class "
        f"with a probability above {CONFIDENT}: shardtools query confident-strangers {shell_word(url)} --on "
        f"{shell_word(f'predictions={name}')}"
    )
