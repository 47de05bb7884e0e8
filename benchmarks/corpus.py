"""Make the corpus that the benchmarks read: 2000 JPEG photos in class folders, with ImageNet's sizes and lengths.

    python benchmarks/corpus.py /tmp/corpus --json

Hardware: two CPU cores. Time: about 1 minute. Expected: 2000 images of 100 classes, mean about 490 x 405 pixels and
about 100 KB, and the same digest on every machine with the Pillow and NumPy of constraints.txt.

ImageNet itself may not be passed on, so the photos are crops of Debian's photo wallpapers (packages: `PHOTOS`). A crop
is scaled down to one of ImageNet's usual sizes, sharpened, given a little brightness noise, as small sensors have,
and encoded at quality 90 to 96; noise is what brings so small a picture to ImageNet's bytes. Each image depends on its
own number alone, so fewer images are a prefix, and any number of processes makes the same files. Crops of one
photo look alike: the corpus is for speed, never for accuracy.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from shardtools.taxonomy import load_classes

NUM_IMAGES = 2000
CLASSES = "imagenet-100"
NOISE = 11.0
"""Standard deviation of the brightness noise, of 255: set so that the mean comes to about 100 KB."""
SIZES = {
    (500, 375): 0.60,
    (500, 333): 0.12,
    (375, 500): 0.10,
    (333, 500): 0.04,
    (500, 500): 0.08,
    (640, 480): 0.06,
}
"""Width and height -> share of the images; 500 x 375 is by far ImageNet's most frequent size."""

PHOTOS = {
    "plasma-workspace-wallpapers": tuple(
        f"/usr/share/wallpapers/{name}/contents/images/2560x1600.jpg"
        for name in (
            "Autumn",
            "BytheWater",
            "ColdRipple",
            "ColorfulCups",
            "EveningGlow",
            "FallenLeaf",
            "Grey",
            "Kite",
            "OneStandsOut",
            "Path",
        )
    ),
    "mate-backgrounds": tuple(
        f"/usr/share/backgrounds/mate/nature/{name}.jpg"
        for name in (
            "Blinds",
            "Dune",
            "Garden",
            "GreenMeadow",
            "LadyBird",
            "RainDrops",
            "TwoWings",
            "Wood",
            "YellowFlower",
        )
    ),
    "lomiri-wallpapers-16.04": tuple(
        f"/usr/share/backgrounds/{name}.jpg"
        for name in (
            "Bridge_by_Sander_Klootwijk",
            "Dragonfly_by_Bolly",
            "Wine_by_Jakkub_Mede",
            "aitzgorri_by_Aitzol_Berasategi",
            "analogpattern_by_Peter_Nerlich",
            "friends_by_Aitzol_Berasategi",
            "greentock_by_Peter_Nerlich",
            "life_by_Aitzol_Berasategi",
            "picosdeeuropa_by_Aitzol_Berasategi",
            "seeding_by_Clements_Engelhardt",
            "sunset_by_Aitzol_Berasategi",
        )
    ),
    "lomiri-wallpapers-20.04": (
        "/usr/share/backgrounds/Kleiber_by_Lukas_Baubkus.jpg",
        "/usr/share/backgrounds/Painting-Colors_by__herobrine7gamer.jpg",
    ),
}
"""Debian package -> its photographs; drawings and plain colour gradients are left out."""


