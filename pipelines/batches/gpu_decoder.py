"""JPEGs decoded, cropped, resized and recoloured by torch on a device: nvJPEG on CUDA, libjpeg-turbo on "cpu".

Owns the translation of a cropping into torchvision's functions. What a device cannot decode (PNG, CMYK, 12 bits, odd
sampling, files without an end) goes through the CPU's decoder in its exact form and is copied over. The price: other
pixels than the CPU's decoder makes, by the amounts in docs/loader.md, and whole images in the device's memory.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional

from shardtools.decode import ColorOperation, Colors, DecodeOptions, Decoder, DecodeStatus
from shardtools.errors import OptionError

Encoded = bytes | bytearray | memoryview

_INTERPOLATIONS = ("bilinear", "bicubic")
_MAX_BLUR_RADIUS = 64.0
_BLUR_REACH = 3
"""Standard deviations that the kernel of a blur reaches to either side."""

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ADOBE, _SCAN = 0xEE, 0xDA
_frame = struct.Struct(">BHHB").unpack_from


class GpuDecoder(Decoder):
    """A decoder of batches into torch tensors. Safe to call from several threads."""

    def __init__(self, options: DecodeOptions, device: torch.device) -> None:
        """Makes the CPU's decoder too, for what the device does not decode.

        Args:
            options: `interpolation` is "bilinear" or "bicubic".
            device: A CUDA device, or the CPU, where torchvision's own decoder serves (for tests).

        Raises:
            OptionError: The device is not there, or an option is the CPU decoder's alone.
        """
        if device.type not in ("cuda", "cpu"):
            raise OptionError(f"device: expected cuda or cpu, found {device.type!r}; take one of them")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise OptionError(
                "device: expected a CUDA device, found a machine (or a torch) without one; take device='cpu', or "
                "TorchBatches, which is faster there"
            )
        if options.interpolation not in _INTERPOLATIONS:
            raise OptionError(
                f"interpolation: a device resizes with {' or '.join(_INTERPOLATIONS)}, found "
                f"{options.interpolation!r}; take one of them, or TorchBatches"
            )
        if options.allow_scaled or options.tolerate_damage:
            raise OptionError("allow_scaled and tolerate_damage are the CPU decoder's; leave them out, or TorchBatches")
        super().__init__(options)
        self.device = device
        # A stream of its own, so that decoding runs beside training; all of this decoder's memory belongs to it.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        # torchvision 0.29 announces that TorchCodec will take its decoder's place; nothing to do for who runs this.
        warnings.filterwarnings("ignore", "The image decoding and encoding capabilities", DeprecationWarning)

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """A tensor on the device; what the loader does with it, tensors and arrays do alike."""
        with self._on_stream():
            return cast("npt.NDArray[np.uint8]", torch.empty(shape, dtype=torch.uint8, device=self.device))

    def facts(self) -> dict[str, str | bool]:
        return {
            **super().facts(),
            "decoder": "nvjpeg" if self.device.type == "cuda" else "torchvision",
            "library": f"torch {torch.__version__}",
            "simd": "",
            "resize": "torch: antialiased, two passes in float32, rounded after each",
        }

    def decode_crops(
        self,
        images: Sequence[Encoded],
        crops: npt.NDArray[np.integer],
        flips: npt.NDArray[Any] | None,
        outs: Sequence[Any],
        *,
        windows: npt.NDArray[np.integer] | None = None,
        colors: Colors | None = None,
        raw_sizes: npt.NDArray[np.integer] | None = None,
    ) -> npt.NDArray[np.int32]:
        """As `Decoder.decode_crops`, into tensors that `empty` gave.

        A damaged JPEG that the device decodes all the same is delivered: only `verify="sha256"` finds it.
        """
        with self._on_stream():
            statuses = self._decode_on_device(images, crops, flips, outs, windows, colors, raw_sizes)
            if len(left := np.flatnonzero(statuses == DecodeStatus.UNSUPPORTED)):
                host = [np.empty((len(left), *out.shape[1:]), np.uint8) for out in outs]
                statuses[left] = super().decode_crops(
                    [images[index] for index in left.tolist()],
                    crops[left],
                    None if flips is None else flips[left],
                    host,
                    windows=None if windows is None else windows[left],
                    colors=None if colors is None else _part(colors, left),
                    raw_sizes=None if raw_sizes is None else raw_sizes[left],
                )
                for out, found in zip(outs, host, strict=True):
                    out[torch.from_numpy(left).to(self.device)] = torch.from_numpy(found).to(self.device)
        if self._stream is not None:
            # Whoever gets the pixels works on another stream, which knows nothing of this one.
            self._stream.synchronize()
        return statuses

    def _on_stream(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _decode_on_device(
        self,
        images: Sequence[Encoded],
        crops: npt.NDArray[np.integer],
        flips: npt.NDArray[Any] | None,
        outs: Sequence[Any],
        windows: npt.NDArray[np.integer] | None,
        colors: Colors | None,
        raw_sizes: npt.NDArray[np.integer] | None,
    ) -> npt.NDArray[np.int32]:
        """Decodes what the device can; UNSUPPORTED for the rest."""
        # Until the device has made all crops of an image; what stays so is the CPU's.
        statuses = np.full(len(images), DecodeStatus.UNSUPPORTED, np.int32)
        is_encoded = np.ones(len(images), np.bool_) if raw_sizes is None else np.asarray(raw_sizes)[:, 0] == 0
        chosen = [index for index in np.flatnonzero(is_encoded).tolist() if self._is_for_device(images[index])]
        decoded = self._decode_all([images[index] for index in chosen])
        with torch.inference_mode():
            for index, picture in zip(chosen, decoded, strict=True):
                if picture is None:
                    continue
                if not _fit(crops[index], picture):
                    statuses[index] = DecodeStatus.BAD_CROP
                    continue
                for number, target in enumerate(_targets(outs, index)):
                    made = _make_crop(
                        picture,
                        crops[index, number].tolist(),
                        None if windows is None else windows[index, number].tolist(),
                        (int(target.shape[0]), int(target.shape[1])),
                        self.options.interpolation,
                    )
                    made = made.flip(-1) if flips is not None and flips[index, number] else made
                    target.copy_(_recolor(made, colors, index, number).permute(1, 2, 0))
                statuses[index] = DecodeStatus.OK
        return statuses

    def _is_for_device(self, content: Encoded) -> bool:
        """Whether it is a plain JPEG of grey or YCbCr and of a size that is allowed."""
        frame = _plain_frame(content)
        return frame is not None and frame[0] * frame[1] <= self.options.max_pixels

    def _decode_all(self, contents: list[Encoded]) -> list[torch.Tensor | None]:
        """RGB uint8 [3, H, W] each; `None` where torchvision refuses."""
        if not contents:
            return []
        found = self._decode_some(contents)
        if found is not None:
            return list(found)
        # The call fails as a whole and does not say for which image.
        alone = [self._decode_some([content]) for content in contents]
        return [None if pictures is None else pictures[0] for pictures in alone]

    def _decode_some(self, contents: list[Encoded]) -> list[torch.Tensor] | None:
        # A copy each: tensors do not take memory that cannot be written, and nvJPEG reads it from its own threads.
        encoded = [torch.from_numpy(np.frombuffer(content, np.uint8).copy()) for content in contents]
        try:
            found: list[torch.Tensor] = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self.device)
        except RuntimeError:
            return None
        return found


def _plain_frame(content: Encoded) -> tuple[int, int] | None:
    """Width and height of a JPEG that every decoder reads alike; `None` for whatever is none.

    Plain is: baseline or progressive with 8 bits; one component, or three of YCbCr; closed by its end marker. See ITU-T
    T.81, annex B.
    """
    if bytes(content[:3]) != _START or bytes(content[-2:]) != _END:
        return None
    position, size = 2, None
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker, length = content[position + 1], content[position + 2] * 256 + content[position + 3]
        start, position = position + 4, position + 2 + length
        if marker == _SCAN:
            return size
        if length < 2 or position > len(content) or marker in _OTHER_FRAMES:
            return None
        if marker == _ADOBE and length >= 14 and bytes(content[start : start + 5]) == b"Adobe":
            if content[start + 11] != 1:
                return None  # RGB, CMYK or YCCK
        elif marker in _FRAMES:
            if length < 8:
                return None
            bits, height, width, components = _frame(content, start)
            is_rgb = components == 3 and length >= 17 and bytes(content[start + 6 : start + 15 : 3]) == b"RGB"
            if bits != 8 or components not in (1, 3) or is_rgb or not width * height:
                return None
            size = (width, height)
    return None


def _fit(crops: npt.NDArray[np.integer], picture: torch.Tensor) -> bool:
    size = picture.shape[2], picture.shape[1]
    corner, extent = crops[:, :2].astype(np.int64), crops[:, 2:].astype(np.int64)
    return bool(((corner >= 0) & (extent >= 1) & (corner + extent <= size)).all())


def _targets(outs: Sequence[torch.Tensor], image: int) -> list[torch.Tensor]:
    return [out[image, number] for out in outs for number in range(out.shape[1])]


def _part(colors: Colors, rows: npt.NDArray[np.intp]) -> Colors:
    return Colors(operations=colors.operations[rows], values=colors.values[rows])


def _make_crop(
    picture: torch.Tensor, crop: list[int], window: list[int] | None, size: tuple[int, int], interpolation: str
) -> torch.Tensor:
    """One crop, resized to `size` (height, width), or to the window's size of which `size` is cut out."""
    left, top, width, height = crop
    full_width, full_height, window_left, window_top = window or (size[1], size[0], 0, 0)
    made = picture[None, :, top : top + height, left : left + width].float()
    # Columns first, and whole numbers in between, as Pillow does.
    for shape in ((height, full_width), (full_height, full_width)):
        made = interpolate(made, shape, mode=interpolation, align_corners=False, antialias=True).round_().clamp_(0, 255)
    return made[0, :, window_top : window_top + size[0], window_left : window_left + size[1]].to(torch.uint8)


