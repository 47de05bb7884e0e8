"""Photographs become a catalogue: squares, digests, licenses, order; what cannot be used is said in one line."""

from __future__ import annotations

import csv
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardtools.cli import main
from shardtools.errors import AlreadyExistsError, OptionError, RunError, ShardtoolsError, SourceError
from shardtools.rendering import BackgroundOptions, MadeBackgrounds, Photo, make_backgrounds, open_backgrounds
from shardtools.rendering.backgrounds.catalogue import read_rows, write_catalogue
from shardtools.rendering.backgrounds.defaults import default_candidates
from shardtools.rendering.backgrounds.options import TYPES
from tests.helpers.pictures import drawing, encode, huge_png, write_files
from tests.helpers.s3_server import S3Server

SMALL = BackgroundOptions(side=32, image_size=16)


def _photo(number: int, size: tuple[int, int] = (60, 40), image_format: str = "JPEG") -> bytes:
    return encode(drawing(number, size), image_format)


def _two_colors(width: int, height: int) -> Image.Image:
    """Left half red, right half blue; the upper quarter of both green."""
    image = Image.new("RGB", (width, height), (250, 0, 0))
    image.paste((0, 0, 250), (width // 2, 0, width, height))
    image.paste((0, 250, 0), (0, 0, width, height // 4))
    return image


def _made(tmp_path: Path, files: dict[str, bytes], options: BackgroundOptions = SMALL) -> MadeBackgrounds:
    return make_backgrounds(write_files(tmp_path / "photos", files), tmp_path / "out", options)


def _refused(tmp_path: Path, files: dict[str, bytes], match: str) -> None:
    with pytest.raises(ShardtoolsError, match=match) as refused:
        _made(tmp_path, files)
    assert "\n" not in str(refused.value)
    # What was not finished is no catalogue.
    with pytest.raises(SourceError, match="no catalogue of backgrounds"):
        open_backgrounds(tmp_path / "out")


def test_a_folder_becomes_a_catalogue(tmp_path: Path) -> None:
    table = "type,name,license,author,source\nhome,kitchen,CC0-1.0,Ada,own\nhome,hall.png,,Bert,\n"
    made = _made(
        tmp_path,
        {
            "water/sea.jpg": _photo(1),
            "desert/dune.jpg": _photo(2),
            "home/attic.webp": _photo(3, image_format="WEBP"),
            "home/hall.png": _photo(4, image_format="PNG"),
            "home/kitchen.jpg": _photo(5),
            "home/notes.txt": b"no photo",
            "home/._kitchen.jpg": b"left by another system",
            "sheet.jpg": _photo(6),
            "backgrounds.csv": table.encode(),
        },
    )
    catalogue = open_backgrounds(tmp_path / "out")

    # Known types in their order, then others; the table's photographs before those that it does not name.
    assert [one.name for one in catalogue.photos] == [
        "home/kitchen",
        "home/hall",
        "home/attic",
        "water/sea",
        "desert/dune",
    ]
    assert catalogue.types == ("home", "water", "desert")
    assert made.num_photos == {"home": 3, "water": 1, "desert": 1}
    first, second = catalogue.photos[:2]
    assert (first.license, first.author, first.source) == ("CC0-1.0", "Ada", "own")
    assert (second.license, second.author, second.source) == (None, "Bert", None)
    assert (first.width, first.height) == (32, 32)
    for photo in catalogue.photos:
        content = (tmp_path / "out" / photo.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == photo.sha256
    assert "4 photos without a license: home/hall, home/attic, water/sea and 1 more" in made.notes[0]
    with Image.open(tmp_path / "out" / "sheet.jpg") as sheet:
        assert sheet.size == (3 * 128, 3 * (128 + 14))


def test_a_catalogue_is_a_source_again_byte_by_byte(tmp_path: Path) -> None:
    table = b"type,path,license\nsky,sky/b.png,CC0-1.0\nsky,sky/a.jpg,GPL-2.0-or-later\n"
    _made(tmp_path, {"sky/a.jpg": _photo(1), "sky/b.png": _photo(2, image_format="PNG"), "backgrounds.csv": table})
    make_backgrounds(tmp_path / "out", tmp_path / "again", SMALL)

    for name in ("backgrounds.csv", "sheet.jpg", "sky/a.jpg", "sky/b.jpg"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_pixels_are_the_middle_upright_and_the_same_in_a_copy(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter, clockwise, it is upright
    _made(
        tmp_path,
        {
            "sky/wide.png": encode(_two_colors(96, 48), "PNG"),
            "sky/lying.jpg": encode(_two_colors(96, 48), "JPEG", quality=100, exif=exif),
        },
        BackgroundOptions(side=48, image_size=16),
    )
    catalogue = open_backgrounds(tmp_path / "out")
    lying, wide = (catalogue.read(photo, 24) for photo in catalogue.photos)

    assert wide.shape == lying.shape == (24, 24, 3)
    assert wide.dtype == np.uint8
    # Of the wide one the middle half is left.
    assert [int(wide[y, x].argmax()) for y, x in ((2, 2), (20, 2), (20, 21))] == [1, 0, 2]
    # A quarter clockwise: what was left is up, what was up is right.
    assert [int(lying[y, x].argmax()) for y, x in ((4, 10), (20, 10), (4, 21))] == [0, 2, 1]
    copy = pickle.loads(pickle.dumps(catalogue))
    assert np.array_equal(copy.read(copy.photos[1], 24), wide)


def test_a_crop_is_a_square_in_upright_pixels(tmp_path: Path) -> None:
    table = b"type,name,crop\nsky,a,72 12 24\nsky,b,0 40 24\n"
    files = {"sky/a.png": encode(_two_colors(96, 48), "PNG"), "sky/b.png": encode(_two_colors(90, 48), "PNG")}
    made = _made(tmp_path, {**files, "backgrounds.csv": table})
    (photo,) = open_backgrounds(tmp_path / "out").photos

    assert (photo.name, photo.width) == ("sky/a", 24)
    pixels = open_backgrounds(tmp_path / "out").read(photo, 24)
    assert (pixels.argmax(-1) == 2).all()
    assert made.left_out[0].path.endswith("sky/b.png")
    assert "the crop 0 40 24 (left, top, side) leaves its 90 x 48 pixels" in made.left_out[0].reason


def test_what_is_no_photo_is_left_out_with_its_reason(tmp_path: Path) -> None:
    made = _made(
        tmp_path,
        {
            "sky/a.jpg": _photo(1),
            "sky/bomb.png": huge_png(),
            "sky/cut.jpg": _photo(2, (300, 200))[:-2000],
            "sky/text.jpg": b"hello",
            "sky/tiny.jpg": _photo(3, (40, 12)),
        },
    )

    assert made.num_photos == {"sky": 2}
    with open(tmp_path / "out" / "left_out.csv", newline="") as file:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"bomb.png", "cut.jpg", "text.jpg"}
    assert all(reason and "\n" not in reason for reason in reasons.values())
    assert made.small == ("sky/tiny",)
    assert made.notes[0].startswith("3 photos left out (left_out.csv), first ")
    assert made.notes[1] == "1 photo with less than 16 pixels a side, which rendering enlarges: sky/tiny"
    catalogue = open_backgrounds(tmp_path / "out")
    assert catalogue.read(catalogue.photos[1], 32).shape == (32, 32, 3)


def test_gray_transparent_and_deep_pictures_become_rgb(tmp_path: Path) -> None:
    gray = Image.linear_gradient("L").resize((40, 40))
    files = {
        "sky/deep.png": encode(Image.fromarray(np.full((40, 40), 51_400, np.uint16)), "PNG"),
        "sky/gray.jpg": encode(gray, "JPEG"),
        "sky/ink.jpg": encode(drawing(1, (40, 40)).convert("CMYK"), "JPEG"),
        "sky/open.png": encode(Image.new("RGBA", (40, 40), (10, 20, 30, 0)), "PNG"),
    }
    _made(tmp_path, files)
    catalogue = open_backgrounds(tmp_path / "out")
    deep, *_, through = (catalogue.read(photo, 32) for photo in catalogue.photos)

    assert (deep == 200).all()
    assert (through == 255).all()


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"a.jpg": _photo(1)}, "has no photo: expected .*TYPE/"),
        ({"sky/a.jpg": _photo(1), "home/a.txt": b""}, r"home has no photo: expected \*\.jpg"),
        ({"sky/a.jpg": _photo(1), "home/a.jpg": b"x"}, "no photo of type home can be used: .*a.jpg: no image format"),
        ({"sky/a.jpg": _photo(1), "home/b.jpg": _photo(1)}, "sky/a.jpg and .*/home/b.jpg are one file"),
        ({"sky/a.jpg": _photo(1), "sky/a.png": _photo(2)}, "a.jpg and sky/a.png have one name, sky/a"),
    ],
)
def test_folders_that_cannot_be(tmp_path: Path, files: dict[str, bytes], match: str) -> None:
    _refused(tmp_path, files, match)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (b"type,path\nsky,../../etc/passwd.jpg\n", "line 2: bad path '../../etc/passwd.jpg'"),
        (b"type,path\nsky,/etc/a.jpg\n", "line 2: bad path"),
        (b"type,name\nsky,../home/a\n", "line 2: bad path"),
        (b"type,path\nsky,home/a.jpg\n", "line 2: expected a path below sky/"),
        (b"type,name\nsky,b\n", "line 2: there is no photo sky/b"),
        (b"type,name\nsky,a\nsky,a.jpg\n", "line 3: sky/a.jpg stands in another line"),
        (b"type\nsky\n", "line 2: expected a path or a name"),
        (b"name\na\n", "lacks the column type"),
        (b"type,name\nsky,a,b\n", "line 2: 3 cells, expected 2"),
        (b"type,name\nsky,\xff\n", "no CSV in UTF-8"),
        (b'type,name\nsky,"a\n', "no CSV in UTF-8"),
        (b"type,name,crop\nsky,a,1 2\n", "line 2: expected a crop as left, top and side"),
        (b"type,name,crop\nsky,a,-1 2 3\n", "line 2: expected a crop as left, top and side"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, table: bytes, match: str) -> None:
    _refused(tmp_path, {"sky/a.jpg": _photo(1), "backgrounds.csv": table}, match)


def test_an_empty_folder_is_a_type_without_a_photo(tmp_path: Path) -> None:
    (tmp_path / "photos" / "home").mkdir(parents=True)

    _refused(tmp_path, {"sky/a.jpg": _photo(1)}, "home has no photo")


def test_a_catalogue_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    _made(tmp_path, {"sky/a.jpg": _photo(1), "sky/b.jpg": _photo(2), "sky/c.jpg": b"x"})
    (tmp_path / "photos" / "sky" / "b.jpg").unlink()
    (tmp_path / "photos" / "sky" / "c.jpg").unlink()
    with pytest.raises(AlreadyExistsError, match="give --replace"):
        make_backgrounds(tmp_path / "photos", tmp_path / "out", SMALL)
    make_backgrounds(tmp_path / "photos", tmp_path / "out", BackgroundOptions(side=32, replace=True))

    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == ["a.jpg", "backgrounds.csv", "sheet.jpg"]


def test_a_catalogue_may_not_lie_in_its_own_photos(tmp_path: Path) -> None:
    photos = write_files(tmp_path / "photos", {"sky/a.jpg": _photo(1)})

    for out in (photos, photos / "out"):
        with pytest.raises(OptionError, match="lies inside of its photos"):
            make_backgrounds(photos, out, SMALL)


def test_a_photo_that_was_exchanged_is_not_read(tmp_path: Path) -> None:
    _made(tmp_path, {"sky/a.jpg": _photo(1), "sky/b.jpg": _photo(2)})
    catalogue = open_backgrounds(tmp_path / "out")
    (tmp_path / "out" / "sky" / "a.jpg").write_bytes(_photo(3))
    (tmp_path / "out" / "sky" / "b.jpg").unlink()

    with pytest.raises(SourceError, match="its digest differs"):
        catalogue.read(catalogue.photos[0], 16)
    with pytest.raises(SourceError, match="is missing"):
        catalogue.read(catalogue.photos[1], 16)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("sky/a.jpg", "../a.jpg", "line 2: bad path"),
        ("sky/a,sky", "a,sky", "line 2: expected a name type/stem"),
        (",32,32", ",32,x", "line 2: expected width and height"),
        ("sha256", "digest", "lacks the column sha256"),
    ],
)
def test_catalogues_that_cannot_be(tmp_path: Path, old: str, new: str, match: str) -> None:
    _made(tmp_path, {"sky/a.jpg": _photo(1)})
    path = tmp_path / "out" / "backgrounds.csv"
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(SourceError, match=match):
        open_backgrounds(tmp_path / "out")


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8).map(str.strip)


