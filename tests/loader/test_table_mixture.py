"""The table of several datasets: where each begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shardtools.loader import read_all, read_split
from shardtools.writing import write_samples
from tests.helpers.pictures import jpeg


@pytest.mark.parametrize("layouts", [("imagefolder", "tar"), ("tar", "imagefolder", "tar"), ("imagefolder",) * 2])
def test_a_mixture_begins_each_dataset_where_it_begins(tmp_path: Path, layouts: tuple[str, ...]) -> None:
    """Files of image folders are numbered row by row, shards at once: neither may take the other's place."""
    urls = []
    for number, layout in enumerate(layouts):
        images = [jpeg(10 * number + n) for n in range(3 + number)]
        # The same keys in each: they are told apart by their dataset alone.
        out = tmp_path / f"{number}"
        write_samples(images, [0] * len(images), out, layout=layout, num_processes=1, samples_per_shard=2)
        urls.append(str(out))
    for table in (read_split(urls, "train"), read_all(urls)):
        counts = np.diff(table.dataset_starts).tolist()
        assert counts == [3 + number for number in range(len(layouts))]
        assert (np.diff(table.dataset.astype(int)) >= 0).all() and (np.diff(table.shard) >= 0).all()
        for row in range(len(table)):
            assert table.shards[int(table.shard[row])][0] == table.dataset[row]
