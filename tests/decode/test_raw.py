"""Images that are rows of pixels: cropped and resized as encoded ones are, and never read past their end."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools._native import core
from shardtools.decode import DecodeOptions, Decoder, DecodeStatus
from shardtools.errors import OptionError
from tests.helpers.jpeg_files import photo, save

NATIVE = Decoder(DecodeOptions(backend="native", num_threads=2))
PILLOW = Decoder(DecodeOptions(backend="pillow"))
LEVELS = ("portable", "avx2", "avx512vnni")


def levels() -> list[str]:
    """Those that this processor has."""
    best, found = core.simd(), []
    for level in LEVELS:
        try:
            core.simd(level)
        except ValueError:
            continue
        found.append(level)
    core.simd(best)
    return found


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    data=st.data(),
)
@settings(max_examples=40)
def test_pixels_are_resized_as_by_pillow(width: int, height: int, size: tuple[int, int], data: st.DataObject) -> None:
    pixels = photo(width, height)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    crop = [left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))]
    crops, flips = np.array([[crop]] * 2), np.array([[False], [True]])
    images = [pixels.tobytes(), save(pixels, "PNG")]
    raw_sizes = np.array([[width, height], [0, 0]])
    made = []
    for decoder in (NATIVE, PILLOW):
        out = np.empty((2, 1, *size, 3), np.uint8)
        assert not decoder.decode_crops(images, crops, flips, [out], raw_sizes=raw_sizes).any()
        made.append(out)
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0][0, 0], made[0][1, 0, :, ::-1])
    part = Image.fromarray(pixels).crop((left, top, left + crop[2], top + crop[3]))
    expected = part.resize((size[1], crop[3]), Image.Resampling.BILINEAR).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(made[0][0, 0], np.asarray(expected))


@pytest.mark.parametrize("level", levels())
def test_nothing_is_read_behind_the_last_pixel(level: str) -> None:
    """The pixels end where a page ends behind which reading ends the process."""
    best = core.simd(), core.simd(level)
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 9 * page)
    system = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert system.mprotect(ctypes.c_void_p(address + 8 * page), ctypes.c_size_t(page), 0) == 0
    try:
        for width, height in [(1, 1), (2, 3), (3, 1), (5, 40), (21, 2), (22, 9), (64, 30), (100, 100)]:
            pixels = photo(width, height).tobytes()
            place = memoryview(memory)[8 * page - len(pixels) : 8 * page]
            place[:] = pixels
            crops = np.array([[[0, 0, width, height], [width - 1, height - 1, 1, 1]]])
            out, expected = np.empty((1, 2, 7, 9, 3), np.uint8), np.empty((1, 2, 7, 9, 3), np.uint8)
            sizes = np.array([[width, height]])
            assert not NATIVE.decode_crops([place], crops, None, [out], raw_sizes=sizes).any()
            assert not PILLOW.decode_crops([pixels], crops, None, [expected], raw_sizes=sizes).any()
            assert np.array_equal(out, expected)
    finally:
        core.simd(best[0])
        system.mprotect(ctypes.c_void_p(address + 8 * page), ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


def test_wrong_lengths_and_sizes_are_statuses() -> None:
    pixels = photo(8, 6).tobytes()
    images = [pixels, pixels[:-1], pixels + b"\0", b"", pixels, pixels]
    sizes = np.array([[8, 6], [8, 6], [8, 6], [8, 6], [6, 8], [9, 6]])
    crops = np.tile(np.array([0, 0, 7, 5]), (6, 1, 1))
    for decoder in (NATIVE, PILLOW):
        out = np.ones((6, 1, 4, 4, 3), np.uint8)
        statuses = decoder.decode_crops(images, crops, None, [out], raw_sizes=sizes)
        assert statuses.tolist() == [
            DecodeStatus.OK,
            DecodeStatus.TRUNCATED,
            DecodeStatus.CORRUPT,
            DecodeStatus.TRUNCATED,
            DecodeStatus.BAD_CROP,
            DecodeStatus.TRUNCATED,
        ]
        assert out[0].any()
        assert not out[1:].any()
    small = Decoder(DecodeOptions(max_pixels=47))
    assert small.decode_crops([pixels], crops[:1], None, [out[:1]], raw_sizes=sizes[:1]).tolist() == [
        DecodeStatus.BAD_SIZE
    ]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (np.zeros((1, 3), int), r"raw_sizes: expected integers \[1, 2\]"),
        (np.zeros((1, 2)), "found float64"),
        (np.array([[-1, 4]]), "raw_sizes: expected sides of 1 to 65535"),
        (np.array([[0, 4]]), "or 0 and 0 for an encoded image"),
        (np.array([[70_000, 4]]), "raw_sizes: expected sides of 1 to 65535"),
    ],
)
def test_impossible_sizes_are_refused(sizes: np.ndarray, message: str) -> None:
    out = np.empty((1, 1, 4, 4, 3), np.uint8)
    with pytest.raises(OptionError, match=message):
        NATIVE.decode_crops([b"x"], np.array([[[0, 0, 1, 1]]]), None, [out], raw_sizes=sizes)