@given(st.lists(st.tuples(texts, texts, texts), max_size=3))
def test_the_catalogue_reads_what_it_wrote(said: list[tuple[str, str, str]]) -> None:
    photos = [
        Photo(
            name=f"sky/{number}",
            type="sky",
            path=f"sky/{number}.jpg",
            sha256="0" * 64,
            license=license_name or None,
            author=author or None,
            source=source or None,
            width=32,
            height=32,
        )
        for number, (license_name, author, source) in enumerate(said)
    ]
    rows = read_rows(write_catalogue(photos), "x", needed=("license",))

    assert [tuple(row[name] or None for name in ("license", "author", "source")) for _, row in rows] == [
        (photo.license, photo.author, photo.source) for photo in photos
    ]


def test_the_default_set_is_five_of_each_type_with_licenses(tmp_path: Path) -> None:
    made = make_backgrounds(None, tmp_path / "out")
    catalogue = open_backgrounds(tmp_path / "out")

    assert made.num_photos == dict.fromkeys(TYPES, 5)
    assert made.notes == ()
    assert catalogue.photos[0].name == "home/apartment_window"
    assert all(photo.license and photo.author and photo.source for photo in catalogue.photos)
    assert len({photo.sha256 for photo in catalogue.photos}) == 25
    # Photographs, not drawings: hardly a square is one color, hardly two are alike.
    means = np.array([catalogue.read(photo, 32).reshape(-1, 3).std(0).mean() for photo in catalogue.photos])
    assert (means > 8).all()


