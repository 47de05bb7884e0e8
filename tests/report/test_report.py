"""The report as a file: what stands in it, what cannot get into it, how large it is."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image

from shardtools.cli.report import command
from shardtools.errors import DatasetError, OptionError
from shardtools.report import ReportOptions, write_report
from shardtools.report.markup import element, escape
from shardtools.storage import open_storage
from tests.helpers.report_pages import (
    HOSTILE,
    HOSTILE_KEY,
    PageReader,
    fashion_dataset,
    read_page,
    write,
    write_noise,
)
from tests.helpers.s3_server import S3Server

COLUMN = HOSTILE.replace("\x07", "")
"""An overlay's columns have no control characters."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "photos"
    keys = fashion_dataset(folder, 60, test_from=40)
    images = [key for row, key in enumerate(keys) if row % 10 != 9]
    write_noise(folder, images[:20], suggested=[1] * 20, margin=[row / 20 for row in range(20)])
    write(
        folder,
        "duplicates",
        key=[images[0], images[40], images[1], images[2]],
        group=[0, 0, 1, 1],
        representative=[images[0], images[0], images[1], images[1]],
        distance=[0.0, 9.0, 0.0, 2.0],
    )
    write(folder, "quality", key=images, brightness=[row / 60 for row in range(len(images))])
    nearest = [row % 2 for row in range(len(images))]
    write(folder, "nearest_class", key=images, nearest=pa.array(nearest, pa.int32()), margin=[0.5] * len(images))
    return folder


