"""Images encoded anew: which ones, to what, and that nothing else of them changes."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, JpegImagePlugin

from shardtools.encoding import DEFAULT_QUALITY, WRITE_MODES, EncodingOptions, encode_sample, fit_size
from shardtools.errors import OptionError
from shardtools.manifest.schema import PROVENANCE_COLUMNS
from shardtools.sample import Sample
from shardtools.sources.image.check import make_sample
from tests.helpers.pictures import drawing, encode, jpeg, rotated_jpeg


def sample_of(content: bytes, key: str = "a", **fields: Any) -> Sample:
    sample = make_sample(content, decode=True, extension="", key=key, wnid="n01440764", class_index=3)
    return dataclasses.replace(sample, **fields)


def photo(size: tuple[int, int] = (120, 80)) -> Image.Image:
    """A smooth picture with an edge, which JPEG keeps well."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    return Image.fromarray((np.stack([x, y, x > y], axis=-1) * 200 + 20).astype(np.uint8))


def noise(size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def opened(sample: Sample) -> Image.Image:
    assert sample.image_bytes is not None
    if sample.image_format == "raw":
        return Image.frombytes("RGB", (sample.width or 0, sample.height or 0), sample.image_bytes)
    image = Image.open(io.BytesIO(sample.image_bytes))
    image.load()
    return image


def far(image: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, of 255."""
    pixels = [np.asarray(one.convert("RGB"), np.float64) for one in (image, other)]
    return float(np.abs(pixels[0] - pixels[1]).mean())


BAD_OPTIONS = {
    "--max-side": {"max_side": 0},
    "--min-side": {"min_side": -1},
    "--min-side is at most": {"min_side": 300, "max_side": 200},
    "--quality": {"quality": 101},
    "--quality is 1": {"quality": 0},
    "--quality is for": {"quality": 90, "write_mode": "raw"},
    "--write-mode": {"write_mode": "png"},
    "--smart-threshold": {"smart_threshold": 5},
    "--smart-threshold is": {"smart_threshold": -5, "write_mode": "smart"},
    "--compress-probability": {"compress_probability": 0.5, "write_mode": "smart"},
    "--compress-probability is": {"compress_probability": 1.01},
    "--compress-probability is 0 to 1, found nan": {"compress_probability": float("nan")},
    "--encoding-seed": {"seed": -1},
}


@pytest.mark.parametrize("words", BAD_OPTIONS)
def test_options_are_checked(words: str) -> None:
    with pytest.raises(OptionError) as caught:
        EncodingOptions(**BAD_OPTIONS[words])  # type: ignore[arg-type]
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_settings_hold_what_changes_the_result_and_nothing_else() -> None:
    assert EncodingOptions().settings() == {}
    assert EncodingOptions(compress_probability=0, quality=50).settings() == {}
    assert EncodingOptions(seed=5).settings() == {}
    one = EncodingOptions(max_side=256, seed=5).settings()
    assert one["max_side"] == 256
    assert "encoding_seed" not in one
    assert one["image_libraries"].startswith("pillow ")
    assert EncodingOptions(write_mode="proportion", seed=5).settings()["encoding_seed"] == 5
    assert (
        EncodingOptions(write_mode="proportion").settings()
        == EncodingOptions(write_mode="proportion", compress_probability=0.5).settings()
    )
    assert json.loads(json.dumps(one)) == one


@given(
    st.integers(1, 9000),
    st.integers(1, 9000),
    st.none() | st.integers(1, 9000),
    st.none() | st.integers(1, 9000),
)
def test_sizes_keep_limits_and_proportion(width: int, height: int, max_side: int | None, min_side: int | None) -> None:
    new = fit_size(width, height, max_side=max_side, min_side=min_side)

    assert 1 <= new[0] <= width and 1 <= new[1] <= height
    if max_side is not None:
        assert max(new) <= max_side
    if min_side is not None:
        assert min(new) <= min_side or new == (width, height)
        if max_side is None:
            assert min(new) == min(min_side, width, height)
    elif max_side is not None:
        assert max(new) == min(max_side, max(width, height))
    # Each side is the exact one, rounded, and at least 1.
    scale = min(1, (max_side or 9000) / max(width, height), (min_side or 9000) / min(width, height))
    assert all(abs(side - max(1, old * scale)) <= 0.501 for side, old in ((new[0], width), (new[1], height)))
    assert fit_size(*new, max_side=max_side, min_side=min_side) == new


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, (500, 375)),
        ({"max_side": 500}, (500, 375)),
        ({"max_side": 256}, (256, 192)),
        ({"min_side": 256}, (341, 256)),
        ({"min_side": 400}, (500, 375)),
        ({"min_side": 256, "max_side": 300}, (300, 225)),
        ({"max_side": 1}, (1, 1)),
    ],
)
def test_sizes_by_hand(limits: dict[str, int], expected: tuple[int, int]) -> None:
    assert fit_size(500, 375, **limits) == expected
    assert fit_size(375, 500, **limits) == expected[::-1]


@pytest.mark.parametrize(
    "options",
    [
        EncodingOptions(),
        EncodingOptions(max_side=120),
        EncodingOptions(min_side=80),
        EncodingOptions(min_side=500, max_side=600),
        EncodingOptions(write_mode="jpg"),
        EncodingOptions(write_mode="smart", smart_threshold=120 * 80 * 3 - 1),
        EncodingOptions(write_mode="proportion", compress_probability=1),
        EncodingOptions(compress_probability=0, quality=10),
    ],
)
def test_bytes_are_kept_where_nothing_asks_for_others(options: EncodingOptions) -> None:
    sample = sample_of(encode(photo(), "JPEG", quality=80))

    assert encode_sample(sample, options) is sample


def test_a_smaller_image_says_what_it_was() -> None:
    content = encode(photo(), "JPEG", quality=80)
    sample = sample_of(content, extra_members={"txt": b"beside"}, provenance={"source_path": "a/b.jpg"})
    small = encode_sample(sample, EncodingOptions(max_side=60))

    assert (small.image_format, small.width, small.height, small.mode) == ("jpg", 60, 40, "RGB")
    assert (small.key, small.wnid, small.class_index, small.extra_members) == ("a", "n01440764", 3, {"txt": b"beside"})
    assert small.provenance == {
        "source_path": "a/b.jpg",
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "source_num_bytes": len(content),
        "source_width": 120,
        "source_height": 80,
        "jpeg_quality": DEFAULT_QUALITY,
    }
    assert set(small.provenance) <= set(PROVENANCE_COLUMNS)
    image = opened(small)
    assert image.size == (60, 40)
    assert far(image, photo().resize((60, 40), Image.Resampling.LANCZOS)) < 3
    assert JpegImagePlugin.get_sampling(image) == 2


def test_quality_is_that_of_the_new_file_and_larger_ones_are_not_kept() -> None:
    content = encode(noise(), "JPEG", quality=95)
    low = encode_sample(sample_of(content), EncodingOptions(quality=40))

    assert len(low.image_bytes or b"") < len(content)
    assert low.provenance["jpeg_quality"] == 40
    expected = Image.open(io.BytesIO(encode(noise(), "JPEG", quality=40)))
    assert opened(low).quantization == expected.quantization  # type: ignore[attr-defined]
    already_low = sample_of(encode(noise(), "JPEG", quality=20))
    assert encode_sample(already_low, EncodingOptions(quality=95)) is already_low
    # At another size the limit counts, whatever it costs.
    assert encode_sample(already_low, EncodingOptions(quality=100, max_side=63)).width == 63


def test_metadata_that_still_holds_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    content = encode(photo(), "JPEG", exif=exif, icc_profile=profile, comment=b"mine")
    small = encode_sample(sample_of(content), EncodingOptions(max_side=60))

    image = opened(small)
    assert image.size == (60, 40)  # not turned
    assert dict(image.getexif()) == {0x0112: 6}
    assert image.info["icc_profile"] == profile
    assert "comment" not in image.info
    assert small.provenance["exif_orientation"] == 6
    gray = encode(photo().convert("L"), "JPEG", icc_profile=profile)
    assert "icc_profile" not in opened(encode_sample(sample_of(gray), EncodingOptions(max_side=60))).info


def see_through() -> Image.Image:
    image = photo().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, 80 * 120).astype(np.uint16).reshape(80, 120))


def eight_bits() -> Image.Image:
    return Image.fromarray(np.linspace(0, 255, 80 * 120).reshape(80, 120).astype(np.uint8))


COLORS = {
    "grey": (encode(photo().convert("L"), "JPEG"), "L", photo().convert("L")),
    "grey png": (encode(photo().convert("L"), "PNG"), "L", photo().convert("L")),
    "black and white": (encode(photo().convert("1"), "PNG"), "L", photo().convert("1").convert("L")),
    "cmyk": (encode(photo().convert("CMYK"), "JPEG", quality=95), "RGB", photo()),
    "palette": (encode(photo().quantize(64), "PNG"), "RGB", photo().quantize(64).convert("RGB")),
    "gif": (encode(photo().quantize(64), "GIF"), "RGB", photo().quantize(64).convert("RGB")),
    "alpha": (encode(see_through(), "PNG"), "RGB", over_white(see_through())),
    "alpha webp": (encode(see_through(), "WEBP", lossless=True), "RGB", over_white(see_through())),
    "grey alpha": (
        encode(see_through().convert("LA"), "PNG"),
        "L",
        over_white(see_through().convert("LA").convert("RGBA")).convert("L"),
    ),
    "16 bits": (encode(sixteen_bits(), "PNG"), "L", eight_bits()),
    "bmp": (encode(photo(), "BMP"), "RGB", photo()),
    "tiff": (encode(photo(), "TIFF"), "RGB", photo()),
}


@pytest.mark.parametrize("name", COLORS)
def test_every_kind_of_picture_becomes_a_jpeg_that_shows_the_same(name: str) -> None:
    content, mode, expected = COLORS[name]
    made = encode_sample(sample_of(content), EncodingOptions(max_side=119, quality=95))

    image = opened(made)
    assert (made.mode, image.mode, made.image_format, made.status) == (mode, mode, "jpg", "ok")
    assert far(image, expected.resize(image.size, Image.Resampling.LANCZOS)) < 4
    raw = encode_sample(sample_of(content), EncodingOptions(write_mode="raw"))
    assert (raw.mode, raw.image_format, len(raw.image_bytes or b"")) == ("RGB", "raw", 120 * 80 * 3)
    assert far(opened(raw), expected) < 3


def test_transparent_palettes_are_laid_over_white() -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 1)
    content = encode(image, "PNG", transparency=0)
    raw = opened(encode_sample(sample_of(content), EncodingOptions(write_mode="raw")))

    assert raw.getpixel((0, 0)) == (200, 100, 50)
    assert raw.getpixel((1, 1)) == (255, 255, 255)


def test_write_modes_are_ffcvs() -> None:
    photos = {"jpg": encode(photo(), "JPEG"), "png": encode(noise(), "PNG"), "cmyk": cmyk()}
    samples = {name: sample_of(content) for name, content in photos.items()}
    num_raw = {"jpg": 120 * 80 * 3, "png": 64 * 64 * 3, "cmyk": 120 * 80 * 3}

    as_jpg = {name: encode_sample(sample, EncodingOptions(write_mode="jpg")) for name, sample in samples.items()}
    assert as_jpg["jpg"] is samples["jpg"]
    # CMYK JPEGs too: FFCV decodes none.
    assert [(as_jpg[name].image_format, as_jpg[name].mode) for name in ("png", "cmyk")] == [("jpg", "RGB")] * 2
    for name, sample in samples.items():
        raw = encode_sample(sample, EncodingOptions(write_mode="raw"))
        assert (raw.image_format, len(raw.image_bytes or b"")) == ("raw", num_raw[name])
        assert raw.provenance["jpeg_quality"] is None
        # FFCV compresses what is above the threshold, not what is at it; without one nothing.
        for threshold, expected in ((num_raw[name], "raw"), (num_raw[name] - 1, "jpg"), (None, "raw"), (0, "jpg")):
            smart = EncodingOptions(write_mode="smart", smart_threshold=threshold)
            assert encode_sample(sample, smart).image_format == expected
    small = EncodingOptions(write_mode="smart", smart_threshold=60 * 40 * 3, max_side=60)
    assert encode_sample(samples["jpg"], small).image_format == "raw"  # the threshold is of the new size


def cmyk() -> bytes:
    return encode(photo().convert("CMYK"), "JPEG")


def test_raw_pixels_come_and_go() -> None:
    raw = encode_sample(sample_of(encode(photo(), "PNG")), EncodingOptions(write_mode="raw"))
    assert raw.image_bytes == photo().tobytes()

    assert encode_sample(raw, EncodingOptions(write_mode="raw")) is raw
    assert encode_sample(raw, EncodingOptions()) is raw
    again = encode_sample(raw, EncodingOptions(write_mode="jpg", quality=95))
    assert far(opened(again), photo()) < 3
    assert encode_sample(raw, EncodingOptions(max_side=60)).image_format == "jpg"
    smaller = encode_sample(raw, EncodingOptions(write_mode="raw", max_side=60))
    assert (smaller.width, smaller.height, len(smaller.image_bytes or b"")) == (60, 40, 60 * 40 * 3)
    cut = dataclasses.replace(raw, image_bytes=(raw.image_bytes or b"")[:-1])
    assert encode_sample(cut, EncodingOptions(write_mode="jpg")).status == "undecodable"


def test_chance_is_of_seed_and_key() -> None:
    samples = [sample_of(jpeg(), key=f"n{number:08d}") for number in range(400)]

    def drawn(**options: Any) -> list[bool]:
        wanted = EncodingOptions(**options)
        return [encode_sample(sample, wanted).image_bytes != sample.image_bytes for sample in samples]

    some = drawn(compress_probability=0.25, quality=30)
    assert 60 < sum(some) < 140
    assert some == drawn(compress_probability=0.25, quality=30)
    assert some != drawn(compress_probability=0.25, quality=30, seed=1)
    # More of the same: those that a smaller share takes, a larger one takes too.
    assert all(more or not one for one, more in zip(some, drawn(compress_probability=0.5, quality=30), strict=True))
    half = EncodingOptions(write_mode="proportion")
    assert 150 < sum(encode_sample(sample, half).image_format == "raw" for sample in samples) < 250
    # A limit holds for every image, whatever chance says.
    assert all(drawn(compress_probability=0.0, max_side=40))


@settings(max_examples=60)
@given(st.data())
def test_damaged_images_become_rows(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from([rotated_jpeg(), encode(photo(), "JPEG", progressive=True), cmyk()]))
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    options = EncodingOptions(max_side=20, write_mode=data.draw(st.sampled_from(["keep", "raw", "jpg"])))
    sample = Sample(key="a", image_bytes=cut, image_format="jpg", width=48, height=36, wnid="x", class_index=1)
    made = encode_sample(sample, options)

    assert (made.status, made.image_bytes, made.wnid, made.class_index) == ("undecodable", None, "x", 1)
    assert made.reason and "\n" not in made.reason
    assert encode_sample(made, options) is made


@settings(max_examples=100)
@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from(["L", "RGB", "CMYK", "RGBA", "P", "1", "LA"]),
    st.builds(
        dict,
        max_side=st.none() | st.integers(1, 70),
        write_mode=st.sampled_from(WRITE_MODES),
        seed=st.integers(0, 3),
    ),
)
def test_any_image_any_options(size: tuple[int, int], mode: str, choice: dict[str, Any]) -> None:
    options = EncodingOptions(**choice)
    content = encode(drawing(3, size).convert(mode), "JPEG" if mode in ("L", "RGB", "CMYK") else "PNG")
    sample = sample_of(content)
    made = encode_sample(sample, options)

    assert encode_sample(sample, options) == made
    assert made.status == "ok"
    assert (made.width, made.height) == fit_size(*size, max_side=options.max_side) == opened(made).size
    assert made.mode == opened(made).mode
    if made.image_bytes == content:
        assert made is sample
    else:
        assert made.provenance["source_sha256"] == hashlib.sha256(content).hexdigest()


def test_a_name_that_a_member_has_is_not_taken() -> None:
    sample = sample_of(encode(noise(), "PNG"), extra_members={"jpg": b"a mask"})
    made = encode_sample(sample, EncodingOptions(write_mode="jpg"))

    assert made.image_format == "image.jpg"
    assert made.extra_members == {"jpg": b"a mask"}


def test_noise_at_every_quality_fits_into_the_encoders_buffer() -> None:
    sample = sample_of(encode(noise((300, 300)), "PNG"))

    for quality in (1, 50, 90, 94, 95, 100):
        assert encode_sample(sample, EncodingOptions(write_mode="jpg", quality=quality)).status == "ok"
