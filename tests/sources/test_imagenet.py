"""Kaggle's ImageNet, and the test sets made for it: V2, R and A, C, P."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.errors import SourceError
from shardtools.sample import Sample
from shardtools.sources import SourceOptions
from shardtools.sources.tree.archives import open_archives
from shardtools.sources.tree.imagefolder import open_imagefolder
from shardtools.sources.tree.shape import (
    CORRUPTIONS,
    PERTURBATIONS,
    CorruptedPlace,
    ShapeSurvey,
    read_corrupted_place,
)
from shardtools.sources.tree.video import count_frames, decode_frames
from shardtools.storage import open_storage
from shardtools.taxonomy import load_classes
from tests.helpers.archive_files import tar_bytes, zip_bytes
from tests.helpers.imagenet_files import CLASSES, LISTS, VAL_INDEXES, WNIDS, val_name, val_wnid
from tests.helpers.opened_sources import by_key
from tests.helpers.pictures import jpeg, write_files


@pytest.mark.parametrize("name", ["kaggle.zip", "kaggle.tar", "kaggle.tar.gz"])
def test_kaggles_archive_and_its_list(tmp_path: Path, name: str) -> None:
    inside = {f"train/{wnid}/{wnid}_1.JPEG": jpeg(position) for position, wnid in enumerate(WNIDS)}
    inside |= {f"val/{val_name(n)}": jpeg(100 + n) for n in range(1, 6)}
    files = {f"ILSVRC/Data/CLS-LOC/{path}": content for path, content in inside.items()}
    mode = "w:gz" if name.endswith("gz") else "w"
    found = archive(tmp_path / name, files, mode, classes="imagenet-1k")
    assert [found[f"val_{val_name(n)[:-5]}"].class_index for n in range(1, 6)] == [None] * 5

    solution = {"LOC_val_solution.csv": LISTS["LOC_val_solution.csv"].encode()}
    found = archive(tmp_path / name, solution | files, mode, classes="imagenet-1k")
    for number, class_index in enumerate(VAL_INDEXES, start=1):
        sample = found[f"val_{val_name(number)[:-5]}"]
        assert (sample.wnid, sample.class_index, sample.label_source) == (val_wnid(number), class_index, "list")
    assert {found[f"train_{wnid}_1"].class_index for wnid in WNIDS} == {0, 65, 999}
    assert found["LOC_val_solution_csv"].status == "not-an-image"
    other = {"LOC_val_solution.csv": solution["LOC_val_solution.csv"].replace(WNIDS[1].encode(), b"n01443537")}
    with pytest.raises(SourceError, match=r"the class n01443537 of .* has no folder"):
        archive(tmp_path / name, other | files, mode)


def test_kaggles_folder(tmp_path: Path) -> None:
    files = {f"ILSVRC/Data/CLS-LOC/train/{wnid}/{wnid}_1.JPEG": jpeg(n) for n, wnid in enumerate(WNIDS)}
    files |= {f"ILSVRC/Data/CLS-LOC/val/{val_name(n)}": jpeg(100 + n) for n in range(1, 6)}
    files |= {"LOC_val_solution.csv": LISTS["LOC_val_solution.csv"].encode(), "ILSVRC/Annotations/1.xml": b"<x/>"}
    root = write_files(tmp_path / "in", files)
    (tmp_path / "listing").mkdir()
    source = open_imagefolder(open_storage(str(root)), SourceOptions(source=str(root)), CLASSES, tmp_path / "listing")
    found = by_key(source)

    assert source.splits == {"train": 5, "val": 5}
    assert [found[f"val_{val_name(n)[:-5]}"].class_index for n in range(1, 6)] == VAL_INDEXES
    assert found["ILSVRC_Annotations_1_xml"].status == "not-an-image"
    # Around classes a folder is the class, as torchvision counts.
    other = write_files(tmp_path / "other", {"photos/cat/1.jpg": jpeg(1), "photos/dog/1.jpg": jpeg(2)})
    found = by_key(open_imagefolder(open_storage(str(other)), SourceOptions(source="x"), None, tmp_path / "listing"))
    assert {sample.wnid for sample in found.values()} == {"photos"}


def archive(path: Path, files: Mapping[str, bytes], mode: str = "w", **options: Any) -> dict[str, Sample]:
    content = zip_bytes(files) if path.suffix == ".zip" else tar_bytes(files, mode)
    write_files(path.parent, {path.name: content})
    listing = path.parent / "listing"
    listing.mkdir(exist_ok=True)
    found = SourceOptions(source=str(path), **options)
    return by_key(open_archives(found, load_classes(found.classes) if found.classes else None, listing))


def test_imagenet_v2_has_numbers_for_classes(tmp_path: Path) -> None:
    wrapper = "imagenetv2-matched-frequency-format-val"
    files = {f"{wrapper}/{number}/{number:04d}.jpeg": jpeg(number) for number in (0, 2, 10, 999)}
    for options in ({}, {"classes": "imagenet-1k"}):
        found = archive(tmp_path / "v2.tar.gz", files, "w:gz", split="val", **options)
        for number in (0, 2, 10, 999):
            sample = found[f"{number}_{number:04d}"]
            wnid = CLASSES[number].wnid if options else str(number)
            assert (sample.wnid, sample.class_index, sample.image_bytes) == (wnid, number, jpeg(number))
            assert sample.provenance["source_path"] == f"v2.tar.gz/{wrapper}/{number}/{number:04d}.jpeg"


@pytest.mark.parametrize("name", ["imagenet-r.tar", "imagenet-a.tar", "sketch.zip"])
def test_subsets_of_classes_keep_imagenets_indexes(tmp_path: Path, name: str) -> None:
    wrapper = name.partition(".")[0]
    chosen = [6, 99, 950]
    files = {f"{wrapper}/{CLASSES[index].wnid}/{index}.jpg": jpeg(index) for index in chosen}
    found = archive(tmp_path / name, {f"{wrapper}/README.txt": b"words"} | files, classes="imagenet-1k")

    assert {sample.class_index: sample.wnid for sample in found.values() if sample.status == "ok"} == {
        index: CLASSES[index].wnid for index in chosen
    }
    assert found["README_txt"].status == "not-an-image" and found["README_txt"].class_index is None
    # Without the set the classes that are there are counted.
    assert {sample.class_index for sample in archive(tmp_path / name, files).values()} == {0, 1, 2}


def corrupted_files() -> dict[str, bytes]:
    return {
        f"{name}/{severity}/{wnid}/{val_name(position)}": jpeg(severity * 7 + position)
        for name in ("defocus_blur", "glass_blur")
        for severity in (1, 5)
        for position, wnid in enumerate(WNIDS)
    }


@pytest.mark.parametrize("form", ["tar", "tars", "folder", "wrapped"])
def test_imagenet_c_says_corruption_and_severity(tmp_path: Path, form: str) -> None:
    files = corrupted_files()
    (tmp_path / "listing").mkdir()
    if form == "folder":
        root = write_files(tmp_path / "in", files | {"README.md": b"words"})
        storage = open_storage(str(root))
        found = by_key(open_imagefolder(storage, SourceOptions(source=str(root)), CLASSES, tmp_path / "listing"))
        assert found.pop("README_md").class_index is None
    elif form == "tars":
        for name in ("defocus_blur", "glass_blur"):
            part = {path: content for path, content in files.items() if path.startswith(name)}
            write_files(tmp_path / "in", {f"{name}.tar": tar_bytes(part)})
        found = by_key(open_archives(SourceOptions(source=str(tmp_path / "in")), CLASSES, tmp_path / "listing"))
    else:
        inside = {f"{'ImageNet-C/blur/' if form == 'wrapped' else ''}{path}": one for path, one in files.items()}
        found = archive(tmp_path / "blur.tar", inside, classes="imagenet-1k")

    assert len(found) == len(files)
    for path, content in files.items():
        name, severity, wnid, file = path.split("/")
        sample = found[f"{name}_{severity}_{wnid}_{file[:-5]}"]
        assert (sample.source, sample.wnid, sample.image_bytes) == ("corrupted", wnid, content)
        assert sample.class_index == (0, 65, 999)[WNIDS.index(wnid)]
        assert (sample.provenance["corruption"], sample.provenance["severity"]) == (name, int(severity))
        assert sample.provenance["source_path"].endswith(path)


def test_layouts_of_paths() -> None:
    place = read_corrupted_place(["a", "defocus_blur", "3", "n01440764", "x.JPEG"])
    assert place == CorruptedPlace(1, "defocus_blur", 3, "n01440764")
    assert read_corrupted_place(["shot_noise_3", "n01440764", "x.mp4"]) == CorruptedPlace(
        0, "shot_noise", 3, "n01440764"
    )
    assert read_corrupted_place(["tilt", "n01440764", "x.mp4"]) == CorruptedPlace(0, "tilt", None, "n01440764")
    for path in ("snow/6/n01440764/x.jpg", "snow/1/cat/x.jpg", "rain/1/n01440764/x.jpg", "snow/1/x.jpg", "x.jpg"):
        assert read_corrupted_place(path.split("/")) is None, path
    assert len(CORRUPTIONS) == 19 and len(PERTURBATIONS) == 14

    survey = ShapeSurvey()
    survey.add(["snow", "1", "n01440764", "x.jpg"])
    assert survey.is_corrupted
    survey.add(["cat", "x.jpg"])
    assert not survey.is_corrupted


def video(folder: Path, num_frames: int, size: tuple[int, int] = (64, 48)) -> bytes:
    path = folder / f"{num_frames}.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, size)
    for number in range(num_frames):
        writer.write(np.full((size[1], size[0], 3), (20 + 6 * number, 60, 200), np.uint8))
    writer.release()
    return path.read_bytes()


@pytest.mark.parametrize("name", ["p.tar", "p.tar.gz", "p.zip", "folder"])
def test_imagenet_p_videos_become_frames(tmp_path: Path, name: str) -> None:
    files = {f"tilt/{wnid}/{val_name(1)[:-5]}.mp4": video(tmp_path, 31 - n) for n, wnid in enumerate(WNIDS)}
    if name == "folder":
        root = write_files(tmp_path / "in", files)
        (tmp_path / "listing").mkdir()
        storage = open_storage(str(root))
        found = by_key(open_imagefolder(storage, SourceOptions(source=str(root)), CLASSES, tmp_path / "listing"))
    else:
        found = archive(tmp_path / name, files, "w:gz" if name.endswith("gz") else "w", classes="imagenet-1k")

    assert len(found) == 31 + 30 + 29
    assert {sample.status for sample in found.values()} == {"ok"}
    sample = found[f"tilt_{WNIDS[1]}_ILSVRC2012_val_00000001_029"]
    assert (sample.class_index, sample.image_format, sample.width, sample.height) == (65, "png", 64, 48)
    assert (sample.source, sample.provenance["corruption"], sample.provenance["frame"]) == ("corrupted", "tilt", 29)
    assert "severity" not in sample.provenance
    with Image.open(io.BytesIO(sample.image_bytes or b"")) as image:
        pixels = np.asarray(image)
    assert np.abs(pixels.astype(int) - (200, 60, 20 + 6 * 29)).max() <= 6


def test_damaged_videos_are_rows(tmp_path: Path) -> None:
    whole = video(tmp_path, 12)
    assert count_frames(whole) == 12
    files = {
        "whole": whole,
        "no_table": whole[: whole.index(b"moov") - 4],
        "no_frames": whole[: whole.index(b"mdat") + 4]
        + bytes(whole.index(b"moov") - whole.index(b"mdat") - 8)
        + whole[whole.index(b"moov") - 4 :],
        "words": b"no video",
        "empty": b"",
    }
    found = archive(tmp_path / "p.tar", {f"tilt/{WNIDS[0]}/{name}.mp4": one for name, one in files.items()})

    assert len(found) == 12 + 1 + 12 + 1 + 1
    bad = {key: sample for key, sample in found.items() if "whole" not in key}
    assert {sample.status for sample in bad.values()} == {"undecodable"} and all(one.reason for one in bad.values())
    assert sum(sample.status == "ok" for sample in found.values()) == 12


def test_videos_without_opencv_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = video(tmp_path, 2)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SourceError, match=r"reading .mp4 needs OpenCV: pip install opencv-python-headless"):
        archive(tmp_path / "p.tar", {f"tilt/{WNIDS[0]}/1.mp4": content})
    # Elsewhere a video is a file like others.
    found = archive(tmp_path / "x.tar", {"cat/1.mp4": content, "cat/1.jpg": jpeg(1)})
    assert found["cat_1_mp4"].status == "not-an-image"


@settings(max_examples=60)
@given(data=st.data())
def test_mutated_videos_are_counted_without_harm(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(video(tmp_path_factory.getbasetemp(), 3))
    start = content.index(b"moov") - 4
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(start, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert 0 <= count_frames(bytes(content)) <= 100_000


def test_frames_in_any_order_of_calls(tmp_path: Path) -> None:
    content = video(tmp_path, 5)
    frames = decode_frames(content, range(5))
    assert decode_frames(content, [1, 4]) == [frames[1], frames[4]]
    assert len({bytes(frame) for frame in frames if isinstance(frame, bytes)}) == 5
