from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shardtools.errors import DatasetError, OptionError, RunError
from shardtools.evaluation.attacks import DEFAULTS, AttackSettings, attack_settings
from shardtools.pipelines.evaluate.attacks import ATTACKS, Found, Images, Victim, check_inside, prepare, to_bytes
from shardtools.pipelines.evaluate.attacks.apgd import checkpoints
from shardtools.pipelines.evaluate.attacks.ball import ball_around, noise
from shardtools.pipelines.evaluate.attacks.contract import LossFunction
from shardtools.pipelines.evaluate.attacks.losses import aimed_ratio, cross_entropy, ratio
from shardtools.pipelines.evaluate.attacks.restarts import attack_in_turns, unharmed
from tests.helpers.attacked_networks import NUM_CLASSES, TinyNetwork, keys_of, tiny_images

COUNT = 24


def attacked(
    settings: AttackSettings, *, network: nn.Module | None = None, count: int = COUNT, first: int = 0
) -> tuple[Victim, Images, Found]:
    """Images whose labels are what the network says of them, but for the first, attacked."""
    victim = Victim(network or TinyNetwork())
    pixels, keys = tiny_images(COUNT)[first : first + count], keys_of(COUNT)[first : first + count]
    labels = victim.logits(pixels, keys).argmax(1).tolist()
    if first == 0:
        labels[0] = (labels[0] + 1) % NUM_CLASSES
    images = prepare(victim, pixels, labels, keys, settings)
    victim.num_forwards = victim.num_gradients = 0
    return victim, images, ATTACKS[settings.attack](victim, images, settings)


def test_every_attack_has_its_values() -> None:
    assert list(ATTACKS) == list(DEFAULTS)


@pytest.mark.parametrize("attack", list(ATTACKS))
@pytest.mark.parametrize("eps", [2 / 255, 0.06, 0.3])
@pytest.mark.parametrize("target", ["none", "random", "likely"])
def test_attacked_images_stay_in_the_ball_and_the_box_and_err_as_is_said(attack: str, eps: float, target: str) -> None:
    if attack == "pgd-seed" and target != "random":
        with pytest.raises(OptionError, match="pgd-seed has no target to choose, for it aims at a random class"):
            attack_settings(attack, target=target)
        return
    settings = attack_settings(attack, eps=eps, target=target, num_steps=None if attack == "fgsm" else 6)
    victim, images, found = attacked(settings)

    check_inside(found.pixels, images.pixels, eps, images.keys)
    said = victim.logits(found.pixels, images.keys).argmax(1)
    wrong = said == images.targets if target == "random" else said != images.labels
    assert found.success.tolist() == wrong.tolist()
    assert int(found.steps.max()) <= settings.num_steps * len(settings.losses)
    # The image whose label is wrong needs no attack, unless it is to become one certain class.
    assert target == "random" or (found.steps[0] == 0 and torch.equal(found.pixels[0], images.pixels[0]))


@pytest.mark.parametrize("attack", ["pgd", "fgsm", "apgd", "pgd-seed"])
def test_an_attack_changes_answers(attack: str) -> None:
    _, _, found = attacked(attack_settings(attack, eps=0.1))

    assert found.success.float().mean() > 0.6


@given(seed=st.integers(0, 2**63 - 1), first=st.integers(1, COUNT - 2))
def test_draws_depend_on_seed_and_key_alone(seed: int, first: int) -> None:
    settings, victim = attack_settings("pgd-seed", seed=seed), Victim(TinyNetwork())
    whole = prepare(victim, tiny_images(COUNT), [0] * COUNT, keys_of(COUNT), settings)
    part = prepare(victim, tiny_images(COUNT)[first:], [0] * (COUNT - first), keys_of(COUNT)[first:], settings)

    assert torch.equal(whole.targets[first:], part.targets)
    assert torch.equal(
        noise(whole.pixels, 0.1, whole.draws, "start ce 0")[first:], noise(part.pixels, 0.1, part.draws, "start ce 0")
    )
    assert torch.equal(whole.of(torch.tensor([first])).targets, part.targets[:1])
    other = prepare(victim, tiny_images(COUNT), [0] * COUNT, keys_of(COUNT), attack_settings("pgd-seed", seed=seed ^ 1))
    assert not torch.equal(noise(whole.pixels, 0.1, whole.draws, "x"), noise(other.pixels, 0.1, other.draws, "x"))


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_what_becomes_of_an_image_does_not_depend_on_its_batch(attack: str) -> None:
    settings = attack_settings(attack, eps=0.03)
    _, _, together = attacked(settings)

    for first in (5, 11):
        _, _, alone = attacked(settings, count=1, first=first)

        assert alone.success.tolist() == together.success[first : first + 1].tolist()
        assert alone.steps.tolist() == together.steps[first : first + 1].tolist()
        assert torch.allclose(alone.pixels[0], together.pixels[first], atol=1e-5)


