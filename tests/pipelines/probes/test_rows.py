"""Rows of features as batches: resident or fetched, the same."""

import numpy as np
import pytest
import torch

from shardtools.pipelines.probes.rows import Rows, padded_width

CPU = torch.device("cpu")


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_resident_and_fetched_rows_are_the_same(normalize: bool, as_tensor: bool) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(23, 5)).astype(np.float16)
    given = torch.from_numpy(features) if as_tensor else features
    orders = [np.array([3, 4, 20]), np.array([0, 7, 9, 22]), np.array([5])]
    asked = {"device": CPU, "dtype": torch.float32, "normalize": normalize}
    resident, fetched = (Rows(given, resident=kept, **asked) for kept in (True, False))
    expected = features.astype(np.float32)
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    for order, one, other in zip(orders, resident.batches(orders), fetched.batches(orders), strict=True):
        assert torch.equal(one, other) and one.shape == (len(order), 16)
        assert np.allclose(one[:, :5], expected[order], rtol=1e-6)
        assert (one[:, 5] == 1).all() and (one[:, 6:] == 0).all()
    assert torch.equal(resident.all(), fetched.all())


def test_large_float16_rows_have_a_norm() -> None:
    rows = Rows(np.full((1, 4), 6e4, np.float16), device=CPU, dtype=torch.float32, normalize=True)
    assert np.allclose(rows.all()[0, :4], 0.5)


def test_a_row_has_room_for_the_bias() -> None:
    assert [padded_width(dim) for dim in (1, 15, 16, 2048)] == [16, 16, 32, 2064]