def _recolor(image: torch.Tensor, colors: Colors | None, index: int, number: int) -> torch.Tensor:
    if colors is None:
        return image
    steps = zip(colors.operations[index, number].tolist(), colors.values[index, number].tolist(), strict=True)
    for code, value in steps:
        if code != ColorOperation.NOTHING:
            image = _OPERATIONS[ColorOperation(code)](image, value)
    return image


def _blur(image: torch.Tensor, radius: float) -> torch.Tensor:
    sigma = min(radius, _MAX_BLUR_RADIUS)
    if sigma <= 0:
        return image
    reach = math.ceil(_BLUR_REACH * sigma)
    # Pillow goes on with the outermost pixels, torchvision would reflect.
    wider = functional.pad(image, [reach], padding_mode="edge")
    made: torch.Tensor = functional.gaussian_blur(wider, [2 * reach + 1] * 2, [sigma, sigma])
    return made[:, reach:-reach, reach:-reach]


def _grayscale(image: torch.Tensor, value: float) -> torch.Tensor:
    made: torch.Tensor = functional.rgb_to_grayscale(image, num_output_channels=3)
    return made


_OPERATIONS: dict[ColorOperation, Callable[[torch.Tensor, float], torch.Tensor]] = {
    ColorOperation.BRIGHTNESS: functional.adjust_brightness,
    ColorOperation.CONTRAST: functional.adjust_contrast,
    ColorOperation.SATURATION: functional.adjust_saturation,
    ColorOperation.HUE: functional.adjust_hue,
    ColorOperation.GRAYSCALE: _grayscale,
    ColorOperation.BLUR: _blur,
    ColorOperation.SOLARIZE: functional.solarize,
}
