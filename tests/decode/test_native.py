"""The native core against full decodes and Pillow: the same pixels, whatever the file, the crop, the processor."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools._native import core
from shardtools.decode import ColorOperation, Colors, DecodeOptions, Decoder, DecodeStatus
from shardtools.decode.pillow import _OPERATIONS
from tests.helpers import jpeg_files

SIZES = [(131, 97), (33, 17), (8, 8), (1, 1)]
LEVELS = ["portable", "avx2", "avx512vnni"]
NATIVE = Decoder(DecodeOptions(backend="native"))
PILLOW = Decoder(DecodeOptions(backend="pillow"))


@pytest.fixture
def restored_simd() -> Iterator[None]:
    best = core.simd()
    yield
    core.simd(best)


def full_decode(decoder: Decoder, content: bytes, width: int, height: int) -> np.ndarray:
    out = np.zeros((1, height, width, 3), np.uint8)
    statuses = decoder.decode_batch([content], np.array([[0, 0, width, height]]), None, out)
    assert statuses.tolist() == [DecodeStatus.OK]
    return out[0]


def random_crops(rng: np.random.Generator, width: int, height: int, count: int) -> np.ndarray:
    wide, high = rng.integers(1, width + 1, count), rng.integers(1, height + 1, count)
    return np.stack([rng.integers(0, width - wide + 1), rng.integers(0, height - high + 1), wide, high], axis=1)


@pytest.mark.parametrize("size", SIZES)
def test_a_crop_has_the_pixels_of_a_full_decode_and_of_pillow(size: tuple[int, int]) -> None:
    width, height = size
    rng = np.random.default_rng(width)
    for name, content in {**jpeg_files.pillow_kinds(*size), **jpeg_files.odd_kinds(*size)}.items():
        full = full_decode(NATIVE, content, *size)
        assert (full == full_decode(PILLOW, content, *size)).all(), name
        for left, top, wide, high in random_crops(rng, width, height, 60).tolist():
            out = np.zeros((1, high, wide, 3), np.uint8)
            statuses = NATIVE.decode_batch([content], np.array([[left, top, wide, high]]), None, out)
            assert statuses.tolist() == [DecodeStatus.OK], name
            assert (out[0] == full[top : top + high, left : left + wide]).all(), (name, left, top, wide, high)


@pytest.mark.parametrize("interpolation", ["area", "bilinear", "bicubic"])
@pytest.mark.usefixtures("restored_simd")
def test_every_processor_resizes_as_pillow_does(interpolation: str) -> None:
    content = jpeg_files.save(jpeg_files.photo(301, 223), quality=90)
    options = {"interpolation": interpolation}
    pillow = Decoder(DecodeOptions(backend="pillow", **options))  # type: ignore[arg-type]
    native = Decoder(DecodeOptions(backend="native", **options))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    levels = [level for level in LEVELS if _processor_has(level)]
    assert levels[0] == "portable"
    for crop in [*random_crops(rng, 301, 223, 25), np.array([0, 0, 301, 223]), np.array([7, 9, 1, 1])]:
        size = rng.integers(1, 120, 2).tolist() if crop[2] > 1 else [200, 70]
        full = [size[0] + int(rng.integers(0, 50)), size[1] + int(rng.integers(0, 50))]
        window = [*full, rng.integers(0, full[0] - size[0] + 1), rng.integers(0, full[1] - size[1] + 1)]
        arguments = {"crops": np.array([crop] * 2), "flips": np.array([0, 1]), "windows": np.array([window] * 2)}
        expected = np.zeros((2, size[1], size[0], 3), np.uint8)
        assert not pillow.decode_batch([content] * 2, out=expected, **arguments).any()
        for level in levels:
            core.simd(level)
            out = np.zeros_like(expected)
            assert not native.decode_batch([content] * 2, out=out, **arguments).any()
            assert (out == expected).all(), (level, crop, size, window)


def _processor_has(level: str) -> bool:
    try:
        return bool(core.simd(level) == level)
    except ValueError:
        return False


@pytest.mark.parametrize("operation", list(ColorOperation))
def test_color_operations_have_the_results_of_pillow(operation: ColorOperation) -> None:
    rng = np.random.default_rng(int(operation))
    values: dict[ColorOperation, list[float]] = {
        ColorOperation.HUE: [0, 0.1, -0.1, 0.5, -0.5, *rng.uniform(-0.5, 0.5, 4)],
        ColorOperation.BLUR: [0, 0.1, 0.5, 1.4, 1.5, 2, 10, 40, *rng.uniform(0.1, 2, 6)],
        ColorOperation.SOLARIZE: [0, 1, 128, 200.5, 255, 256],
    }
    for size in ((96, 96), (37, 53), (2, 70), (1, 1)):
        image = jpeg_files.photo(*size, seed=size[0])
        for value in values.get(operation, [0, 0.5, 1, 1.4, 5, *rng.uniform(0.2, 1.8, 5)]):
            expected = np.asarray(_OPERATIONS[operation](Image.fromarray(image), float(value)))
            assert (_recolor(image, operation, value) == expected).all(), (size, value)


def test_hue_turns_as_in_pillow_for_colors_all_over_the_cube() -> None:
    # Every fifth level of each channel, and all levels in a plane where the channels meet.
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(52, -1, 3)
    all_levels = np.arange(256, dtype=np.uint8)
    red, green = np.meshgrid(all_levels, all_levels, indexing="ij")
    plane = np.stack([red, green, np.minimum(red, green) // 2], axis=-1)
    for image in (cube, plane):
        for value in (0.0, 0.1, -0.37, 0.5):
            expected = np.asarray(_OPERATIONS[ColorOperation.HUE](Image.fromarray(image), value))
            assert (_recolor(image, ColorOperation.HUE, value) == expected).all()


def _recolor(image: np.ndarray, operation: ColorOperation, value: float) -> np.ndarray:
    target = image[None, None].copy()
    core.recolor(target, np.full((1, 1, 1), operation, np.uint8), np.full((1, 1, 1), float(value)))
    return target[0, 0]


def test_scaled_decoding_is_that_of_pillows_draft_and_near_the_unscaled() -> None:
    import io

    image = jpeg_files.photo(320, 256)
    scaled = Decoder(DecodeOptions(backend="native", allow_scaled=True))
    for subsampling in (0, 1, 2):
        content = jpeg_files.save(image, subsampling=subsampling, quality=90)
        for denominator, size in ((8, 16), (4, 32), (2, 64)):
            # 160 or more source pixels for 16, 32 or 64: the largest denominator that leaves enough.
            crop = np.array([[64, 32, 8 * 16, 8 * 16]])
            out = np.zeros((1, size, size, 3), np.uint8)
            assert not scaled.decode_batch([content], crop, None, out).any()
            with Image.open(io.BytesIO(content)) as draft:
                draft.draft("RGB", (320 // denominator, 256 // denominator))
                expected = np.asarray(draft)
            top, left = 32 // denominator, 64 // denominator
            assert (out[0] == expected[top : top + size, left : left + size]).all(), (subsampling, denominator)
        # A crop that no denominator divides lies where it should: three levels are four source pixels of this ramp.
        y, x = np.mgrid[0:256, 0:320]
        ramp = jpeg_files.save(np.stack([x * 0.79, y * 0.79, (x + y) * 0.4], axis=2).astype(np.uint8), quality=95)
        exact, near = np.zeros((2, 1, 21, 23, 3), np.uint8)
        crop = np.array([[11, 7, 301, 222]])
        assert not NATIVE.decode_batch([ramp], crop, None, exact).any()
        assert not scaled.decode_batch([ramp], crop, None, near).any()
        assert np.abs(exact.astype(int) - near).max() <= 3


def test_damage_is_a_status_unless_it_is_tolerated() -> None:
    content = jpeg_files.save(jpeg_files.photo(128, 128), quality=90)
    scan = content.index(b"\xff\xda")
    broken = bytearray(content)
    broken[scan + 700 : scan + 720] = bytes([0xFF, 0xD9] * 10)
    tolerant = Decoder(DecodeOptions(backend="native", tolerate_damage=True))
    for damaged, expected in ((content[: scan + 900], DecodeStatus.TRUNCATED), (bytes(broken), DecodeStatus.CORRUPT)):
        out = np.full((1, 64, 64, 3), 3, np.uint8)
        assert NATIVE.decode_batch([damaged], np.array([[0, 0, 128, 128]]), None, out).tolist() == [expected]
        assert (out == 0).all()
        assert tolerant.decode_batch([damaged], np.array([[0, 0, 128, 128]]), None, out).tolist() == [DecodeStatus.OK]
        assert out.any()


def test_a_crop_above_the_damage_is_whole() -> None:
    content = jpeg_files.save(jpeg_files.photo(128, 128), quality=90)
    cut = content[: len(content) * 3 // 4]
    out = np.zeros((2, 30, 128, 3), np.uint8)
    statuses = NATIVE.decode_batch([content, cut], np.array([[0, 5, 128, 30]] * 2), None, out)
    assert statuses.tolist() == [DecodeStatus.OK] * 2
    assert (out[0] == out[1]).all()


def test_images_may_lie_apart_and_bytes_may_be_views() -> None:
    content = jpeg_files.save(jpeg_files.photo(40, 30))
    shard = memoryview(b"xx" + content + b"yy")
    backing = np.full((3, 2, 16, 20, 3), 200, np.uint8)
    statuses = NATIVE.decode_batch([shard[2:-2]] * 3, np.array([[0, 0, 40, 30]] * 3), None, backing[:, 1])
    assert statuses.tolist() == [DecodeStatus.OK] * 3
    assert (backing[:, 0] == 200).all()
    assert (backing[0, 1] == backing[2, 1]).all()
    assert (backing[0, 1] != 200).any()


@given(seed=st.integers(0, 2**32 - 1), kind=st.integers(0, 19))
@settings(max_examples=150)
def test_mutated_files_end_in_a_status(seed: int, kind: int) -> None:
    kinds = [*jpeg_files.pillow_kinds(33, 17).values(), *jpeg_files.odd_kinds(33, 17).values()]
    rng = np.random.default_rng(seed)
    content = bytearray(kinds[kind % len(kinds)])
    for at in rng.integers(0, len(content), 4):
        content[at] = rng.integers(0, 256)
    cut = bytes(content[: len(content) - int(rng.integers(0, 20))])
    tolerant = Decoder(DecodeOptions(backend="native", tolerate_damage=bool(seed % 2), max_pixels=1 << 20))
    out = np.full((1, 9, 11, 3), 5, np.uint8)
    status = int(tolerant.decode_batch([cut], random_crops(rng, 33, 17, 1), None, out)[0])
    assert status in set(DecodeStatus)
    assert status == DecodeStatus.OK or (out == 0).all()


def test_a_header_that_promises_too_much_costs_no_memory() -> None:
    content = bytearray(jpeg_files.save(jpeg_files.photo(33, 17), progressive=True))
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    out = np.zeros((1, 8, 8, 3), np.uint8)
    assert NATIVE.decode_batch([bytes(content)], np.array([[0, 0, 8, 8]]), None, out).tolist() == [
        DecodeStatus.BAD_SIZE
    ]


def _decode_in_child(content: bytes, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    queue.put(full_decode(NATIVE, content, 40, 30))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_decoder_goes_on_in_a_forked_child() -> None:
    content = jpeg_files.save(jpeg_files.photo(40, 30))
    expected = full_decode(NATIVE, content, 40, 30)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_decode_in_child, args=(content, queue))
    child.start()
    assert (queue.get(timeout=60) == expected).all()
    child.join()


def test_the_core_refuses_arrays_that_are_not_as_documented() -> None:
    pool = core.make_pool(1)
    content = jpeg_files.save(jpeg_files.photo(8, 8))
    crops, flips = np.array([[[0, 0, 8, 8]]], np.int32), np.zeros((1, 1), np.bool_)
    target, statuses, times = np.zeros((1, 1, 4, 4, 3), np.uint8), np.zeros(1, np.int32), np.zeros(3, np.int64)
    good = [pool, [content], crops, None, flips, [target], None, None, statuses, times, 1, False, False, 10_000]
    core.decode(*good)
    assert statuses[0] == DecodeStatus.OK
    operations, values = np.full((1, 1, 1), 6, np.uint8), np.full((1, 1, 1), np.inf)
    wrong = {
        1: [(content,), ["text"]],
        2: [crops.astype(np.int64), crops[0], np.zeros((1, 2, 4), np.int32)],
        3: [np.array([[[4, 4, 1, 0]]], np.int32), np.array([[[0, 4, 0, 0]]], np.int32), crops.astype(np.float32)],
        4: [np.zeros((1, 2), np.bool_), np.zeros((1, 1))],
        5: [[target[..., ::-1]], [target.astype(np.int8)], [np.broadcast_to(target, target.shape)], []],
        6: [np.zeros((1, 1, 1))],
        8: [np.zeros(2, np.int32), np.zeros(1, np.int64)],
        9: [np.zeros(2, np.int64)],
        10: [-1, 3],
        13: [0, 1 << 40],
    }
    for position, replacements in wrong.items():
        for replacement in replacements:
            arguments = list(good)
            arguments[position] = replacement
            with pytest.raises((TypeError, ValueError, BufferError)):
                core.decode(*arguments)
    with pytest.raises(ValueError, match="values: expected finite"):
        core.decode(*good[:6], operations, values, *good[8:])
    with pytest.raises(ValueError, match="num_threads"):
        core.make_pool(0)


def test_colors_reach_each_crop_of_each_image() -> None:
    contents = [jpeg_files.save(jpeg_files.photo(40, 30, seed)) for seed in range(2)]
    crops = np.array([[[0, 0, 40, 30], [5, 5, 20, 20]]] * 2)
    outs = [np.zeros((2, 1, 30, 40, 3), np.uint8), np.zeros((2, 1, 16, 16, 3), np.uint8)]
    plain = [np.zeros_like(out) for out in outs]
    operations = np.zeros((2, 2, 2), np.uint8)
    operations[1, 1] = [ColorOperation.SOLARIZE, ColorOperation.GRAYSCALE]
    colors = Colors(operations=operations, values=np.full((2, 2, 2), 128.0))
    assert not NATIVE.decode_crops(contents, crops, None, outs, colors=colors).any()
    assert not NATIVE.decode_crops(contents, crops, None, plain).any()
    assert (outs[0] == plain[0]).all()
    assert (outs[1][0] == plain[1][0]).all()
    assert (outs[1][1] != plain[1][1]).any()
    assert (outs[1][1, 0, ..., 0] == outs[1][1, 0, ..., 2]).all()