def test_targets_are_every_class_but_the_label_equally_often() -> None:
    count = 6000
    victim = Victim(lambda pixels: pixels.new_zeros(len(pixels), NUM_CLASSES))
    labels = [number % NUM_CLASSES for number in range(count)]
    images = prepare(victim, torch.zeros(count, 3, 1, 1), labels, keys_of(count), attack_settings("pgd-seed"))

    moved = (images.targets - images.labels) % NUM_CLASSES
    counts = torch.bincount(moved, minlength=NUM_CLASSES)
    assert counts[0] == 0
    # Four standard deviations of a share of a fifth.
    assert (counts[1:] / count - 0.2).abs().max() < 4 * (0.2 * 0.8 / count) ** 0.5


def test_noise_is_uniform_in_the_ball() -> None:
    images = prepare(Victim(TinyNetwork()), tiny_images(COUNT), [0] * COUNT, keys_of(COUNT), attack_settings("pgd"))
    drawn = noise(images.pixels, 0.06, images.draws, "start")

    assert 0.0599 < drawn.abs().max() <= 0.06
    assert abs(float(drawn.mean())) < 4 * 0.06 / (3 * drawn.numel()) ** 0.5
    assert float(drawn.var()) == pytest.approx(0.06**2 / 3, rel=0.05)


def test_k_steps_cost_k_gradients_and_one_forward_pass() -> None:
    for attack in ("pgd", "apgd"):
        settings = attack_settings(attack, num_steps=7, early_stop=False, loss="ce")
        victim, _, _ = attacked(settings)

        assert (victim.num_gradients, victim.num_forwards) == (7 * COUNT, 8 * COUNT)


def test_images_that_err_leave_the_batch() -> None:
    settings = attack_settings("pgd", eps=0.1)
    victim, _, found = attacked(settings)

    # One gradient more than steps for each image that stops on the way: that which told that it errs.
    stopped = (found.steps < settings.num_steps) & (found.steps > 0)
    assert victim.num_gradients <= int(found.steps.sum()) + int(stopped.sum()) + int((found.steps == 0).sum())
    assert int(stopped.sum()) > COUNT // 2
    assert victim.num_gradients < COUNT * settings.num_steps // 2


def test_parameters_need_no_gradient_and_get_none() -> None:
    network = TinyNetwork().train()
    attacked(attack_settings("pgd"), network=network)

    assert not network.training
    assert all(not one.requires_grad and one.grad is None for one in network.parameters())


def by_hand(
    network: nn.Module, image: torch.Tensor, noise_of: torch.Tensor, target: int
) -> tuple[np.ndarray, int, bool]:
    """Seed 001's attack on one image, in NumPy but for the gradient, as foolbox 1.8 orders its steps."""
    clean = image.numpy().astype(np.float64)
    x = clean + noise_of.numpy()
    for step in range(1, 11):
        leaf = torch.from_numpy(x.astype(np.float32))[None].requires_grad_()
        nn.functional.cross_entropy(network(leaf), torch.tensor([target])).backward()
        assert leaf.grad is not None
        x = x - 2 / 255 * np.sign(leaf.grad[0].numpy())
        x = np.clip(clean + np.clip(x - clean, -0.06, 0.06), 0, 1)
        if int(network(torch.from_numpy(x.astype(np.float32))[None]).argmax()) == target:
            return x, step, True
    return x, 10, False


def test_pgd_seed_is_the_attack_of_the_seed_step_by_step() -> None:
    network = TinyNetwork()
    _, images, found = attacked(attack_settings("pgd-seed"), network=network)
    start = noise(images.pixels, 0.06, images.draws, "start ce 0")

    steps = []
    for row in range(COUNT):
        x, step, success = by_hand(network, images.pixels[row], start[row], int(images.targets[row]))
        if images.logits[row].argmax() == images.targets[row]:
            x, step, success = images.pixels[row].numpy(), 0, True
        if not success:
            x = images.pixels[row].numpy()
        assert (int(found.steps[row]), bool(found.success[row])) == (step, success)
        assert np.abs(found.pixels[row].numpy() - x).max() < 1e-6
        steps.append(step)
    # So that all three ends were there: at once, on the way, not at all.
    assert {0, 10} < set(steps)
    assert 0 < int(found.success.sum()) < COUNT


def test_checkpoints_are_those_of_the_paper() -> None:
    # Croce and Hein 2020: p = 0, .22, .41, .57, .70, .80, .87, .93, .99.
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [0, 3, 5, 6, 7, 8, 9, 10]
    assert checkpoints(1) == [0, 1]


def test_apgd_goes_higher_than_pgd_in_as_many_steps() -> None:
    own = {
        attack: attacked(attack_settings(attack, eps=0.1, num_steps=40, early_stop=False, loss="ce"))[2].loss
        for attack in ("pgd", "apgd")
    }

    assert own["apgd"].mean() > own["pgd"].mean()


