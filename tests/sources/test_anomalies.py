"""ImageNet's oddities, made here: each is decoded or becomes a row with a reason, without a crash or a warning."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.sample import Sample
from shardtools.sources.image.check import ImageFacts, Rejection, check_image, make_sample
from shardtools.sources.image.header import exif_orientation, png_exif, read_header
from tests.helpers.pictures import drawing, encode, huge_png, jpeg, rotated_jpeg


def segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload


def segments(content: bytes) -> list[tuple[int, bytes]]:
    """(marker, payload) of a JPEG's segments before its scan."""
    found, position = [], 2
    while content[position + 1] != 0xDA:
        length = struct.unpack_from(">H", content, position + 2)[0]
        found.append((content[position + 1], content[position + 4 : position + 2 + length]))
        position += 2 + length
    return found


def with_segment(content: bytes, marker: int, payload: bytes) -> bytes:
    """The JPEG with one more segment in front."""
    return content[:2] + segment(marker, payload) + content[2:]


def cmyk_jpeg(*, adobe: bool = True, transform: int | None = None) -> bytes:
    """As Photoshop writes it; without the marker that says so; or as YCCK (transform 2)."""
    content = encode(drawing(5).convert("CMYK"), "JPEG", quality=90)
    payload = next(payload for marker, payload in segments(content) if marker == 0xEE)
    old = segment(0xEE, payload)
    assert payload.startswith(b"Adobe")
    if not adobe:
        return content.replace(old, b"")
    return content if transform is None else content.replace(old, segment(0xEE, payload[:11] + bytes([transform])))


