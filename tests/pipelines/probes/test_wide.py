"""Classifiers trained together against torch's own linear layer, loss and optimizer, one at a time."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from shardtools.errors import OptionError
from shardtools.pipelines.probes import coefficients, wide
from shardtools.pipelines.probes.rows import Rows
from shardtools.pipelines.probes.wide import WideResult, rate_factor, train_wide

RATES, DECAYS = (0.1, 1.0, 3.0, 10.0), (1e-4, 1e-12, 0.0, 1e-2)
NUM_CLASSES = 6
FORMS = {"weights": 0, "combinations": 1 << 30}
"""Form -> the bytes that the products of pairs of rows may take."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def table(num_rows: int = 45, dim: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows in clusters; of the six classes the fifth has one row and the last none."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % 4
    labels[7] = 4
    centers = np.random.default_rng(7).normal(size=(NUM_CLASSES, dim))
    found = centers[labels] + 0.3 * rng.normal(size=(num_rows, dim))
    return found / np.linalg.norm(found, axis=1, keepdims=True), labels.astype(np.int64)


def alone(
    features: np.ndarray, labels: np.ndarray, rate: float, decay: float, batch_size: int, seed: int, epochs: int = 100
) -> torch.nn.Linear:
    """The protocol as its program has it, in float64."""
    torch.manual_seed(seed)
    layer = torch.nn.Linear(features.shape[1], NUM_CLASSES).double()
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    inputs, targets = torch.from_numpy(features), torch.from_numpy(labels)
    for epoch in range(epochs):
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(inputs)))
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(inputs[rows]), targets[rows]).backward()
            optimizer.step()
        # At the end of an epoch, to the rate of that epoch: the first two run at the full rate.
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    return layer.requires_grad_(False)


@pytest.fixture(scope="module")
def each_alone() -> list[torch.nn.Linear]:
    """Each pair of a rate and a decay on its own, with a short last batch."""
    return [alone(*table(), rate, decay, 16, 3) for rate, decay in zip(RATES, DECAYS, strict=True)]


@pytest.mark.parametrize("form", FORMS)
def test_together_is_each_alone(form: str, each_alone: list[torch.nn.Linear], monkeypatch: pytest.MonkeyPatch) -> None:
    """After 100 epochs, to 1e-5; in the form for many rows and in that for few."""
    monkeypatch.setattr(coefficients, "LARGEST_PRODUCTS", FORMS[form])
    features, labels = table()
    found = train_wide(
        *(features, labels, NUM_CLASSES),
        **{"rates": RATES, "decays": DECAYS, "batch_size": 16, "seed": 3, "dtype": torch.float64},
    )
    assert found.weights.shape == (4, NUM_CLASSES, 20) and found.biases.shape == (4, NUM_CLASSES)
    assert not found.diverged.any()
    for number, expected in enumerate(each_alone):
        assert (found.weights[number] - expected.weight).abs().max() <= 1e-5 * expected.weight.abs().max()
        assert (found.biases[number] - expected.bias).abs().max() <= 1e-5 * expected.bias.abs().max()
    assert found.accuracies(features, labels)[2] > 0.9


def test_few_rows_are_one_batch() -> None:
    features, labels = table(9)
    asked = {"rates": RATES[:2], "decays": DECAYS[:2], "epochs": 5, "seed": 3, "dtype": torch.float64}
    found = train_wide(features, labels, NUM_CLASSES, **asked)
    expected = alone(features, labels, RATES[1], DECAYS[1], 9, 3, epochs=5)
    assert torch.allclose(found.weights[1], expected.weight, rtol=1e-9, atol=1e-12)


