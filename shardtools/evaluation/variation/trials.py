"""What each setting trains on.

Owns the list of settings of seed 002: section 4 (nothing varies), 5.1 samples, 5.2 instances, 5.3 all factors, 5.4
classes. The first trial of each is the model that sees no variation, which the others are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from shardtools.arrays import Bools, Int64s
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.variation.fitting import Trial
from shardtools.evaluation.variation.options import VariationOptions
from shardtools.evaluation.variation.training_sets import (
    half_of_classes,
    make_pool,
    varying_classes,
    varying_instances,
    varying_samples,
)
from shardtools.evaluation.variation.world import ALL, World
from shardtools.quoting import shell_word


def trials_of(world: World, options: VariationOptions) -> list[Trial]:
    """What is fitted in a setting, the model without variation first.

    Raises:
        DatasetError: The grid that the setting needs is not there.
        OptionError: A factor is none, or does not vary.
    """
    if not world.factors:
        raise DatasetError(
            f"{world.where}: no factor varies alone, so there is no gap to measure: render them with "
            "`shardtools render MESHES --grid canonical,single`"
        )
    return [Trial(), *_VARYING[options.setting](world, options)]


def _canonical(_world: World, _options: VariationOptions) -> Iterator[Trial]:
    yield from ()


def _samples(world: World, options: VariationOptions) -> Iterator[Trial]:
    for name, repeat in _draws(varied_factors(world, options), options.repeats):
        yield from _sample_trials(world, name, repeat, options)


def _all(world: World, options: VariationOptions) -> Iterator[Trial]:
    if ALL not in world.sets:
        raise DatasetError(
            f"{world.where}: no picture varies in all factors: render them with `shardtools render MESHES --grid all` "
            f"and give both (`shardtools eval variation {shell_word(world.datasets[0])} ALL ...`)"
        )
    for repeat in range(options.repeats):
        yield from _sample_trials(world, ALL, repeat, options)


def _sample_trials(world: World, name: str, repeat: int, options: VariationOptions) -> Iterator[Trial]:
    pool = make_pool(world, name, seed=options.seed, repeat=repeat)
    for share in options.shares:
        varying = varying_samples(world, share / 100, options.images)
        yield Trial(varied=name, share=share, repeat=repeat, pool=pool, varying=partial(_same, varying))


def _same(varying: Int64s, _trained: Bools) -> Int64s:
    return varying


def _instances(world: World, options: VariationOptions) -> Iterator[Trial]:
    for name, repeat in _draws(varied_factors(world, options), options.repeats):
        pool = make_pool(world, name, seed=options.seed, repeat=repeat)
        for share in options.shares:
            varying = partial(
                varying_instances, world, share=share / 100, images=options.images, seed=options.seed, repeat=repeat
            )
            yield Trial(varied=name, share=share, repeat=repeat, pool=pool, varying=varying)


def _classes(world: World, options: VariationOptions) -> Iterator[Trial]:
    for name, repeat in _draws(varied_factors(world, options), options.halves):
        pool = make_pool(world, name, seed=options.seed, repeat=repeat)
        seen = half_of_classes(world, seed=options.seed, repeat=repeat)
        varying = partial(varying_classes, world, seen=seen, images=options.images, seed=options.seed, repeat=repeat)
        yield Trial(varied=name, share=HALF, repeat=repeat, pool=pool, varying=varying, seen=seen)


HALF = 50

_VARYING: dict[str, Callable[[World, VariationOptions], Iterator[Trial]]] = {
    "canonical": _canonical,
    "samples": _samples,
    "instances": _instances,
    "all": _all,
    "classes": _classes,
}
"""Setting -> what is fitted beside the model without variation."""


def varied_factors(world: World, options: VariationOptions) -> tuple[str, ...]:
    """Factors that vary in training, in their order.

    Raises:
        OptionError: One does not vary in the datasets.
    """
    lost = [name for name in options.factors if name not in world.factors]
    if lost:
        raise OptionError(f"{world.where} varies {', '.join(world.factors)}, found --factors {lost[0]}: give those")
    return tuple(name for name in world.factors if not options.factors or name in options.factors)


def _draws(names: Sequence[str], repeats: int) -> Iterator[tuple[str, int]]:
    for name in names:
        for repeat in range(repeats):
            yield name, repeat
