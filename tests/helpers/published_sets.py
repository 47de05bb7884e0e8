"""Small stand-ins for published sets, in the layouts in which those are published: few pictures, all of their lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from shardtools.sample import Sample
from shardtools.sources import PUBLISHED_SETS
from tests.helpers.opened_sources import everything, opened
from tests.helpers.pictures import encode, jpeg, write_files

APTOS_LABELS = [0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 4, 3, 3, 3, 3]
"""In the order of train.csv: ten more of some classes than of others, and one of two pictures."""

MELANOMA_FOLDS = {2020: [3, 0, 1, 2, 4, -1, 0, 3, 2, 9, 8, 7, 6, 5], 2019: [2, 2, 0, 5, 1, 4, 3, -1, 6]}
"""The fold of each row of train.csv; its target is that of `melanoma_target`."""

CCT_BOXES = {
    "train": [("a", 99), ("b", 1), ("b", 1), ("c", 30), ("d", 6), ("b", 3), ("e", 51)],
    "cis_val": [("f", 16), ("g", 16), ("g", 16)],
    "cis_test": [("h", 11), ("i", 30), ("j", 33)],
}
HPA_ROWS = [("p", "25 0", "train"), ("q", "14", "train"), ("r", "2 4 21", "val"), ("s", "27", "test_val")]


def melanoma_target(row: int) -> int:
    return int(row % 3 == 0)


def pictures(paths: Iterable[str]) -> dict[str, bytes]:
    return {path: jpeg(number) for number, path in enumerate(paths)}


def text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def records(rows: list[dict[str, Any]]) -> np.ndarray:
    """A struct array as MATLAB saves it."""
    array = np.zeros((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for number, row in enumerate(rows):
        array[0, number] = tuple(row.values())
    return array


def make_aircraft(root: Path) -> None:
    variants = [f"{700 + number}-200" for number in range(97)] + ["A320", "F/A-18", "DHC-8-100"]
    rows = {"train": [("1000001", "DHC-8-100"), ("1000002", "700-200")], "val": [("1000003", "F/A-18")], "test": []}
    rows["test"] = [("0000004", "F/A-18"), ("1000005", "A320")]
    files = {"variants.txt": text(variants)}
    for split, named in rows.items():
        files[f"images_variant_{split}.txt"] = text(f"{image} {variant}" for image, variant in named)
        files |= pictures(f"images/{image}.jpg" for image, _ in named)
    write_files(root / "fgvc-aircraft-2013b/data", files)


def make_cars(root: Path, *, one_list: bool = False) -> None:
    folder = root / "stanford_cars"
    rows = {
        "train": [("00001.jpg", 14), ("00002.jpg", 3), ("00003.jpg", 196)],
        "test": [("00001.jpg", 181), ("00002.jpg", 1)],
    }
    all_rows = [(f"cars_{split}/{name}", split, number) for split, named in rows.items() for name, number in named]
    files = pictures(path for path, _, _ in all_rows)
    if one_list:
        files = {f"car_ims/{place:06d}.jpg": content for place, content in enumerate(files.values())}
    write_files(folder, files)
    (folder / "devkit").mkdir()
    names = np.array([[f"Make Model {number:03d}" for number in range(196)]], dtype=object)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": names})
    if one_list:
        whole = [
            {"relative_im_path": path, "bbox_x1": 1, "class": number, "test": int(split == "test")}
            for path, (_, split, number) in zip(files, all_rows, strict=True)
        ]
        savemat(folder / "cars_annos.mat", {"annotations": records(whole)})
        return
    for split, path in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        named = [{"bbox_x1": 39, "class": number, "fname": name} for name, number in rows[split]]
        savemat(folder / path, {"annotations": records(named)})


def make_dtd(root: Path) -> None:
    names = [f"texture{number:02d}" for number in range(47)]
    files = {}
    for number, split in enumerate(("train", "val", "test")):
        files[f"labels/{split}1.txt"] = text(f"{name}/{name}_{number:04d}.jpg" for name in reversed(names))
        files |= pictures(f"images/{name}/{name}_{number:04d}.jpg" for name in names[-2:])
    write_files(root / "dtd/dtd", files)


def make_eurosat(root: Path) -> None:
    names = ["AnnualCrop", "Forest", *(f"Class{number}" for number in range(8))]
    counts = {name: 10 + place % 3 for place, name in enumerate(names)}
    paths = [f"{name}/{name}_{number + 1}.jpg" for name, count in counts.items() for number in range(count)]
    write_files(root / "eurosat/2750", pictures(paths))


def make_flowers(root: Path) -> None:
    folder = root / "flowers-102"
    labels = [77, 1, 102, 77, 5, 1, 9]
    write_files(folder, pictures(f"jpg/image_{number:05d}.jpg" for number in range(1, 8)))
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    sets = {"trnid": [5, 2], "valid": [3, 7], "tstid": [6, 1, 4]}
    savemat(folder / "setid.mat", {name: np.array([numbers], np.uint16) for name, numbers in sets.items()})


def make_pets(root: Path) -> None:
    names = ["Abyssinian", "american_bulldog", *(f"breed{number}" for number in range(3, 38))]
    files = {
        "annotations/trainval.txt": text(f"{name}_100 {place} 1 1" for place, name in enumerate(names, start=1)),
        "annotations/test.txt": text(("american_bulldog_7 2 2 1", "Abyssinian_2 1 1 1")),
    }
    shown = ("Abyssinian_100", "american_bulldog_100", "breed37_100", "american_bulldog_7", "Abyssinian_2", "Bengal_9")
    write_files(root / "oxford-iiit-pet", files | pictures(f"images/{name}.jpg" for name in shown))


def make_food(root: Path) -> None:
    names = ["apple_pie", "baby_back_ribs", *(f"food{number:02d}" for number in range(99))]
    lists = {
        "train": [f"{name}/{100 + place}" for place, name in enumerate(names)],
        "test": ["baby_back_ribs/7", "apple_pie/7"],
    }
    files = {"meta/classes.txt": text(names)}
    for split, paths in lists.items():
        files[f"meta/{split}.txt"] = text(paths)
        of_class: dict[str, list[str]] = {}
        for path in paths:
            of_class.setdefault(path.partition("/")[0], []).append(path)
        files[f"meta/{split}.json"] = json.dumps(of_class).encode()
        files |= pictures(f"images/{path}.jpg" for path in paths[:2])
    write_files(root / "food-101", files)


def make_sun(root: Path) -> None:
    names = [f"/a/abbey{number:03d}" for number in range(395)] + ["/c/church/indoor", "/c/church/outdoor"]
    lists = {
        "Training_01.txt": ["/c/church/outdoor/sun_a.jpg", "/a/abbey001/sun_b.jpg"],
        "Testing_01.txt": ["/c/church/indoor/sun_a.jpg"],
    }
    files = {"ClassName.txt": text(names), **{name: text(paths) for name, paths in lists.items()}}
    shown = [path.strip("/") for paths in lists.values() for path in paths]
    write_files(root / "SUN397", files | pictures([*shown, "a/abbey001/sun_of_no_split.jpg"]))


def make_inat(root: Path, year: int, num_classes: int) -> None:
    categories = [{"id": number, "name": f"Species {number}"} for number in range(num_classes)]
    files = {}
    for split, labels in (("train", [num_classes - 1, 0, 7]), ("val", [7])):
        images = [
            {"id": 10 + place, "file_name": f"train_val{year}/Aves/{label}/{split}{place}.jpg"}
            for place, label in enumerate(labels)
        ]
        # In another order than the pictures: they belong together by their ids.
        annotations = [
            {"id": place, "image_id": 10 + place, "category_id": label} for place, label in enumerate(labels)
        ][::-1]
        content = {"images": images, "annotations": annotations, "categories": categories}
        files[f"{split}{year}.json"] = json.dumps(content).encode()
        files |= pictures(str(image["file_name"]) for image in images)
    write_files(root / f"inat{year}", files)


def make_cct(root: Path) -> None:
    files = {}
    for split, boxes in CCT_BOXES.items():
        content = {
            "annotations": [{"id": n, "image_id": image, "category_id": k} for n, (image, k) in enumerate(boxes)],
            "categories": [{"id": 1, "name": "opossum"}, {"id": 99, "name": "rodent"}, {"id": 30, "name": "empty"}],
        }
        files[f"eccv_18_annotation_files/{split}_annotations.json"] = json.dumps(content).encode()
        files |= pictures(f"eccv_18_all_images_sm/{image}.jpg" for image, _ in boxes)
    write_files(root / "CCT-20", files)


def make_aptos(root: Path) -> None:
    names = [f"{number:012x}" for number in range(len(APTOS_LABELS))]
    files: dict[str, bytes] = {
        "train.csv": text(["id_code,diagnosis", *(f"{n},{k}" for n, k in zip(names, APTOS_LABELS, strict=True))])
    }
    picture = encode(Image.new("RGB", (8, 6), (200, 90, 20)), "PNG")
    write_files(root / "aptos2019", files | {f"train_images/{name}.png": picture for name in names})


def make_cassava(root: Path) -> None:
    rows = [(f"{number}.jpg", label) for number, label in enumerate(APTOS_LABELS)]
    files = {"train.csv": text(["image_id,label", *(f"{name},{label}" for name, label in rows)])}
    folder = root / "cassava-leaf-disease-classification"
    write_files(folder, files | pictures(f"train_images/{name}" for name, _ in rows))


def make_melanoma(root: Path) -> None:
    for year, folds in MELANOMA_FOLDS.items():
        rows = [f"ISIC_{year}{row},x,{melanoma_target(row)},{fold}" for row, fold in enumerate(folds)]
        files = {"train.csv": text(["image_name,diagnosis,target,tfrecord", *rows])}
        names = pictures(f"train/ISIC_{year}{row}.jpg" for row in range(len(folds)))
        write_files(root / f"melanoma/melanoma-{year}", files | names)


def hpa_channels(number: int) -> np.ndarray:
    """Red, green, blue and yellow of a picture: [4, 6, 8] uint8."""
    return np.random.default_rng(number).integers(0, 256, (4, 6, 8), dtype=np.uint8)


def make_hpa(root: Path, *, joined: bool = False) -> None:
    rows = [f'{name},"{labels}",{split}' for name, labels, split in HPA_ROWS]
    files: dict[str, bytes] = {"split.stratified.small.0.csv": text(["Id,Target,Split", *rows])}
    for number, (name, _, _) in enumerate(HPA_ROWS):
        channels = hpa_channels(number)
        if joined:
            files[f"rgby/train/{name}.png"] = encode(Image.fromarray(np.moveaxis(channels, 0, 2)), "PNG")
            continue
        for color, pixels in zip(("red", "green", "blue", "yellow"), channels, strict=True):
            files[f"train/{name}_{color}.png"] = encode(Image.fromarray(pixels), "PNG")
    write_files(root / "hpa", files)


MAKERS: dict[str, Callable[[Path], None]] = {
    "aircraft": make_aircraft,
    "cars196": make_cars,
    "dtd": make_dtd,
    "eurosat": make_eurosat,
    "flowers": make_flowers,
    "pets": make_pets,
    "food101": make_food,
    "sun397": make_sun,
    "inat2018": lambda root: make_inat(root, 2018, PUBLISHED_SETS["inat2018"].num_classes),
    "inat2019": lambda root: make_inat(root, 2019, PUBLISHED_SETS["inat2019"].num_classes),
    "cct20": make_cct,
    "aptos": make_aptos,
    "hpa": make_hpa,
    "melanoma": make_melanoma,
    "cassava": make_cassava,
}
"""Set -> what makes its stand-in below a root; those of two names have one."""


def make_all(root: Path) -> Path:
    for make in MAKERS.values():
        make(root)
    return root


def read_set(root: Path, index: Path, name: str, **options: Any) -> dict[str, list[Sample]]:
    """Split -> samples in the order of the lists."""
    options = {"shuffle": False, "allow_partial": True} | options
    return everything(opened(f"torchvision:{name}", index, root=str(root), **options))
