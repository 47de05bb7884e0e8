"""What is recorded as an image is what a loader delivers, with the native core and without it."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from shardtools.decode import DecodeOptions, Decoder, DecodeStatus, judging
from shardtools.decode.jpeg import MAX_SCANS, has_too_many_scans, lacks_data
from shardtools.sources import Rejection, check_image
from tests.helpers.jpeg_files import odd_kinds, photo, pillow_kinds, save

END = b"\xff\xd9"


@pytest.fixture(params=["native", "pillow"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Judges with one of the two."""
    decoder = Decoder(DecodeOptions(allow_scaled=True, interpolation="area", backend=request.param))
    monkeypatch.setattr(judging, "_decoder", lambda: decoder)
    yield request.param


def delivers(content: bytes, backend: str) -> bool:
    """Whether a decoder makes a picture of it."""
    decoder = Decoder(DecodeOptions(backend=backend))  # type: ignore[arg-type]
    sizes, statuses = decoder.sizes([content])
    if statuses[0] != DecodeStatus.OK:
        return False
    crops = np.concatenate([np.zeros((1, 2), np.int32), sizes], axis=1)
    return bool(decoder.decode_batch([content], crops, None, np.empty((1, 8, 8, 3), np.uint8))[0] == DecodeStatus.OK)


def cut(content: bytes, share: float) -> bytes:
    """A JPEG that ends early, with its end marker put back."""
    kept = content[: int(len(content) * share)].rstrip(b"\xff")
    return kept + END


def taller(content: bytes, factor: int) -> bytes:
    """A JPEG whose header promises more rows than there are."""
    start = next(content.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in content)
    height = struct.unpack_from(">H", content, start + 5)[0]
    return content[: start + 5] + struct.pack(">H", height * factor) + content[start + 7 :]


@pytest.mark.parametrize("size", [(65, 48), (16, 16), (7, 3), (1, 1)])
def test_whole_jpegs_of_every_kind_are_sound(backend: str, size: tuple[int, int]) -> None:
    for name, content in {**pillow_kinds(*size), **odd_kinds(*size)}.items():
        assert not lacks_data(content), name
        assert not isinstance(check_image(content, decode=True), Rejection), name


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_jpegs_that_end_early_are_rejected(backend: str, share: float) -> None:
    kinds = {name: one for name, one in pillow_kinds(160, 120).items() if not name.startswith("progressive")}
    for name, content in kinds.items():
        found = check_image(cut(content, share), decode=True)
        assert isinstance(found, Rejection) and found.status == "undecodable", name
        assert "\n" not in found.reason
        assert not delivers(cut(content, share), backend), name


def test_headers_that_promise_more_are_rejected(backend: str) -> None:
    for name in ("444", "420", "grey", "restarts", "progressive 420"):
        content = taller(pillow_kinds(160, 120)[name], 3)
        found = check_image(content, decode=True)
        assert isinstance(found, Rejection), name
        assert not delivers(content, backend), name


@pytest.mark.parametrize("mode", [np.float32, np.int32])
@pytest.mark.parametrize("decode", [True, False])
def test_pixels_of_32_bits_are_rejected(backend: str, mode: type, decode: bool) -> None:
    content = save(Image.fromarray(photo(20, 10)[..., 0].astype(mode)), "TIFF")
    found = check_image(content, decode=decode)
    assert isinstance(found, Rejection) and "32 bits" in found.reason
    assert not delivers(content, backend)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP"])
def test_other_formats_are_judged_as_they_are_delivered(backend: str, image_format: str) -> None:
    whole = save(photo(40, 30), image_format)
    for content in (whole, whole[: len(whole) // 2], whole[:-3]):
        is_sound = not isinstance(check_image(content, decode=True), Rejection)
        assert is_sound == delivers(content, backend)


def test_more_pixels_than_are_decoded_are_rejected_by_the_header() -> None:
    stream = io.BytesIO()
    Image.new("1", (30_000, 3_000)).save(stream, "PNG")
    for decode in (True, False):
        found = check_image(stream.getvalue(), decode=decode)
        assert isinstance(found, Rejection) and "30000 x 3000 pixels" in found.reason


def scan_bomb(num_scans: int, side: int) -> bytes:
    """A progressive JPEG that says of every block, again and again, that nothing changes."""
    content = save(photo(16, 16)[..., 0], progressive=True)
    start = content.index(b"\xff\xc2")
    frame = content[: start + 5] + struct.pack(">HH", side, side) + content[start + 9 :]
    scans = [place for place in range(len(frame)) if frame[place : place + 2] == b"\xff\xda"]
    # The last one refines; repeated, it is another pass over all blocks.
    return frame[:-2] + frame[scans[-1] : -2] * num_scans + END


def test_passes_without_end_are_bounded(backend: str) -> None:
    content = scan_bomb(250, 8_000)
    assert len(content) < 60_000
    started = time.perf_counter()
    assert isinstance(check_image(content, decode=True), Rejection)
    assert not delivers(content, backend)
    # Seconds without a bound; it takes milliseconds, or with the native core those of the first passes.
    assert time.perf_counter() - started < 2


def test_scans_are_counted_up_to_the_limits() -> None:
    assert not has_too_many_scans(scan_bomb(10, 8_000), 1 << 26)
    assert not has_too_many_scans(scan_bomb(200, 16), 256)
    assert has_too_many_scans(scan_bomb(MAX_SCANS, 16), 256)
    assert not has_too_many_scans(b"\x89PNG", 1 << 30)
