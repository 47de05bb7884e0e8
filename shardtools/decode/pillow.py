"""The same pixels with Pillow: formats other than JPEG, and installs without the native core.

Owns every use of Pillow in decoding. The price is speed: a whole image is decoded for each crop list, each step makes a
new image, and Python's lock is held between the steps.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shardtools.decode.jpeg import has_too_many_scans, lacks_data
from shardtools.decode.options import MAX_BLUR_RADIUS, ColorOperation, DecodeOptions, DecodeStatus
from shardtools.decode.request import Encoded, Request

if TYPE_CHECKING:
    from PIL import Image

# Only these are tried: some of Pillow's others start programs.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")


_JPEGS = ("JPEG", "MPO")


class _Quiet:
    """What Pillow finds odd and still reads is read without a warning.

    Python's filters are the whole process's: of several batches at a time the first changes them, and the last one to
    end puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._num_inside += 1
            if self._num_inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                self._filters.__exit__(None, None, None)


_without_warnings = _Quiet()


class PillowDecoder:
    """Decodes one image a thread."""

    def __init__(self, options: DecodeOptions) -> None:
        self._options = options

    def decode(self, request: Request, indices: NDArray[np.intp]) -> NDArray[np.int32]:
        """Fills the targets of some images.

        Args:
            request: The batch.
            indices: Which of its images.

        Returns:
            A `DecodeStatus` for each of `indices`.
        """
        with _without_warnings, ThreadPoolExecutor(self._options.num_threads) as threads:
            found = threads.map(lambda index: self._decode_one(request, int(index)), indices)
            return np.fromiter(found, np.int32, len(indices))

    def sizes(self, images: list[Encoded]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Width and height of each image, [N, 2], and a status for each."""
        from PIL import Image

        sizes = np.zeros((len(images), 2), np.int32)
        statuses = np.zeros(len(images), np.int32)
        for index, encoded in enumerate(images):
            try:
                with _without_warnings, Image.open(io.BytesIO(encoded), formats=_known_formats()) as image:
                    if image.width * image.height > self._options.max_pixels:
                        statuses[index] = DecodeStatus.BAD_SIZE
                    else:
                        sizes[index] = image.size
            except Exception as error:
                statuses[index] = _status_of(error)
        return sizes, statuses

    def _decode_one(self, request: Request, index: int) -> DecodeStatus:
        targets = [request.target_of(index, crop) for crop in range(request.num_crops)]
        try:
            status = self._fill(request, index, targets)
        except Exception as error:
            # Decoders fail with whatever the bytes make them trip over: OSError, ValueError, struct.error, ...
            status = _status_of(error)
        if status != DecodeStatus.OK:
            for target in targets:
                target[...] = 0
        return status

    def _fill(self, request: Request, index: int, targets: list[NDArray[np.uint8]]) -> DecodeStatus:
        with _open(request, index) as image:
            # By the header, before any pixel is decoded.
            if image.width * image.height > self._options.max_pixels:
                return DecodeStatus.BAD_SIZE
            if not _crops_fit(request.crops[index], image.size):
                return DecodeStatus.BAD_CROP
            if image.format in _JPEGS and has_too_many_scans(bytes(request.images[index]), image.width * image.height):
                return DecodeStatus.CORRUPT
            picture = to_rgb(image)
            if image.format in _JPEGS and lacks_data(bytes(request.images[index])):
                return DecodeStatus.CORRUPT
        if picture is None:
            return DecodeStatus.UNSUPPORTED
        for crop, target in enumerate(targets):
            target[...] = np.asarray(self._make_crop(request, picture, index, crop, target))
        return DecodeStatus.OK

    def _make_crop(
        self, request: Request, picture: Image.Image, index: int, crop: int, target: NDArray[np.uint8]
    ) -> Image.Image:
        from PIL import Image

        filters = {
            "area": Image.Resampling.BOX,
            "bilinear": Image.Resampling.BILINEAR,
            "bicubic": Image.Resampling.BICUBIC,
        }
        left, top, width, height = request.crops[index, crop].tolist()
        size = target.shape[1], target.shape[0]
        full, corner = size, (0, 0)
        if request.windows is not None:
            full_width, full_height, *offset = request.windows[index, crop].tolist()
            full, corner = (full_width, full_height), (offset[0], offset[1])
        made = picture.crop((left, top, left + width, top + height))
        # Columns first in any release: from 13 on, Pillow itself begins with the rows where an image gets flatter.
        made = made.resize((full[0], height), filters[self._options.interpolation])
        made = made.resize(full, filters[self._options.interpolation])
        made = made.crop((*corner, corner[0] + size[0], corner[1] + size[1]))
        if request.flips[index, crop]:
            made = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if request.colors is not None:
            steps = zip(request.colors.operations[index, crop], request.colors.values[index, crop], strict=True)
            for operation, value in steps:
                made = _OPERATIONS[ColorOperation(int(operation))](made, float(value))
        return made


def _open(request: Request, index: int) -> Image.Image:
    from PIL import Image

    encoded = request.images[index]
    if request.raw_sizes is None or not request.raw_sizes[index, 0]:
        return Image.open(io.BytesIO(encoded), formats=_known_formats())
    width, height = request.raw_sizes[index].tolist()
    expected = width * height * 3
    if len(encoded) != expected:
        what = "truncated" if len(encoded) < expected else "too many"
        raise ValueError(f"{what} pixels: expected {expected} bytes, found {len(encoded)}")
    # Pillow takes any buffer, also where its stubs name fewer.
    return Image.frombuffer("RGB", (width, height), encoded, "raw", "RGB", 0, 1)  # type: ignore[arg-type]


def _known_formats() -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _crops_fit(crops: NDArray[np.int32], size: tuple[int, int]) -> bool:
    corner, extent = crops[:, :2].astype(np.int64), crops[:, 2:].astype(np.int64)
    return bool(((corner >= 0) & (extent >= 1) & (corner + extent <= size)).all())


def to_rgb(image: Image.Image) -> Image.Image | None:
    """First frame in RGB, alpha dropped; None for a mode that holds no picture of 8 or 16 bits."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return None
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _status_of(error: Exception) -> DecodeStatus:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return DecodeStatus.NOT_AN_IMAGE
    if isinstance(error, Image.DecompressionBombError):
        return DecodeStatus.BAD_SIZE
    if isinstance(error, MemoryError):
        return DecodeStatus.NO_MEMORY
    return DecodeStatus.TRUNCATED if "truncated" in str(error) else DecodeStatus.CORRUPT


def _brightness(image: Image.Image, value: float) -> Image.Image:
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(value)


def _contrast(image: Image.Image, value: float) -> Image.Image:
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(image).enhance(value)


def _saturation(image: Image.Image, value: float) -> Image.Image:
    from PIL import ImageEnhance

    return ImageEnhance.Color(image).enhance(value)


def _hue(image: Image.Image, value: float) -> Image.Image:
    from PIL import Image

    hue, saturation, brightness = image.convert("HSV").split()
    # As torchvision: truncated towards zero, and round the circle of 256.
    turned = np.asarray(hue) + np.uint8(int(value * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, brightness)).convert("RGB")


def _grayscale(image: Image.Image, value: float) -> Image.Image:
    return image.convert("L").convert("RGB")


def _blur(image: Image.Image, value: float) -> Image.Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(min(value, MAX_BLUR_RADIUS)))


def _solarize(image: Image.Image, value: float) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.solarize(image, value)  # type: ignore[arg-type]


def _nothing(image: Image.Image, value: float) -> Image.Image:
    return image


_OPERATIONS: dict[ColorOperation, Callable[[Image.Image, float], Image.Image]] = {
    ColorOperation.NOTHING: _nothing,
    ColorOperation.BRIGHTNESS: _brightness,
    ColorOperation.CONTRAST: _contrast,
    ColorOperation.SATURATION: _saturation,
    ColorOperation.HUE: _hue,
    ColorOperation.GRAYSCALE: _grayscale,
    ColorOperation.BLUR: _blur,
    ColorOperation.SOLARIZE: _solarize,
}