@pytest.fixture(scope="module")
def page(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> PageReader:
    out = tmp_path_factory.mktemp("out") / "report.html"
    result = write_report(dataset, out)
    assert result.notes == ()
    assert (result.num_suspects, result.num_pairs, result.num_bytes) == (20, 2, out.stat().st_size)
    return read_page(out)


def test_the_page_has_its_sections_and_says_what_the_dataset_is(dataset: Path, page: PageReader) -> None:
    sections = [given["id"] for tag, given in page.elements if tag == "section"]
    assert sections == ["overview", "suspects", "duplicates", "quality", "classes"]
    assert page.is_closed
    sha256 = hashlib.sha256((dataset / "dataset.json").read_bytes()).hexdigest()
    for words in (
        "real images, tar, commit " + sha256[:8],
        f"address {dataset}",
        sha256,
        "56 images 5 classes train, test splits",
        "4 rows without an image",
        "20 suspect labels 1 duplicates across splits 1 other duplicates",
        "Why rows have no image status reason rows black all pixels are 0 4",
        "28 x 28",
        "label_noise 20 a test",
    ):
        assert words in page.text
    assert page.content()["sha256"] == sha256
    assert page.content()["splits"] == ["train", "test"]


def test_every_control_has_a_label(page: PageReader) -> None:
    labeled = {given.get("for") for tag, given in page.elements if tag == "label"}
    controls = [given for tag, given in page.elements if tag in ("input", "select")]
    assert {given["id"] for given in controls} <= labeled
    assert all("aria-label" in given for tag, given in page.elements if tag in ("dialog", "nav", "ol"))
    assert page.attribute("html", "lang") == "en"


def test_the_policy_allows_this_script_and_nothing_outside(page: PageReader) -> None:
    policy = page.attribute("meta", "content", **{"http-equiv": "Content-Security-Policy"})
    assert policy is not None
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    for tag in ("style", "script"):
        text = page.raw[0][1] if tag == "style" else page.raw[-1][1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[f"{tag}-src"] == f"'sha256-{digest}'"
    assert allowed["default-src"] == "'none'"
    assert allowed["img-src"] == "data:"
    assert {allowed["base-uri"], allowed["form-action"]} == {"'none'"}


def test_nothing_outside_is_named(page: PageReader) -> None:
    for tag, given in page.elements:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        assert not [name for name in given if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "action", "data"):
            assert (given.get(name) or "#").startswith(("#", "data:")), (tag, given)
    for _, text in page.raw:
        assert not re.search(r"https?://|@import|url\(", text)


def test_one_picture_of_each_sample_in_its_own_size(page: PageReader) -> None:
    pictures = page.pictures()
    assert len(pictures) == len(set(pictures))
    places = [sample[5] for sample in page.content()["samples"]]
    assert sorted(set(places)) == list(range(len(pictures)))
    image = Image.open(io.BytesIO(base64.b64decode(pictures[0])))
    assert (image.format, image.size) == ("WEBP", (28, 28))


def test_the_same_dataset_gives_the_same_page(dataset: Path, page: PageReader, tmp_path: Path) -> None:
    write_report(dataset, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.file


def test_names_that_try_to_become_markup_stay_text(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    fashion_dataset(plain, 30, prompt="a", prompt_template="c", scene="b", negative_prompt="n", guidance_scale=2.0)
    hostile = tmp_path / "<b onclick=x>"
    keys = fashion_dataset(
        hostile,
        30,
        classes=[f"{HOSTILE}{number}" for number in range(5)],
        odd_keys={0: HOSTILE_KEY},
        prompt=HOSTILE,
        prompt_template=HOSTILE,
        scene=HOSTILE,
        negative_prompt=HOSTILE,
        guidance_scale=2.0,
    )
    pages = []
    for folder, made_by in ((plain, "plain"), (hostile, HOSTILE)):
        of_folder = keys if folder == hostile else [f"image{row:05d}" for row in range(30)]
        write_noise(folder, of_folder[:9], suggested=[1] * 9, **{"score" if folder == plain else COLUMN: [0.5] * 9})
        write(
            folder,
            "quality",
            key=of_folder[:3],
            made_by=made_by,
            **{"is_bad" if folder == plain else COLUMN: [True, False, True]},
        )
        write(folder, "nearest_class", key=of_folder[:9], nearest=pa.array([1] * 9, pa.int32()))
        kind = ["word" if folder == plain else HOSTILE] * 2
        write(folder, "duplicates", key=of_folder[1:3], representative=of_folder[:1] * 2, kind=kind)
        write_report(folder, tmp_path / "report.html", ReportOptions(title="plain" if folder == plain else HOSTILE))
        pages.append(read_page(tmp_path / "report.html"))

    # Element by element the same page: no name has added one, nor an attribute.
    shapes = [[(tag, sorted(given)) for tag, given in page.elements] for page in pages]
    assert shapes[0] == shapes[1]
    assert len(pages[0].raw) == len(pages[1].raw)
    assert pages[1].is_closed
    content = pages[1].content()
    assert HOSTILE_KEY in [sample[0] for sample in content["samples"]]
    assert HOSTILE in [sample[6] for sample in content["samples"]]
    assert COLUMN in content["suspects"]["scores"]
    shown = HOSTILE.replace("\x07", "\u2407")
    assert f"{shown}: shardtools report" in pages[1].texts
    for _, text in pages[1].raw[1:-1]:
        assert "<" not in text


def test_escape_and_attributes() -> None:
    assert escape("<a b='c' d=\"e\">&\0") == "&lt;a b=&#x27;c&#x27; d=&quot;e&quot;&gt;&amp;\u2400"
    made = element("p", "<i>", element("br"), class_='a"b', hidden=True, id=None, open=False)
    assert made == '<p class="a&quot;b" hidden>&lt;i&gt;<br></p>'


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thousand") / "photos"
    keys = fashion_dataset(folder, 1200, test_from=0)
    write_noise(folder, keys[:1100], suggested=[row % 4 + 1 for row in range(1100)])
    return folder


def test_a_thousand_suspects(thousand: Path, tmp_path: Path) -> None:
    result = write_report(thousand, tmp_path / "report.html")
    assert (result.num_suspects, result.num_pictures) == (1000, 1005)
    assert result.num_bytes < 20_000_000
    found = read_page(tmp_path / "report.html")
    assert "The 1,000 most suspicious of 1,100 samples" in found.text
    noise_probabilities = [row[4] for row in found.content()["suspects"]["rows"]]
    assert noise_probabilities == sorted(noise_probabilities, reverse=True)
    assert {len(row[6]) for row in found.content()["suspects"]["rows"]} == {5}


def test_the_limit_leaves_out_neighbors_first(thousand: Path, tmp_path: Path) -> None:
    options = ReportOptions(max_bytes=500_000)
    result = write_report(thousand, tmp_path / "report.html", options)
    assert 400_000 < result.num_bytes < 500_000
    assert any("thumbnails were left out" in note for note in result.notes)
    content = read_page(tmp_path / "report.html").content()
    shown = [content["samples"][row[0]][5] >= 0 for row in content["suspects"]["rows"]]
    # Batches are read in the order of files, so that the end is ragged by less than one of them.
    assert all(shown[: result.num_pictures - 256])
    assert not all(shown)


def test_missing_overlays_name_their_commands(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    fashion_dataset(folder, 10)
    result = write_report(folder, tmp_path / "report.html")
    text = read_page(tmp_path / "report.html").text
    assert len(result.notes) == 4
    for note in result.notes:
        assert note in text
    for name, note in zip(("label_noise", "duplicates", "quality", "nearest_class"), result.notes, strict=True):
        command, rest = re.fullmatch(r"Nothing yet: `(.*)` (.*)", note).groups()  # type: ignore[union-attr]
        assert shlex.split(command)[-1] == str(folder)
        assert rest == f"writes the overlay {name}."


def test_overlays_that_do_not_fit_are_noted_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    keys = fashion_dataset(folder, 20)
    write(folder, "label_noise", key=keys[:2], label=[1, 2])
    write(folder, "duplicates", key=keys[:2], why=["a", "b"])
    write(folder, "quality", key=keys[:2], word=["a", "b"])
    write(folder, "nearest_class", key=keys[:2], nearest=pa.array([1, 2], pa.int32()))
    for part in (folder / "overlays" / "nearest_class").glob("*.parquet"):
        part.unlink()
    notes = write_report(folder, tmp_path / "report.html").notes
    assert "The overlay label_noise lacks suggested (it has label)" in notes[0]
    assert "names no other key: expected other_key, representative_key, representative or group" in notes[1]
    assert "The overlay quality has no number and no truth value" in notes[2]
    assert "The overlay nearest_class cannot be read" in notes[3]
    assert "20" in read_page(tmp_path / "report.html").text


def test_an_overlay_of_another_version_is_not_shown(tmp_path: Path) -> None:
    for number in (20, 30):
        keys = fashion_dataset(tmp_path / str(number), number)
        write_noise(tmp_path / str(number), keys[:5], suggested=[1] * 5)
    other = tmp_path / "20" / "overlays" / "label_noise"
    write_report(tmp_path / "20", tmp_path / "report.html")
    moved = tmp_path / "30" / "overlays" / "label_noise"
    for file in moved.iterdir():
        file.unlink()
    for file in other.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    result = write_report(tmp_path / "30", tmp_path / "report.html")
    assert result.num_suspects == 0
    assert "was written for commit" in result.notes[0]


def test_damaged_images_are_noted(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    keys = fashion_dataset(folder, 20)
    write_noise(folder, keys[:6], suggested=[1] * 6)
    shard = folder / "shards" / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    place = content.find(b"\x89PNG")
    content[place : place + 8] = bytes(8)
    shard.write_bytes(content)
    result = write_report(folder, tmp_path / "report.html")
    assert result.notes[-1].startswith("1 image could not be shown, first 'image00000': UnidentifiedImageError")
    assert result.num_pictures == 5
    shard.unlink()
    result = write_report(folder, tmp_path / "report.html")
    assert result.notes[-1].startswith("6 images could not be shown, first 'image00000': NotFoundError")


def test_s3_gives_the_same_page_but_for_its_address(s3_environment: S3Server, dataset: Path, tmp_path: Path) -> None:
    url = s3_environment.url("report/photos")
    keys = fashion_dataset(url, 60, test_from=40)
    write_noise(url, keys[:8], suggested=[1] * 8)
    local = tmp_path / "photos"
    fashion_dataset(local, 60, test_from=40)
    write_noise(local, keys[:8], suggested=[1] * 8)
    write_report(url, s3_environment.url("report/page.html"))
    write_report(local, tmp_path / "local.html")
    remote = PageReader(open_storage(s3_environment.url("report")).read("page.html"))
    here = read_page(tmp_path / "local.html")
    assert remote.pictures() == here.pictures()
    assert remote.content() | {"dataset": ""} == here.content() | {"dataset": ""}
    assert remote.content()["dataset"] == url


def test_what_cannot_be_reported(tmp_path: Path, dataset: Path) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        write_report(tmp_path, tmp_path / "report.html")
    with pytest.raises(OptionError, match=r"ends in \.html"):
        write_report(dataset, tmp_path / "report.txt")
    for wrong in ({"num_suspects": -1}, {"thumbnail_pixels": 8}, {"max_bytes": 1000}):
        with pytest.raises(OptionError, match=r"found -?\d+"):
            ReportOptions(**wrong)


def test_the_command(dataset: Path, tmp_path: Path) -> None:
    out, csv, parquet = (str(tmp_path / name) for name in ("page.html", "noise.csv", "noise.parquet"))
    done = CliRunner().invoke(command, [str(dataset), "--out", out, "--csv", csv, "--parquet", parquet])
    assert done.exit_code == 0, done.output
    assert "20 suspects, 2 duplicate pairs" in done.stdout
    assert f"{csv}: 20 suspects" in done.stdout
    done = CliRunner().invoke(command, [str(dataset), "--out", out, "--suspects", "3", "--json"])
    assert json.loads(done.stdout)["num_suspects"] == 3
    done = CliRunner().invoke(command, [str(dataset), "--csv", parquet])
    assert isinstance(done.exception, OptionError)
