"""The files of a probe's run: what it is, and what each of its cells came to.

    DATASET/probes/NAME/plan.json                  what decides on a cell; before the first one
                        search/all-seed22.journal  trials so far
                        weights/all-seed22.safetensors
                        cells/all-seed22.json      the cell's commit: settings, accuracies; after its weights
                        results.parquet            all cells that are there, as rows of results

A cell is one number of shots by one seed. Owns the names of the files. Seeds and shots are in no plan: a run of more
goes on with the cells that are there. The price: what else is changed asks for another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

from shardtools.documents import Document, Format, differences
from shardtools.errors import PlanMismatchError
from shardtools.storage import Storage

PROBE_VERSION = 1
PROBES_FOLDER = "probes/"
PLAN_FILE = "plan.json"
RESULTS_FILE = "results.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan(Document):
    """Two runs with the same plan make the same cells. Digests are sha256 in hexadecimal digits.

    Attributes:
        name: Of the run.
        encoder: Of the features.
        features_sha256: Over the features that are trained on.
        test_features_sha256: Over those that are tested on.
        dataset_sha256: Of the `dataset.json` that is trained on.
        test_dataset_sha256: Of the one that is tested on.
        train: What is trained on, in words.
        test: What is tested on.
        train_sha256: Over keys and classes of what is trained on, and which of them validate.
        test_sha256: Over those of what is tested on.
        classes_sha256: Over the names of the classes.
        solver: Name of the solver.
        space: Setting -> (least, greatest) value that is tried.
        num_trials: Settings that are tried.
        trials_together: Of them, how many at once.
        epochs: Of "sgd"; 0 for a solver without.
        precision: Of its products of matrices; empty for a solver without.
        l2: Whether features get length 1.
        balanced: Training images of every class, 0 for all.
        copies: What becomes of copies.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-probe",
        version=PROBE_VERSION,
        what="the plan of a probe",
        remedy="remove the run's folder, or begin it anew with --replace",
    )

    name: str
    encoder: str
    features_sha256: str
    test_features_sha256: str
    dataset_sha256: str
    test_dataset_sha256: str
    train: str
    test: str
    train_sha256: str
    test_sha256: str
    classes_sha256: str
    solver: str
    space: Mapping[str, tuple[float, ...]]
    num_trials: int
    trials_together: int
    epochs: int
    precision: str
    l2: bool
    balanced: int
    copies: str

    def check(self, found: ProbePlan, *, where: str) -> None:
        """Refuses to go on with cells of another plan.

        Raises:
            PlanMismatchError: The message names what differs.
        """
        changed = differences(asdict(found), asdict(self))
        if changed:
            raise PlanMismatchError(
                f"{where} holds another probe: {'; '.join(changed[:3])}: give another name (--name), or replace "
                "(--replace) to begin it anew"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKey:
    """Which measurement.

    Attributes:
        shots: Images a class that are learnt from; `None` for all.
        seed: Of its draws.
    """

    shots: int | None
    seed: int

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{'all' if self.shots is None else f'shots{self.shots}'}-seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(Document):
    """What a measurement came to.

    Attributes:
        shots: Images a class that are learnt from; `None` for all.
        seed: Of its draws.
        settings: Those that were chosen.
        validation_accuracy: Of the classifier with them that was fitted in the search, 0 to 1; the best of all trials.
        num_diverged: Trials that ended in a loss that is not finite.
        num_searched: Images that each trial was fitted to.
        num_validation: Images that judged it.
        num_trained: Images that the last classifier was fitted to.
        num_test: Images that it was tested on.
        num_right: Those of them whose class is the likeliest.
        class_accuracy: Mean of the classes' own accuracies, 0 to 1.
        weights_sha256: Of the file of weights.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-probe-cell",
        version=PROBE_VERSION,
        what="a measurement of a probe",
        remedy="remove it and run the same command again",
    )

    shots: int | None
    seed: int
    settings: Mapping[str, float]
    validation_accuracy: float
    num_diverged: int
    num_searched: int
    num_validation: int
    num_trained: int
    num_test: int
    num_right: int
    class_accuracy: float
    weights_sha256: str

    @property
    def key(self) -> CellKey:
        """Which measurement."""
        return CellKey(shots=self.shots, seed=self.seed)

    @property
    def accuracy(self) -> float:
        """Top-1 on the test images, 0 to 1."""
        return self.num_right / self.num_test


def cell_path(key: CellKey) -> str:
    """File of a cell; the cell is there when this is."""
    return f"cells/{key.stem}.json"


def weights_path(key: CellKey) -> str:
    """File of a cell's weights."""
    return f"weights/{key.stem}.safetensors"


def journal_path(key: CellKey) -> str:
    """File of a cell's trials."""
    return f"search/{key.stem}.journal"


def read_cell(storage: Storage, key: CellKey) -> Cell | None:
    """A cell that is there.

    Raises:
        DatasetError: It is damaged.
    """
    path = cell_path(key)
    if not storage.exists(path):
        return None
    return Cell.from_json(storage.read(path), where=storage.object_url(path))


def read_cells(storage: Storage) -> list[Cell]:
    """All cells that are there, all images first, then by shots and seed."""
    found = [
        Cell.from_json(storage.read(one.path), where=storage.object_url(one.path))
        for one in storage.list("cells/")
        if one.path.endswith(".json")
    ]
    return sorted(found, key=lambda cell: (cell.shots or 0, cell.seed))
