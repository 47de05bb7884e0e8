"""Two real processes against one with the whole batch: batch norm, and the memory of class means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from shardtools.pipelines.train.sync_batch_norm import SyncBatchNorm, convert_sync_batch_norm
from tests.helpers.train_rank import SPLIT, norms, run_norm, run_ocm

Found = dict[str, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.train_rank", str(folder)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return torch.load(folder / "0.pt"), torch.load(folder / "1.pt")


@pytest.mark.parametrize("name", list(norms()))
def test_outputs_gradients_and_statistics_are_those_of_the_whole_batch(two: tuple[Found, Found], name: str) -> None:
    expected = run_norm(name, norms()[name], slice(None))
    tolerance = {"images": 1e-9, "rows": 1e-9, "plain": 1e-4, "bfloat16": 2e-2}[name]
    for key, whole in expected.items():
        parts = [found[name][key] for found in two]
        if key.startswith(("output", "input")):
            assert [len(part) for part in parts] == list(SPLIT)
            joined = torch.cat(parts)
        elif key.startswith("gradient"):
            joined = parts[0] + parts[1]
        else:
            assert torch.equal(parts[0], parts[1]), key
            joined = parts[0]
        assert joined.dtype is whole.dtype
        assert torch.allclose(joined.double(), whole.double(), rtol=tolerance, atol=tolerance), key


def test_the_memory_holds_the_embeddings_of_all_processes_by_rank(two: tuple[Found, Found]) -> None:
    expected = run_ocm(slice(None), synchronised=False)
    first, second = (found["ocm"] for found in two)
    assert first.keys() == second.keys() == expected.keys()
    for key, whole in expected.items():
        assert torch.equal(first[key], second[key]), key
        assert torch.allclose(first[key].double(), whole.double(), rtol=1e-3, atol=1e-4), key
    # Eight, then four of eight: the end of 12 was reached.
    assert first["head.memory_labels"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 2, 0]
    assert int(first["head.position"]) == 0


def test_converted_models_keep_names_and_tensors() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4, eps=0.5, momentum=0.3)), nn.BatchNorm1d(4)
    )
    model[1][0].weight.requires_grad_(False)
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    converted = convert_sync_batch_norm(model.eval(), "cpu")
    assert {name: tensor.data_ptr() for name, tensor in converted.state_dict().items()} == before
    norm = converted[1][0]
    assert isinstance(norm, SyncBatchNorm)
    assert (norm.eps, norm.momentum, norm.training, norm.weight.requires_grad) == (0.5, 0.3, False, False)
    assert convert_sync_batch_norm(converted, "cpu")[1][0] is norm
    for_cuda = convert_sync_batch_norm(nn.Sequential(nn.BatchNorm2d(4)), "cuda")
    assert isinstance(for_cuda[0], nn.SyncBatchNorm)


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_timms_norms_keep_their_activations(device_type: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", num_classes=0).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(images)
        names = list(model.state_dict())
        converted = convert_sync_batch_norm(model, device_type)
        assert list(converted.state_dict()) == names
        assert not any(type(module) is nn.BatchNorm2d for module in converted.modules())
        assert torch.allclose(converted(images), expected, atol=1e-6)


def test_one_process_needs_no_others() -> None:
    plain = norms()["images"]
    expected = run_norm("images", plain, slice(None))
    found = run_norm("images", convert_sync_batch_norm(norms()["images"], "cpu"), slice(None))
    assert all(torch.equal(found[key], whole) for key, whole in expected.items())
