"""The trap of the second resize: files that were cut out already, sent through another resize and cut.

Owns the rule. Copies of ImageNet that others prepared (ImageNet-C and -P, stylised sets) hold squares of 224 pixels.
Enlarged to 256 and cut again they lose a quarter of the picture, and look like a worse model: ResNet-50 has a mean
corruption error of 78.2 that way and 76.7 without (Hendrycks's files against imagenet-testbed's reading of them). The
price of looking at sizes alone: a small set of squares of one's own is asked about too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from shardtools.errors import OptionError
from shardtools.evaluation.model_facts import ModelFacts
from shardtools.evaluation.model_options import ModelOptions
from shardtools.evaluation.protocols import PROTOCOLS
from shardtools.words import counted

Sizes = Mapping[tuple[int, int], int]
"""(Width, height) in pixels -> how many images have it."""


def check_resize(facts: ModelFacts, sizes: Sizes, *, where: str, asked: bool, force: bool = False) -> ModelFacts:
    """How a model sees the images of a dataset: as its facts say, or as they are where they were cut out already.

    Args:
        facts: With the preprocessing that is wanted.
        sizes: Of the dataset's images.
        where: Names the dataset in the message.
        asked: Whether somebody asked for this preprocessing; else it is the model's own, and squares of `image_size`
            are taken as they are instead.
        force: Whether it is done in any case.

    Returns:
        The facts, or, for squares of `image_size`, those of taking them whole.

    Raises:
        OptionError: Most images are squares smaller than `resize`, and would be enlarged and cut.
    """
    if facts.crop != "center" or facts.resize == facts.image_size:
        # Nothing is cut off a square.
        return facts
    total = sum(sizes.values())
    squares = {width: number for (width, height), number in sizes.items() if width == height < facts.resize}
    if not asked and not force and squares.get(facts.image_size, 0) == total > 0:
        return replace(facts, crop="resize", resize=facts.image_size)
    if force or 2 * sum(squares.values()) <= total:
        return facts
    side = max(squares, key=lambda side: squares[side])
    raise OptionError(
        f"{where}: {counted(squares[side], 'image')} of {total} are {side} x {side} pixels, so they were cut out "
        f"already, and {facts.name} would enlarge them to {facts.resize} and cut {facts.image_size} out again "
        "(published figures differ by 1.5 points for that alone): --crop resize takes them whole, --force-resize cuts "
        "them all the same"
    )


def check_files(options: ModelOptions, sizes: Sizes, *, where: str) -> None:
    """Refuses photographs where a protocol takes files as they are: they would be squeezed into its square.

    Args:
        options: With or without a protocol.
        sizes: Of the dataset's images.
        where: Names the dataset in the message.

    Raises:
        OptionError: An image has another size than the protocol's files, or the protocol does not have the model.
    """
    if options.protocol is None or options.protocol_set is None:
        return
    side = PROTOCOLS[options.protocol].step(options.model, options.protocol_set).files
    others = sum(number for size, number in sizes.items() if side is not None and size != (side, side))
    if others:
        raise OptionError(
            f"{where}: protocol {options.protocol} takes the files of {options.protocol_set} as they are, squares of "
            f"{side} pixels, found {counted(others, 'image')} of {sum(sizes.values())} of another size: leave "
            "--protocol out, or give the set as it is published"
        )


def image_sizes(dataset: str, split: str | None = None) -> dict[tuple[int, int], int]:
    """The sizes of a dataset's images, by its manifest.

    Args:
        dataset: Folder or s3:// address.
        split: Only this split; `None` takes all.

    Raises:
        DatasetError: It is not finished, or damaged.
    """
    from shardtools.sql import query

    found = query(
        "select width, height, count(*) as images from samples where status = 'ok' and width is not null "
        "and ($split is null or split = $split) group by width, height",
        (dataset,),
        {"split": split},
    )
    return {(row["width"], row["height"]): row["images"] for row in found.to_pylist()}
