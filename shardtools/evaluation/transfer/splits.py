"""What of a set is trained on, what is tested on, and which solver that calls for.

Owns the rule. The thesis's sets have an official test part and train on all else (trainval), of which a fifth of each
class is drawn to choose settings; ImageNet and its like have `val` alone, which is then tested on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shardtools.errors import DatasetError
from shardtools.evaluation.transfer.options import AUTO, LARGE

TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSplits:
    """Parts of a set.

    Attributes:
        train: Splits that are trained on.
        test: The one that is tested on.
        num_train: Images of the former.
    """

    train: tuple[str, ...]
    test: str
    num_train: int

    @property
    def train_view(self) -> str | None:
        """SQL that returns the keys of several training splits; `None` of a single one."""
        if len(self.train) == 1:
            return None
        quoted = ", ".join("'" + split.replace("'", "''") + "'" for split in self.train)
        return f"select key from samples where split in ({quoted})"


def choose_splits(splits: Mapping[str, int], *, train: str | None, test: str | None, where: str) -> SetSplits:
    """The parts of a set.

    Args:
        splits: Split -> images.
        train: As asked for; `None` takes "train", and "val" where "test" is tested on.
        test: As asked for; `None` takes "test", or "val".
        where: Names the set in messages.

    Raises:
        DatasetError: It has no such split, or nothing to test on.
    """
    has = ", ".join(splits) or "none"
    tested = test if test is not None else TEST if TEST in splits else VAL
    if tested not in splits:
        asked = f"a split {test!r}" if test is not None else f"a split to test on, {TEST!r} or {VAL!r}"
        raise DatasetError(f"{where} has the splits {has}, expected {asked}: give --test-split, or write it with one")
    trained = (train,) if train is not None else (TRAIN, *((VAL,) if tested == TEST and VAL in splits else ()))
    missing = [split for split in trained if split not in splits]
    if missing:
        raise DatasetError(f"{where} has the splits {has}, expected {missing[0]!r} to train on: give --train-split")
    if tested in trained:
        raise DatasetError(f"{where} would be trained and tested on {tested!r}: give another --test-split")
    return SetSplits(train=trained, test=tested, num_train=sum(splits[split] for split in trained))


def choose_solver(asked: str, num_train: int) -> str:
    """Name of a solver: as asked for, or by the number of training images."""
    if asked != AUTO:
        return asked
    return "lbfgs" if num_train <= LARGE else "sgd"