def test_more_restarts_find_more_and_lose_nothing() -> None:
    few, many = (attacked(attack_settings("pgd", eps=0.012, num_steps=3, restarts=n))[2] for n in (1, 8))

    assert (many.success | ~few.success).all()
    assert (many.loss >= few.loss)[~many.success].all()
    assert (many.loss > few.loss)[~many.success].sum() > COUNT // 2
    assert (many.steps == 8 * 3)[~many.success].all()


def test_likely_targets_go_from_the_likeliest_on() -> None:
    settings = attack_settings("apgd", target="likely", restarts=NUM_CLASSES - 1, num_steps=5, loss="dlr")
    aims: list[torch.Tensor] = []

    def attempt(victim: Victim, images: Images, settings: AttackSettings, loss: LossFunction, operation: str) -> Found:
        aims.append(images.targets)
        return unharmed(images, settings)

    victim = Victim(TinyNetwork())
    labels = victim.logits(tiny_images(COUNT), keys_of(COUNT)).argmax(1)
    images = prepare(victim, tiny_images(COUNT), labels.tolist(), keys_of(COUNT), settings)
    attack_in_turns(victim, images, settings, attempt)

    assert torch.equal(torch.stack([labels, *aims], 1), images.logits.argsort(1, descending=True))
    with pytest.raises(OptionError, match=f"{NUM_CLASSES} restarts and {NUM_CLASSES - 1} classes"):
        attacked(attack_settings("apgd", target="likely", restarts=NUM_CLASSES))


def test_losses_by_hand() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 0.0], [2.0, 5.0, 1.0, 0.5]])
    images = prepare(Victim(lambda pixels: logits), torch.zeros(2, 3, 1, 1), [0, 0], ("a", "b"), attack_settings("pgd"))
    aimed = prepare(Victim(lambda pixels: logits), torch.zeros(2, 3, 1, 1), [2, 2], ("a", "b"), attack_settings("pgd"))

    assert ratio(logits, images).tolist() == pytest.approx([(3 - 4) / (4 - 1), (5 - 2) / (5 - 1)])
    # The labels of `aimed` are the targets of `images`.
    assert aimed_ratio(logits, replace(images, targets=aimed.labels)).tolist() == pytest.approx(
        [(3 - 4) / (4 - 0.5), (1 - 2) / (5 - 0.75)]
    )
    assert ratio(7 * logits + 3, images).tolist() == pytest.approx(ratio(logits, images).tolist())
    assert cross_entropy(logits, images)[0] == pytest.approx(float(logits[0].exp().sum().log() - 4))


@given(eps=st.floats(1e-4, 1), value=st.integers(0, 255))
def test_no_bound_is_outside_by_a_last_bit(eps: float, value: int) -> None:
    clean = torch.full((1, 3, 1, 1), value / 255)
    ball = ball_around(clean, eps)

    for bound in (ball.low, ball.high):
        check_inside(bound, clean, eps, ("a",))
    stored = to_bytes(ball.high, torch.full((1, 3, 1, 1), value, dtype=torch.uint8), eps)
    assert (stored.double() - value).abs().max() / 255 <= eps + 1e-9
    assert int(stored.max()) == min(255, value + int(255 * eps + 1e-9))


def test_what_leaves_the_ball_or_the_box_is_refused_by_key() -> None:
    clean = torch.full((2, 3, 2, 2), 0.5)
    clean[1] = 0.99
    for change, limit in ((0.061, 0.06), (0.02, 0.06), (float("nan"), 0.06)):
        found = clean.clone()
        found[1, 0, 1, 1] += change
        with pytest.raises(RunError, match="the attacked image of 'b' is off by"):
            check_inside(found, clean, limit, ("a", "b"))


def test_bad_input_is_one_line() -> None:
    def network(pixels: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(pixels), 3)
        logits[-1, 1] = torch.inf
        return logits

    pixels, settings = torch.zeros(2, 3, 1, 1), attack_settings("pgd")
    tiny = Victim(lambda pixels: torch.zeros(len(pixels), 2) + pixels.sum((1, 2, 3))[:, None])
    with pytest.raises(RunError, match="the network gives 'b' a logit that is not finite"):
        prepare(Victim(network), pixels, [0, 0], ("a", "b"), settings)
    with pytest.raises(DatasetError, match="0 to 1\\), found none for 'b'"):
        prepare(tiny, pixels, [0, None], ("a", "b"), settings)
    with pytest.raises(DatasetError, match="found 2 for 'a'"):
        prepare(tiny, pixels, [2, 0], ("a", "b"), settings)
    with pytest.raises(OptionError, match=r"pixels to attack are 0 to 1, found 3\.0 to 3\.0"):
        prepare(tiny, pixels + 3, [0, 0], ("a", "b"), settings)
    with pytest.raises(OptionError, match="compares 3 logits, found a network of 2"):
        dlr = attack_settings("apgd", loss="dlr")
        ATTACKS["apgd"](tiny, prepare(tiny, pixels, [0, 0], ("a", "b"), dlr), dlr)
