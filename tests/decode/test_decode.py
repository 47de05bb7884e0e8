"""Decoding as the package offers it: geometry, the Pillow path, the choice between the two, and refusals."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from shardtools.decode import (
    ColorOperation,
    Colors,
    DecodeOptions,
    Decoder,
    DecodeStatus,
    center_windows,
    native,
    whole_crops,
)
from shardtools.errors import OptionError
from tests.helpers import jpeg_files

BACKENDS = ("native", "pillow")


def decoder(backend: str, **options: object) -> Decoder:
    return Decoder(DecodeOptions(backend=backend, **options))  # type: ignore[arg-type]


def decode_one(
    decoder: Decoder, image: bytes, crop: tuple[int, ...], size: tuple[int, int], **rest: object
) -> tuple[DecodeStatus, np.ndarray]:
    out = np.full((1, size[1], size[0], 3), 77, np.uint8)
    statuses = decoder.decode_batch([image], np.array([crop]), None, out, **rest)  # type: ignore[arg-type]
    return DecodeStatus(int(statuses[0])), out[0]


# --- geometry


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(131, 97), (90, 200), (64, 64)])
def test_center_windows_are_resize_then_center_crop(backend: str, size: tuple[int, int]) -> None:
    image = jpeg_files.photo(*size)
    content = jpeg_files.save(image, subsampling=0, quality=95)
    crops, windows = center_windows(np.array([size]), resize=48, size=40)
    status, made = decode_one(decoder(backend), content, tuple(crops[0]), (40, 40), windows=windows)

    shorter = min(size)
    full = tuple(48 if side == shorter else int(48 * side / shorter) for side in size)
    # Columns first, which Pillow 13 and later do not do for every shape.
    whole = Image.open(io.BytesIO(content)).resize((full[0], size[1]), Image.Resampling.BILINEAR)
    whole = whole.resize(full, Image.Resampling.BILINEAR)
    left, top = round((full[0] - 40) / 2), round((full[1] - 40) / 2)
    assert status is DecodeStatus.OK
    assert (made == np.asarray(whole.crop((left, top, left + 40, top + 40)))).all()


def test_geometry_refuses_what_makes_no_crop() -> None:
    sizes = np.array([[10, 10]])
    with pytest.raises(OptionError, match="size: expected 1 to 32"):
        center_windows(sizes, resize=32, size=40)
    with pytest.raises(OptionError, match="sizes: expected"):
        whole_crops(np.array([[0, 4]]))


# --- both paths


@pytest.mark.parametrize("interpolation", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_crop_is_what_pillow_makes_of_it(backend: str, interpolation: str) -> None:
    content = jpeg_files.save(jpeg_files.photo(131, 97), quality=90)
    filters = {"area": "BOX", "bilinear": "BILINEAR", "bicubic": "BICUBIC"}
    status, made = decode_one(decoder(backend, interpolation=interpolation), content, (21, 10, 100, 60), (31, 29))
    expected = Image.open(io.BytesIO(content)).crop((21, 10, 121, 70))
    expected = expected.resize((31, 29), Image.Resampling[filters[interpolation]])
    assert status is DecodeStatus.OK
    assert (made == np.asarray(expected)).all()


def test_other_formats_come_through_pillow_into_the_same_batch() -> None:
    image = jpeg_files.photo(60, 40)
    alpha = Image.fromarray(image)
    alpha.putalpha(120)
    palette = Image.fromarray(image).quantize(16)
    palette.info["transparency"] = bytes(range(16))
    deep = Image.fromarray((image[..., 0].astype(np.uint16) << 8) | 5)
    images = [
        jpeg_files.save(image),
        jpeg_files.save(image, "PNG"),
        jpeg_files.save(alpha, "PNG"),
        jpeg_files.save(palette, "PNG", transparency=bytes(range(16))),
        jpeg_files.save(deep, "PNG"),
        jpeg_files.save(image, "WEBP", lossless=True),
        b"neither",
    ]
    out = np.full((7, 40, 60, 3), 9, np.uint8)
    statuses = decoder("native").decode_batch(images, np.array([[0, 0, 60, 40]] * 7), None, out)
    assert statuses.tolist() == [DecodeStatus.OK] * 6 + [DecodeStatus.NOT_AN_IMAGE]
    assert (out[1] == image).all()
    assert (out[2] == image).all()
    assert (out[3] == np.asarray(palette.convert("RGBA"))[..., :3]).all()
    assert (out[4] == image[..., :1]).all()
    assert (out[5] == image).all()
    assert (out[6] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_failure_is_a_status_and_zeros(backend: str) -> None:
    good = jpeg_files.save(jpeg_files.photo(64, 48))
    both = decoder(backend, max_pixels=64 * 48)
    cases = {
        b"": DecodeStatus.NOT_AN_IMAGE,
        b"\xff\xd8\xff": {"native": DecodeStatus.TRUNCATED, "pillow": DecodeStatus.NOT_AN_IMAGE}[backend],
        good[: len(good) // 2]: DecodeStatus.TRUNCATED,
        jpeg_files.save(jpeg_files.photo(65, 48)): DecodeStatus.BAD_SIZE,
        jpeg_files.save(jpeg_files.photo(63, 48)): DecodeStatus.BAD_CROP,
    }
    for content, expected in cases.items():
        status, made = decode_one(both, content, (0, 0, 64, 48), (8, 8))
        assert status is expected
        assert (made == 0).all()
    for crop in ((0, 0, 0, 5), (-1, 0, 5, 5), (60, 0, 5, 5), (0, 0, 2**31 - 1, 1), (5, 5, -2, 3)):
        assert decode_one(both, good, crop, (8, 8))[0] is DecodeStatus.BAD_CROP


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_come_from_headers(backend: str) -> None:
    images = [jpeg_files.save(jpeg_files.photo(31, 17)), jpeg_files.save(jpeg_files.photo(9, 5), "PNG"), b"no"]
    sizes, statuses = decoder(backend).sizes(images)
    assert sizes.tolist() == [[31, 17], [9, 5], [0, 0]]
    assert statuses.tolist() == [DecodeStatus.OK, DecodeStatus.OK, DecodeStatus.NOT_AN_IMAGE]


@pytest.mark.parametrize("backend", BACKENDS)
def test_operations_run_in_order_after_the_flip(backend: str) -> None:
    content = jpeg_files.save(jpeg_files.photo(40, 30), subsampling=0, quality=95)
    steps = [(ColorOperation.BLUR, 1.3), (ColorOperation.SOLARIZE, 128.0), (ColorOperation.GRAYSCALE, 0.0)]
    colors = Colors(
        operations=np.array([[[int(operation) for operation, _ in steps]]], np.uint8),
        values=np.array([[[value for _, value in steps]]]),
    )
    out = np.zeros((1, 30, 40, 3), np.uint8)
    statuses = decoder(backend).decode_batch(
        [content], np.array([[0, 0, 40, 30]]), np.array([True]), out, colors=colors
    )
    expected = ImageOps.mirror(Image.open(io.BytesIO(content))).filter(ImageFilter.GaussianBlur(1.3))
    expected = ImageOps.solarize(expected, 128).convert("L").convert("RGB")
    assert statuses.tolist() == [DecodeStatus.OK]
    assert (out[0] == np.asarray(expected)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_crops_of_several_sizes_come_from_one_image(backend: str) -> None:
    contents = [jpeg_files.save(jpeg_files.photo(90, 70, seed)) for seed in range(3)]
    rng = np.random.default_rng(1)
    crops = np.concatenate([rng.integers(0, 40, (3, 5, 2)), rng.integers(5, 30, (3, 5, 2))], axis=2)
    flips = rng.integers(0, 2, (3, 5))
    outs = [np.zeros((3, 1, 32, 30, 3), np.uint8), np.zeros((3, 4, 12, 13, 3), np.uint8)]
    both = decoder(backend, num_threads=3)
    assert (both.decode_crops(contents, crops, flips, outs) == 0).all()
    for image in range(3):
        for crop in range(5):
            target = outs[0][image, 0] if crop == 0 else outs[1][image, crop - 1]
            alone = np.zeros((1, *target.shape), np.uint8)
            both.decode_batch([contents[image]], crops[image, crop][None], flips[image, crop][None], alone)
            assert (alone[0] == target).all()


def test_options_and_arrays_that_do_not_fit_are_refused() -> None:
    both = decoder("native")
    content = jpeg_files.save(jpeg_files.photo(8, 8))
    out = np.zeros((1, 4, 4, 3), np.uint8)
    crops = np.array([[0, 0, 8, 8]])
    with pytest.raises(OptionError, match="num_threads: expected 1 to 1024, found 0"):
        DecodeOptions(num_threads=0)
    with pytest.raises(OptionError, match="interpolation: expected one of area"):
        DecodeOptions(interpolation="lanczos")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="max_pixels: expected"):
        DecodeOptions(max_pixels=0)
    with pytest.raises(OptionError, match="crops: expected integers"):
        both.decode_batch([content], crops.astype(float), None, out)
    with pytest.raises(OptionError, match="flips: expected"):
        both.decode_batch([content], crops, np.zeros(2), out)
    with pytest.raises(OptionError, match="expected contiguous images"):
        both.decode_batch([content], crops, None, np.zeros((1, 4, 8, 3), np.uint8)[:, :, ::2])
    with pytest.raises(OptionError, match="read-only"):
        both.decode_batch([content], crops, None, np.broadcast_to(out, out.shape))
    with pytest.raises(OptionError, match="windows: expected"):
        both.decode_batch([content], crops, None, out, windows=np.array([[4, 4, 1, 0]]))
    with pytest.raises(OptionError, match=r"expected -0.5 to 0.5 for hue, found 0.7 for image, crop, step \(0, 0, 1\)"):
        Colors(operations=np.array([[[5, 4]]], np.uint8), values=np.array([[[0, 0.7]]]))
    with pytest.raises(OptionError, match="found nan"):
        Colors(operations=np.array([[[6]]], np.uint8), values=np.array([[[np.nan]]]))
    with pytest.raises(OptionError, match="codes of ColorOperation, found 9"):
        Colors(operations=np.array([[[9]]], np.uint8), values=np.zeros((1, 1, 1)))


def test_without_the_core_pillow_serves_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    native.load_core.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "shardtools._native.core", None)
    try:
        first, second = Decoder(), Decoder()
        with pytest.raises(OptionError, match="backend: expected the native core"):
            decoder("native")
    finally:
        monkeypatch.undo()
        native.load_core.cache_clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "install g++ and libjpeg62-turbo-dev" in caplog.text
    assert first.facts()["decoder"] == second.facts()["decoder"] == "pillow"
    assert decode_one(first, jpeg_files.save(jpeg_files.photo(8, 8)), (0, 0, 8, 8), (8, 8))[0] is DecodeStatus.OK


def test_facts_and_stages_are_those_of_the_decoder() -> None:
    both = decoder("native", interpolation="area", allow_scaled=True)
    facts = both.facts()
    assert facts["decoder"] == "native"
    assert str(facts["library"]).startswith("libjpeg")
    assert (facts["interpolation"], facts["allow_scaled"], facts["dct_method"]) == ("area", True, "islow")
    decode_one(both, jpeg_files.save(jpeg_files.photo(64, 64)), (0, 0, 64, 64), (32, 32))
    stages = both.stage_seconds()
    assert stages.decode > 0
    assert stages.resize > 0


def test_an_empty_batch_is_no_error() -> None:
    for backend in BACKENDS:
        statuses = decoder(backend).decode_batch([], np.zeros((0, 4), int), None, np.zeros((0, 8, 8, 3), np.uint8))
        assert statuses.shape == (0,)


def test_several_threads_may_share_a_decoder() -> None:
    contents = [jpeg_files.save(jpeg_files.photo(80, 60, seed)) for seed in range(6)]
    crops = np.array([[3, 4, 70, 50]] * 6)
    both = decoder("native", num_threads=2)
    expected = np.zeros((6, 24, 24, 3), np.uint8)
    both.decode_batch(contents, crops, None, expected)
    outs = [np.zeros_like(expected) for _ in range(4)]

    def work(out: np.ndarray) -> None:
        for _ in range(5):
            out[...] = 0
            both.decode_batch(contents, crops, None, out)

    threads = [threading.Thread(target=work, args=(out,)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((out == expected).all() for out in outs)