def exif_jpeg(orientation: int, *, order: str = "<", kind: int = 3, marks: int = 1) -> bytes:
    """A JPEG whose EXIF holds nothing but the orientation, in either byte order, as a short (3) or a long (4)."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(f"{order}HH", orientation, 0) if kind == 3 else struct.pack(f"{order}I", orientation)
    tiff = mark + struct.pack(f"{order}IH", 8, 1) + struct.pack(f"{order}HHI", 0x0112, kind, 1) + value + bytes(4)
    return with_segment(jpeg(2), 0xE1, b"Exif\0\0" * marks + tiff)


def png_chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def late_exif_png() -> bytes:
    """A PNG with its EXIF behind the pixels."""
    content = encode(drawing(1), "PNG")
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 8, 0, 0)
    return content[:-12] + png_chunk(b"eXIf", tiff) + content[-12:]


def see_through(mode: str) -> bytes:
    """A PNG with transparent parts: palette, grey or colour."""
    image = drawing(4).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    if mode != "P":
        return encode(image.convert(mode), "PNG")
    return encode(drawing(4).quantize(8), "PNG", transparency=bytes((0, 128, 255)))


def animation(image_format: str) -> bytes:
    frames = [drawing(number) for number in range(3)]
    return encode(frames[0], image_format, save_all=True, append_images=frames[1:])


def mpo() -> bytes:
    """Two JPEGs in one file, as stereo cameras write them."""
    return encode(drawing(0), "MPO", save_all=True, append_images=[drawing(1)])


def sixteen_bits() -> bytes:
    values = np.linspace(0, 65535, 20 * 10).astype(np.uint16).reshape(10, 20)
    return encode(Image.fromarray(values), "PNG")


KEPT = {
    "cmyk": (cmyk_jpeg(), ImageFacts("jpg", 48, 36, "CMYK")),
    "cmyk without adobe's mark": (cmyk_jpeg(adobe=False), ImageFacts("jpg", 48, 36, "CMYK")),
    "ycck": (cmyk_jpeg(transform=2), ImageFacts("jpg", 48, 36, "CMYK")),
    "progressive": (encode(drawing(), "JPEG", progressive=True), ImageFacts("jpg", 48, 36, "RGB")),
    "grey": (encode(drawing().convert("L"), "JPEG"), ImageFacts("jpg", 48, 36, "L")),
    "progressive grey": (encode(drawing().convert("L"), "JPEG", progressive=True), ImageFacts("jpg", 48, 36, "L")),
    "one pixel, jpeg": (encode(Image.new("RGB", (1, 1)), "JPEG"), ImageFacts("jpg", 1, 1, "RGB")),
    "one pixel, png": (encode(Image.new("1", (1, 1)), "PNG"), ImageFacts("png", 1, 1, "1")),
    "one row": (encode(Image.new("L", (500, 1)), "JPEG"), ImageFacts("jpg", 500, 1, "L")),
    "16 bits": (sixteen_bits(), ImageFacts("png", 20, 10, "I;16")),
    "16 bits a colour": (encode(drawing(), "PNG"), ImageFacts("png", 48, 36, "RGB")),
    "palette with transparency": (see_through("P"), ImageFacts("png", 48, 36, "P")),
    "grey with alpha": (see_through("LA"), ImageFacts("png", 48, 36, "LA")),
    "colour with alpha": (see_through("RGBA"), ImageFacts("png", 48, 36, "RGBA")),
    "trailing garbage": (jpeg() + bytes(range(256)) * 9, ImageFacts("jpg", 48, 36, "RGB")),
    "another jpeg behind": (jpeg() + jpeg(1), ImageFacts("jpg", 48, 36, "RGB")),
    "profile of inks on rgb": (
        encode(drawing(), "JPEG", icc_profile=bytes(16) + b"CMYK" + bytes(16) + b"acsp" + bytes(200)),
        ImageFacts("jpg", 48, 36, "RGB"),
    ),
    "profile that is none": (encode(drawing(), "JPEG", icc_profile=b"no profile"), ImageFacts("jpg", 48, 36, "RGB")),
    "photoshop": (with_segment(jpeg(), 0xED, b"Photoshop 3.0\0" + b"8BIM"), ImageFacts("jpg", 48, 36, "RGB")),
    "several pictures": (mpo(), ImageFacts("jpg", 48, 36, "RGB")),
    "animated gif": (animation("GIF"), ImageFacts("gif", 48, 36, "P")),
    "animated png": (animation("PNG"), ImageFacts("png", 48, 36, "RGB")),
    "animated webp": (animation("WEBP"), ImageFacts("webp", 48, 36, "RGB")),
    "bad exif": (with_segment(jpeg(), 0xE1, b"Exif\0\0II*\0" + b"\xff" * 40), ImageFacts("jpg", 48, 36, "RGB")),
    "empty exif": (with_segment(jpeg(), 0xE1, b"Exif\0\0"), ImageFacts("jpg", 48, 36, "RGB")),
    "bytes between segments": (jpeg()[:2] + b"\xff\xff" + jpeg()[2:], ImageFacts("jpg", 48, 36, "RGB")),
}


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("name", KEPT)
def test_odd_images_are_kept_as_they_are(name: str, decode: bool) -> None:
    content, expected = KEPT[name]

    assert check_image(content, decode=decode) == expected
    sample = make_sample(content, decode=decode, extension="jpg", key="a")
    assert sample.status == "ok"
    assert sample.image_bytes == content


def test_a_png_named_jpeg_is_kept_and_says_so() -> None:
    # As n02105855_2933.JPEG of ImageNet's training images is.
    sample = make_sample(encode(drawing(), "PNG"), decode=True, extension="jpeg", key="n02105855_2933")

    assert (sample.status, sample.image_format) == ("ok", "png")
    assert sample.reason == "named .jpeg, the bytes are png"


ORIENTED = {
    **{f"exif {value}": (exif_jpeg(value), value) for value in range(1, 9)},
    "pillow's": (rotated_jpeg(), 6),
    "big-endian": (exif_jpeg(3, order=">"), 3),
    "long": (exif_jpeg(5, kind=4), 5),
    "long, big-endian": (exif_jpeg(7, order=">", kind=4), 7),
    "out of range": (exif_jpeg(9), None),
    "zero": (exif_jpeg(0), None),
    "none": (jpeg(), None),
    "bad exif": (KEPT["bad exif"][0], None),
    "mark twice": (exif_jpeg(8, marks=2), 8),
    "png behind the pixels": (late_exif_png(), 8),
    "png": (encode(drawing(), "PNG", exif=b"Exif\0\0" + exif_jpeg(4)[12:38]), 4),
    "webp": (encode(drawing(), "WEBP", exif=b"Exif\0\0" + exif_jpeg(6)[12:38]), 6),
}


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("name", ORIENTED)
def test_orientation_is_recorded_and_not_applied(name: str, decode: bool) -> None:
    content, orientation = ORIENTED[name]
    sample = make_sample(content, decode=decode, extension="jpg", key="a", provenance={"source_path": "a.jpg"})

    assert (sample.width, sample.height) == (48, 36)
    assert sample.image_bytes == content
    expected = {} if orientation is None else {"exif_orientation": orientation}
    assert sample.provenance == {"source_path": "a.jpg", **expected}


def test_tiffs_that_pillow_turns_itself_have_no_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(drawing(), "TIFF", exif=exif)
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        shown = image.size

    for decode in (True, False):
        facts = check_image(content, decode=decode)
        assert isinstance(facts, ImageFacts)
        assert ((facts.width, facts.height), facts.exif_orientation) == (shown, None)


@pytest.mark.parametrize("name", ["zero bytes", "huge", "one byte", "no scan"])
def test_what_is_no_image_is_a_row(name: str) -> None:
    content = {"zero bytes": b"", "huge": huge_png(), "one byte": b"\xff", "no scan": jpeg()[:300]}[name]
    sample = make_sample(content, decode=True, extension="jpg", key="a")

    assert (sample.status, sample.image_bytes) == ("undecodable", None)
    assert sample.reason


@settings(max_examples=150)
@given(st.sampled_from([jpeg(), encode(drawing(), "JPEG", progressive=True), cmyk_jpeg(), rotated_jpeg()]), st.data())
def test_a_jpeg_cut_anywhere_is_a_row(content: bytes, data: st.DataObject) -> None:
    cut = content[: data.draw(st.integers(0, len(content) - 1))]

    assert checked(cut, decode=True).status == "undecodable"
    header = checked(cut, decode=False)
    assert header.status == "undecodable" or header.image_bytes == cut


@settings(max_examples=200)
@given(st.sampled_from(sorted(KEPT)), st.data())
def test_no_byte_that_changes_crashes_or_warns(name: str, data: st.DataObject) -> None:
    content = bytearray(KEPT[name][0])
    for _ in range(data.draw(st.integers(1, 3))):
        # Most meaning is in the front.
        position = data.draw(st.one_of(st.integers(0, min(700, len(content)) - 1), st.integers(0, len(content) - 1)))
        content[position] = data.draw(st.sampled_from([0, 1, 2, 0x7F, 0xC0, 0xD9, 0xDA, 0xFF]) | st.integers(0, 255))

    for decode in (True, False):
        sample = checked(bytes(content), decode=decode)
        assert (sample.image_bytes is None) == (sample.status != "ok")
    assert_like_pillow(bytes(content))


MODES = {"JPEG": ("L", "RGB", "CMYK"), "PNG": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")}


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    image_format = draw(st.sampled_from(sorted(MODES)))
    mode = draw(st.sampled_from(MODES[image_format]))
    size = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    options: dict[str, object] = {}
    if draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(1, 8))
        if draw(st.booleans()):
            exif[0x010F] = "A camera"
            exif[0x011A] = 72.0
            exif[0x0128] = 2
        options["exif"] = exif.tobytes()
    if draw(st.booleans()):
        options["icc_profile"] = bytes(draw(st.integers(1, 70_000)))
    if draw(st.booleans()):
        options["dpi"] = (300, 300)
    if image_format == "JPEG":
        options["progressive"] = draw(st.booleans())
        options["quality"] = draw(st.integers(1, 100))
        options["comment"] = draw(st.binary(max_size=20))
        options["subsampling"] = draw(st.sampled_from([0, 1, 2])) if mode != "CMYK" else 0
    image = Image.new(mode, size) if mode == "I;16" else drawing(7, size).convert(mode)
    return encode(image, image_format, **options)


@settings(max_examples=200)
@given(pictures())
def test_headers_say_what_pillow_says(content: bytes) -> None:
    assert_like_pillow(content)
    assert read_header(content) is not None or b"iCCP" in content  # PNG profiles are left to Pillow
    with Image.open(io.BytesIO(content)) as image:
        orientation = image.getexif().get(0x0112)
    facts = check_image(content, decode=False)
    assert isinstance(facts, ImageFacts)
    assert facts.exif_orientation == orientation


@given(st.binary(max_size=60))
def test_any_exif_has_an_orientation_or_none(exif: bytes) -> None:
    for block in (exif, b"II*\0\x08\0\0\0" + exif, b"Exif\0\0MM\0*\0\0\0\x08\0\x03" + exif):
        assert exif_orientation(block) in (None, *range(1, 9))
    assert png_exif(b"\x89PNG\r\n\x1a\n" + exif) is None or b"eXIf" in exif


def test_a_png_of_endless_empty_chunks_ends() -> None:
    content = encode(drawing(), "PNG")[:33] + png_chunk(b"aaAa", b"") * 200_000

    assert png_exif(content) is None


def checked(content: bytes, *, decode: bool) -> Sample:
    """A sample of bytes, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return make_sample(content, decode=decode, extension="jpg", key="a")


def assert_like_pillow(content: bytes) -> None:
    """Where the header is read without Pillow, Pillow reads the same from it."""
    found = read_header(content)
    if found is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
                expected = ImageFacts("png" if image.format == "PNG" else "jpg", image.width, image.height, image.mode)
        except Exception as error:
            pytest.fail(f"read_header says {found}, Pillow raises {error!r}")
    assert found == expected
    assert not isinstance(check_image(content, decode=False), Rejection)
