import pytest

from shardtools.words import counted, duration, rough_size, size


def test_counts_have_the_right_noun() -> None:
    assert [counted(number, "shard") for number in (0, 1, 2)] == ["0 shards", "1 shard", "2 shards"]
    assert [counted(number, "class", "classes") for number in (1, 3)] == ["1 class", "3 classes"]
    assert counted(1281167, "image", spec=",") == "1,281,167 images"


@pytest.mark.parametrize(
    ("num_bytes", "exact", "rough"),
    [
        (0, "0.00 MB", "0 bytes"),
        (999, "0.00 MB", "999 bytes"),
        (1000, "0.00 MB", "1 kB"),
        (999_700, "1.00 MB", "1 MB"),
        (62_345, "0.06 MB", "62.3 kB"),
        (999_999_999, "1000.00 MB", "1 GB"),
        (3_050_000_000, "3.05 GB", "3.05 GB"),
        (5e15, "5000000.00 GB", "5e+03 TB"),
    ],
)
def test_sizes(num_bytes: float, exact: str, rough: str) -> None:
    assert (size(num_bytes), rough_size(num_bytes)) == (exact, rough)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2.0 minutes"), (9000, "2.5 hours"), (200_000, "2.3 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
