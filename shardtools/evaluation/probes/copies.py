"""That no image which is judged is learnt from, by key and by the digest of its bytes.

Owns the refusal of leaks. Equal keys are one image within a dataset; equal digests are one image anywhere. The price:
copies that were encoded anew have another digest, and `shardtools duplicates` finds those.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shardtools.arrays import Bools, Int64s, filled
from shardtools.errors import DatasetError
from shardtools.evaluation.probes.reading import Images, Probed
from shardtools.evaluation.probes.splitting import Drawn
from shardtools.quoting import shell_word
from shardtools.words import counted

_SQL = (
    "select sha256, count(*) as images, list(key) as keys from samples where status = 'ok' "
    "group by sha256 having count(*) > 1 order by all"
)


def image_numbers(train: Images, test: Images) -> tuple[Int64s, Int64s]:
    """A number for each image of both sides, the same for the same bytes: int64 [N] and [M]."""
    digests = np.ascontiguousarray(np.concatenate((train.digests, test.digests)))
    _, numbers = np.unique(digests.view("V32")[:, 0], return_inverse=True)
    return numbers[: len(train)].astype(np.int64), numbers[len(train) :].astype(np.int64)


def tested_on(probed: Probed) -> Bools:
    """Which training images are tested on too, by their bytes, bool [N].

    Raises:
        DatasetError: One has the key of a test image of the same dataset: the two parts overlap.
    """
    train, test = probed.train, probed.test
    if train.dataset_place == test.dataset_place:
        both = np.flatnonzero(filled(pc.is_in(train.keys, value_set=test.keys).cast(pa.int8()), 0))
        if len(both):
            raise DatasetError(
                f"{counted(len(both), 'image')} of {test.what} would be trained on too, "
                f"{train.keys[int(both[0])].as_py()!r} the first: give parts that have no image in common "
                "(--train-split, --test-split)"
            )
    own, others = image_numbers(train, test)
    return np.isin(own, others)


def copies_of_validation(numbers: Int64s, drawn: Drawn) -> Int64s:
    """Rows of `drawn.train` whose bytes validate too."""
    return drawn.train[np.isin(numbers[drawn.train], numbers[drawn.validation])]


def refusal(images: Images, rows: Int64s, judged: str, urls: tuple[str, ...]) -> DatasetError:
    """The error for copies among what is trained on.

    Args:
        images: What is trained on.
        rows: Those of them that are copies.
        judged: What they are copies of, for the message.
        urls: Of the datasets.
    """
    place = " ".join(map(shell_word, dict.fromkeys(urls)))
    return DatasetError(
        f"{counted(len(rows), 'training image is an exact copy', 'training images are exact copies')} of {judged}, "
        f"{images.keys[int(rows[0])].as_py()!r} the first (shardtools sql {shell_word(_SQL)} {place}): give --copies "
        "drop to leave them out of training, or --copies keep"
    )