def test_the_form_is_the_cheaper_one() -> None:
    """A step of n rows costs 4 n P T C with weights, and 2 n N T C with combinations of N rows."""
    settings = coefficients.Settings([1.0], [0.0], 0.9, 3, torch.zeros(1))
    for num_rows, form in ((63, coefficients.Combinations), (64, coefficients.Weights)):
        rows = Rows(
            np.zeros((num_rows, 20), np.float32), device=torch.device("cpu"), dtype=torch.float32, normalize=False
        )
        found = coefficients.form_for(rows, torch.zeros(32, 3), settings, low=None, exact=True)
        assert rows.width == 32 and type(found) is form
        rounded = coefficients.form_for(rows, torch.zeros(32, 3), settings, low=None, exact=False)
        assert type(rounded) is coefficients.Weights


@pytest.mark.parametrize("form", FORMS)
def test_a_trial_that_diverges_leaves_the_others_alone(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coefficients, "LARGEST_PRODUCTS", FORMS[form])
    features, labels = table()
    asked = {"epochs": 30, "batch_size": 16, "seed": 1}
    calm = train_wide(features, labels, NUM_CLASSES, rates=(1.0, 5.0, 3.0), decays=(0.0, 1e-4, 0.0), **asked)
    wild = train_wide(features, labels, NUM_CLASSES, rates=(1.0, 90.0, 3.0), decays=(0.0, 9.0, 0.0), **asked)
    assert calm.diverged.tolist() == [False] * 3 and wild.diverged.tolist() == [False, True, False]
    for number in (0, 2):
        assert torch.equal(calm.weights[number], wild.weights[number])
    accuracies = wild.accuracies(features, labels)
    assert accuracies[1] == 0 and accuracies[[0, 2]].min() > 0.9


def test_training_ends_where_all_have_diverged() -> None:
    seen: list[int] = []
    asked = {"epochs": 200, "batch_size": 16, "seed": 1, "on_epoch": seen.append}
    found = train_wide(*table(), NUM_CLASSES, rates=(90.0,), decays=(9.0,), **asked)
    assert found.diverged.all() and seen == list(range(len(seen))) and len(seen) < 100


def test_whoever_is_told_of_an_epoch_may_end_training() -> None:
    class StopError(Exception):
        pass

    def stop(epoch: int) -> None:
        if epoch == 3:
            raise StopError

    with pytest.raises(StopError):
        train_wide(*table(), NUM_CLASSES, rates=(1.0,), decays=(0.0,), seed=1, on_epoch=stop)


def test_two_epochs_at_the_full_rate_and_none_at_zero() -> None:
    assert [rate_factor(epoch, 100) for epoch in (0, 1)] == [1, 1]
    assert rate_factor(51, 100) == pytest.approx(0.5)
    assert 0 < rate_factor(99, 100) < 0.002


def same(one: WideResult, other: WideResult) -> bool:
    return torch.equal(one.weights, other.weights) and torch.equal(one.biases, other.biases)


def test_features_come_as_they_are(tmp_path: Path) -> None:
    """An array, a file that may only be read, a tensor, what reads rows; with few bits or many."""

    class Reader:
        shape, ndim = (45, 20), 2

        def __len__(self) -> int:
            return 45

        def __getitem__(self, rows: object) -> np.ndarray:
            return rounded[rows]

    features, labels = table()
    asked = {"rates": (1.0, 3.0), "decays": (0.0, 1e-4), "epochs": 3, "batch_size": 16, "seed": 1}
    rounded = features.astype(np.float16)
    np.save(tmp_path / "features.npy", rounded)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    found = [
        train_wide(given, labels, NUM_CLASSES, **asked)
        for given in (rounded, mapped, torch.from_numpy(rounded), rounded.astype(np.float64), Reader())
    ]
    assert all(same(one, found[0]) for one in found[1:])
    assert (found[0].accuracies(mapped, labels) == found[0].accuracies(rounded, labels)).all()


