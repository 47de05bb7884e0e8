"""Online Class Means: prototypes, queue, average, and what a checkpoint carries."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from shardtools.pipelines.train.models import Classifier, build_classifier
from shardtools.pipelines.train.ocm import OnlineClassMeans
from shardtools.training.recipe import Recipe

RECIPE = Recipe(
    name="small",
    encoder="resnet-micro",
    head="ocm",
    projector_layers=1,
    projector_hidden=16,
    projector_bottleneck=8,
    memory_size=12,
    memory_momentum=0.9,
)


def means(size: int = 4, *, num_classes: int = 3, normalized: bool = False, dim: int = 2) -> OnlineClassMeans:
    return OnlineClassMeans(
        nn.Identity(),
        nn.Identity(),
        dim=dim,
        num_classes=num_classes,
        memory_size=size,
        normalized=normalized,
        generator=torch.Generator().manual_seed(0),
    )


def classifier(seed: int = 0) -> tuple[Classifier, OnlineClassMeans]:
    built = build_classifier(RECIPE, 3, seed=seed)
    assert isinstance(built.head, OnlineClassMeans)
    return built, built.head


def train_step(model: Classifier, head: OnlineClassMeans, optimizer: torch.optim.Optimizer, number: int) -> float:
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(5, 3, 16, 16, generator=generator)
    labels = torch.randint(3, (5,), generator=generator)
    loss = functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    head.update(model, images, labels)
    return float(loss.detach())


# ---- prototypes and logits ----


def test_prototypes_and_logits_by_hand() -> None:
    head = means()
    head.write(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, -2.0], [0.0, -1.0]]), torch.tensor([0, 0, 2, 2]))
    # Sums: class 0 (3, 4), class 1 nothing, class 2 (0, -3).
    assert torch.allclose(head.prototypes, torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]))
    logits = head(torch.tensor([[5.0, 0.0], [-0.3, 0.4]]))
    assert torch.allclose(logits, torch.tensor([[6.0, 0.0, 0.0], [2.8, 0.0, -8.0]]), atol=1e-6)


def test_normalized_storage_gives_every_embedding_one_say() -> None:
    written = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, -2.0], [0.0, -1.0]]), torch.tensor([0, 0, 2, 2])
    raw, normalized = means(), means(normalized=True)
    assert torch.allclose(normalized.memory.norm(dim=1), torch.ones(4))
    for head in (raw, normalized):
        head.write(*written)
    assert torch.equal(raw.memory, written[0])
    assert torch.equal(normalized.memory, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, -1.0]]))
    assert torch.allclose(normalized.prototypes[0], torch.tensor([0.5, 0.5]).sqrt())


def test_the_memory_starts_with_gaussian_vectors_of_random_classes() -> None:
    head = means(5000, num_classes=10, dim=8)
    assert head.memory.mean().item() == pytest.approx(0, abs=0.02)
    assert head.memory.std().item() == pytest.approx(1, abs=0.02)
    assert torch.bincount(head.memory_labels, minlength=10).min() > 400
    assert torch.equal(head.memory, means(5000, num_classes=10, dim=8).memory)
    sums = torch.stack([head.memory[head.memory_labels == label].sum(0) for label in range(10)])
    assert torch.allclose(head.prototypes, functional.normalize(sums, dim=1), atol=1e-6)


def test_gradients_reach_the_embeddings_and_not_the_memory() -> None:
    head = means()
    embeddings = torch.tensor([[1.0, 2.0]], requires_grad=True)
    head(embeddings)[0, 0].backward()
    assert embeddings.grad is not None
    assert embeddings.grad.any()
    assert not any(tensor.requires_grad for tensor in head.state_dict(keep_vars=True).values())


def test_a_write_between_forward_and_backward_fails_instead_of_going_wrong() -> None:
    head = means()
    logits = head(torch.tensor([[1.0, 2.0]], requires_grad=True))
    head.write(torch.ones(1, 2), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logits.sum().backward()


# ---- queue ----


def test_the_queue_overwrites_the_oldest_and_drops_what_passes_its_end() -> None:
    head = means(5)

    def write(*values: int) -> tuple[list[int], list[int], int]:
        embeddings = torch.tensor([[float(value), 1.0] for value in values])
        head.write(embeddings, torch.tensor(values) % 3)
        return head.memory[:, 0].int().tolist(), head.memory_labels.tolist(), int(head.position)

    assert write(10, 11, 12)[0][:3] == [10, 11, 12]
    # Two places are left: 15 and 16 are dropped, and the next batch starts at the front.
    assert write(13, 14, 15, 16) == ([10, 11, 12, 13, 14], [1, 2, 0, 1, 2], 0)
    assert write(20, 21) == ([20, 21, 12, 13, 14], [2, 0, 0, 1, 2], 2)
    assert write(30, 31, 32)[2] == 0
    # More than the whole memory: its first five.
    assert write(*range(40, 47)) == ([40, 41, 42, 43, 44], [1, 2, 0, 1, 2], 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_the_queue_is_a_list_written_in_order(size: int, batches: list[int]) -> None:
    head = means(size)
    expected, position, value = head.memory[:, 0].tolist(), 0, 100.0
    for count in batches:
        values = [value + number for number in range(count)]
        head.write(torch.tensor(values)[:, None].expand(-1, 2), torch.zeros(count, dtype=torch.int64))
        for number in values:
            if position < size:
                expected[position] = number
                position += 1
        position, value = (0 if position == size else position), value + count
        assert head.memory[:, 0].tolist() == expected
        assert int(head.position) == position


# ---- average ----


def test_the_average_follows_the_parameters_and_leaves_its_buffers() -> None:
    model, head = classifier()
    before = copy.deepcopy(head.average.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    model.encoder.network.bn.running_mean.fill_(5.0)  # type: ignore[union-attr, operator]
    assert model.projector is not None
    for _ in range(2):
        head.update_average(model.encoder, model.projector)
    trained = {name for name, _ in head.average.named_parameters()}
    for name, tensor in head.average.state_dict().items():
        # Twice a tenth of the way to 1: 0.1, then 0.1 + 0.1 * 0.9.
        expected = before[name] + (0.19 if name in trained else 0)
        assert torch.allclose(tensor.double(), expected.double(), atol=1e-6), name


def test_an_update_embeds_with_the_moved_average_in_training_mode() -> None:
    model, head = classifier()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    by_hand = copy.deepcopy(head)
    images, labels = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 3
    model.eval()
    assert head.average.training
    assert not head.training
    head.update(model, images, labels)
    assert model.projector is not None
    by_hand.update_average(model.encoder, model.projector)
    expected = by_hand.average.train()(images)
    assert torch.equal(head.memory[:5], expected)
    assert torch.equal(head.memory[5:], by_hand.memory[5:])
    assert head.memory_labels[:5].tolist() == labels.tolist()
    assert not torch.allclose(expected, by_hand.average.eval()(images))


# ---- checkpoints ----


def test_a_resumed_run_is_the_same_to_the_bit() -> None:
    def optimizer_of(model: Classifier) -> torch.optim.Optimizer:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr=0.1, momentum=0.9)

    straight, head = classifier()
    optimizer = optimizer_of(straight)
    losses = [train_step(straight, head, optimizer, number) for number in range(5)]

    first, head = classifier()
    optimizer = optimizer_of(first)
    assert losses[:3] == [train_step(first, head, optimizer, number) for number in range(3)]
    saved = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    assert int(saved[0]["head.position"]) == 0  # 5 and 5 of 12, and a third batch of which 3 were dropped

    resumed, head = classifier(seed=9)
    train_step(resumed, head, optimizer_of(resumed), 77)
    optimizer = optimizer_of(resumed)
    resumed.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert losses[3:] == [train_step(resumed, head, optimizer, number) for number in (3, 4)]
    state = straight.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in resumed.state_dict().items())