def test_the_default_set_names_the_packages_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError) as refused:
        default_candidates(root=tmp_path)

    assert str(refused.value).startswith("10 photos of the default set lie in Debian packages that are not installed")
    packages = "lomiri-wallpapers-16.04 mate-backgrounds plasma-workspace-wallpapers"
    assert f"apt-get install --no-install-recommends {packages}; or give" in str(refused.value)


def test_what_ships_may_be_shipped_and_is_small() -> None:
    shipped = [one for one in default_candidates() if "/rendering/backgrounds/data/" in one.where]

    assert {one.license for one in shipped} == {"CC0-1.0"}
    assert len(shipped) == 15
    assert sum(one.num_bytes for one in shipped) < 400_000


def test_object_stores(tmp_path: Path, s3_environment: S3Server) -> None:
    photos = write_files(tmp_path / "photos", {"sky/a.jpg": _photo(1), "home/b.jpg": _photo(2)})
    url = s3_environment.url("backgrounds")
    make_backgrounds(photos, url, SMALL)
    make_backgrounds(url, tmp_path / "out", SMALL)
    far, near = open_backgrounds(url), open_backgrounds(tmp_path / "out")

    assert far.photos == near.photos
    assert np.array_equal(far.read(far.photos[0], 16), near.read(near.photos[0], 16))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_files(tmp_path / "photos", {"sky/a.jpg": _photo(1), "home/b.jpg": _photo(2)})
    with pytest.raises(SystemExit) as ended:
        main(["backgrounds", str(photos), "--out", str(tmp_path / "out"), "--side", "32", "--image-size", "16"])

    assert ended.value.code == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}: home 1, sky 1; look at sheet.jpg\n"
    assert said.err.startswith("2 photos without a license: home/b, sky/a; say it in")