@pytest.mark.parametrize("form", FORMS)
def test_norms_are_taken_on_the_way(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coefficients, "LARGEST_PRODUCTS", FORMS[form])
    features, labels = table()
    scaled = features * np.linspace(1, 200, len(features))[:, None]
    scaled[3], features[3] = 0, 0
    asked = {"rates": (3.0,), "decays": (1e-4,), "epochs": 5, "seed": 1, "dtype": torch.float64}
    of_units = train_wide(features, labels, NUM_CLASSES, **asked)
    found = train_wide(scaled, labels, NUM_CLASSES, normalize=True, **asked)
    assert torch.allclose(found.weights, of_units.weights, rtol=1e-9)
    assert np.allclose(found.logits(scaled), of_units.logits(features), rtol=1e-5, atol=1e-6)
    assert not np.allclose(train_wide(scaled, labels, NUM_CLASSES, **asked).weights, of_units.weights, rtol=0.1)


def test_blocks_of_rows_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = table()
    found = train_wide(features, labels, NUM_CLASSES, rates=(1.0, 3.0), decays=(0.0, 0.0), epochs=2, seed=1)
    monkeypatch.setattr(wide, "_LOGITS_AT_A_TIME", 7 * 2 * NUM_CLASSES)
    weights, biases = found.weights.double().numpy(), found.biases.double().numpy()
    expected = np.einsum("nd,tcd->tnc", features, weights) + biases[:, None]
    logits = found.logits(features)
    assert logits.dtype == np.float32 and np.allclose(logits, expected, atol=1e-5)
    assert (found.predictions(features) == expected.argmax(axis=2)).all()
    assert np.allclose(found.accuracies(features, labels), (expected.argmax(axis=2) == labels).mean(axis=1))


def test_few_bits_are_a_rehearsal_of_a_gpu() -> None:
    features, labels = table()
    asked = {"rates": (1.0, 3.0), "decays": (0.0, 1e-4), "epochs": 20, "batch_size": 16, "seed": 1}
    exact = train_wide(features, labels, NUM_CLASSES, **asked)
    few = train_wide(features, labels, NUM_CLASSES, precision="bf16", **asked)
    assert few.weights.dtype == torch.float32
    difference = (few.weights - exact.weights).abs().max() / exact.weights.abs().max()
    assert 1e-5 < difference < 0.02
    assert np.abs(few.accuracies(features, labels) - exact.accuracies(features, labels)).max() < 0.05


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"features": np.zeros(12)}, r"features are \[N, D\]"),
        ({"features": np.zeros((0, 3))}, "with one row at least"),
        ({"labels": np.zeros(11, np.int64)}, "int64 label for each of 12 features"),
        ({"labels": np.zeros(12)}, "found float64"),
        ({"labels": np.full(12, 6)}, "labels are 0 to 5, found 6 to 6"),
        ({"labels": np.full(12, -1)}, "found -1 to -1"),
        ({"rates": ()}, "found 0 rates"),
        ({"rates": (1.0, 2.0)}, "found 2 rates and 1 decays"),
        ({"rates": (0.0,)}, "rates are positive"),
        ({"decays": (math.nan,)}, "all finite"),
        ({"momentum": 1.0}, "momentum is from 0 to below 1"),
        ({"epochs": 0}, "epochs is at least 1"),
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"dtype": torch.float16}, "float32 or float64"),
        ({"precision": "fp16"}, "precision is one of fp32, tf32, bf16"),
        ({"precision": "bf16", "dtype": torch.float64}, "the last two of float32"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict, match: str) -> None:
    given = {
        **{"features": np.ones((12, 3)), "labels": np.arange(12) % 6, "num_classes": 6, "seed": 1},
        **{"rates": (1.0,), "decays": (0.0,), **changes},
    }
    with pytest.raises(OptionError, match=match):
        train_wide(given.pop("features"), given.pop("labels"), given.pop("num_classes"), **given)


def test_results_are_of_the_features_of_training() -> None:
    found = train_wide(*table(), NUM_CLASSES, rates=(1.0,), decays=(0.0,), epochs=1, seed=1)
    with pytest.raises(OptionError, match=r"features \[N, 20\], found \(4, 19\)"):
        found.logits(np.zeros((4, 19)))
    with pytest.raises(OptionError, match="a label for each of 4 features, found 3"):
        found.accuracies(np.zeros((4, 20)), np.zeros(3, np.int64))