class CorpusError(Exception):
    """The corpus cannot be made; one line says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFacts:
    """What a corpus is.

    Attributes:
        num_images: Files.
        num_classes: Folders.
        num_bytes: Length of all files.
        mean_bytes: A file's length.
        mean_width: Pixels.
        mean_height: Pixels.
        digest: sha256 over a line "PATH SHA256" a file, sorted by path.
    """

    num_images: int
    num_classes: int
    num_bytes: int
    mean_bytes: float
    mean_width: float
    mean_height: float
    digest: str


def find_photos() -> list[str]:
    """Paths of all photographs.

    Raises:
        CorpusError: Some are missing; it names the packages to install.
    """
    missing = [package for package, paths in PHOTOS.items() if not all(Path(path).is_file() for path in paths)]
    if missing:
        raise CorpusError(f"photos are missing under /usr/share: apt-get install {' '.join(missing)}")
    return [path for paths in PHOTOS.values() for path in paths]


def image_path(number: int) -> str:
    """Path of an image below the corpus, as ImageNet names its files: "n01440764/n01440764_17.JPEG"."""
    wnids = _wnids()
    wnid = wnids[number % len(wnids)]
    return f"{wnid}/{wnid}_{number // len(wnids)}.JPEG"


@functools.cache
def _wnids() -> tuple[str, ...]:
    return tuple(image_class.wnid for image_class in load_classes(CLASSES))


def make_image(photo: Image.Image, number: int) -> bytes:
    """One JPEG of the corpus, which depends on the photo and the number alone."""
    rng = np.random.default_rng([2012, number])
    size = list(SIZES)[rng.choice(len(SIZES), p=list(SIZES.values()))]
    # A crop of one to three times the size, as far as the photo has it; smaller photos are enlarged a little.
    factor = min(rng.uniform(1, 3), photo.width / size[0], photo.height / size[1])
    width, height = size[0] * factor, size[1] * factor
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    crop = photo.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    crop = crop.filter(ImageFilter.UnsharpMask(radius=1, percent=60, threshold=0))
    noise = rng.standard_normal((size[1], size[0], 1), dtype=np.float32) * np.float32(NOISE * rng.uniform(0.4, 1.6))
    noisy = np.clip(np.asarray(crop, np.float32) + noise, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=int(rng.integers(90, 97)), optimize=False)
    return stream.getvalue()


def write_crops(photo_path: str, numbers: range, out: Path) -> int:
    """Writes the images that are crops of one photo; returns their total length."""
    with Image.open(photo_path) as opened:
        photo = opened.convert("RGB")
    total = 0
    for number in numbers:
        content = make_image(photo, number)
        (out / image_path(number)).write_bytes(content)
        total += len(content)
    return total


def make_corpus(out: Path, num_images: int = NUM_IMAGES, num_processes: int = 2) -> CorpusFacts:
    """Makes the corpus in a folder, or finds it there.

    Args:
        out: A folder that is missing, empty, or holds as many images already (a whole corpus is not made again).
        num_images: At least 1.
        num_processes: At least 1; the files do not depend on it.

    Raises:
        CorpusError: Photos are missing, or the folder holds something else.
    """
    photos = find_photos()
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} if out.exists() else set()
    wanted = {image_path(number) for number in range(num_images)}
    if found == wanted:
        return read_facts(out)
    if found:
        raise CorpusError(f"{out} holds {len(found)} files that are not this corpus: give an empty folder")
    for folder in {path.rpartition("/")[0] for path in wanted}:
        (out / folder).mkdir(parents=True, exist_ok=True)
    # Neighbours come from different photos, so that classes and shards hold all of them alike.
    jobs = [(photo, range(index, num_images, len(photos)), out) for index, photo in enumerate(photos)]
    jobs = [job for job in jobs if job[1]]
    if num_processes == 1:
        for job in jobs:
            write_crops(*job)
        return read_facts(out)
    with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in [pool.submit(write_crops, *job) for job in jobs]:
            future.result()
    return read_facts(out)


def read_facts(out: Path) -> CorpusFacts:
    """Counts, means and the digest of the files below a folder."""
    digest = hashlib.sha256()
    lengths, widths, heights = [], [], []
    folders = set()
    for path in sorted(out.rglob("*.JPEG"), key=lambda path: path.relative_to(out).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(out).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
        with Image.open(io.BytesIO(content)) as image:
            widths.append(image.width)
            heights.append(image.height)
        lengths.append(len(content))
        folders.add(path.parent.name)
    return CorpusFacts(
        num_images=len(lengths),
        num_classes=len(folders),
        num_bytes=sum(lengths),
        mean_bytes=round(sum(lengths) / len(lengths), 1),
        mean_width=round(sum(widths) / len(widths), 1),
        mean_height=round(sum(heights) / len(heights), 1),
        digest=digest.hexdigest(),
    )


def main() -> None:
    """Parse, make, print."""
    parser = argparse.ArgumentParser(description="Make 2000 JPEG photos with ImageNet's sizes for the benchmarks.")
    parser.add_argument("out", type=Path, help="an empty or missing folder, or one that holds the corpus already")
    parser.add_argument("--images", type=int, default=NUM_IMAGES)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.images < 1 or options.processes < 1:
        parser.error("--images and --processes are at least 1")
    start = time.perf_counter()
    try:
        facts = make_corpus(options.out, options.images, options.processes)
    except CorpusError as error:
        sys.exit(f"corpus: {error}")
    seconds = time.perf_counter() - start
    if options.json:
        print(json.dumps(asdict(facts) | {"seconds": round(seconds, 1)}))
        return
    print(f"{options.out}: {facts.num_images} images in {facts.num_classes} classes, {facts.num_bytes / 1e6:.1f} MB")
    print(f"mean {facts.mean_bytes / 1e3:.1f} kB, {facts.mean_width:.0f} x {facts.mean_height:.0f} pixels")
    print(f"digest {facts.digest}; {seconds:.0f} s")


if __name__ == "__main__":
    main()
