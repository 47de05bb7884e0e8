"""What may be done to images on their way: smaller sides, a lower quality, raw pixels.

Owns the options and which of them change the result. The price of naming them as FFCV does (`write_mode`,
`smart_threshold`, `compress_probability`): "keep", which FFCV lacks, is one mode more, and `compress_probability` means
something in two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shardtools.errors import OptionError
from shardtools.options import option

WRITE_MODES = ("keep", "jpg", "raw", "smart", "proportion")
RAW_MODES = ("raw", "smart", "proportion")
"""Those that may store rows of pixels."""

DEFAULT_QUALITY = 90
"""JPEG quality where an image must be encoded anew and none was given; FFCV's default too."""

DEFAULT_COMPRESS_PROBABILITY = 0.5
"""FFCV's, for "proportion"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingOptions:
    """What happens to each image; without any option its bytes are kept.

    Attributes:
        max_side: Longer side in pixels that no image exceeds; `None` for no limit.
        min_side: Shorter side in pixels that larger images are reduced to (none is enlarged); `None` for no such
            reduction. `max_side` caps what comes of it.
        quality: 1 to 100, JPEG quality that every image is encoded anew with; `None` encodes only what must be, with
            `DEFAULT_QUALITY`.
        write_mode: "keep": bytes are kept where no option asks for other ones. "jpg": every image becomes a grey or RGB
            JPEG; those that are one keep their bytes. "raw": rows of RGB pixels. "smart": raw, or JPEG where the raw
            pixels take more than `smart_threshold` bytes. "proportion": JPEG with `compress_probability`, else raw.
        smart_threshold: Bytes, at least 0, for "smart" alone; `None` makes all images raw, as in FFCV.
        compress_probability: 0 to 1, for "proportion" and "keep" alone. In "keep" the share of images that are encoded
            anew; too large ones are in any case. `None` is 0.5 for "proportion" and all or nothing for "keep".
        seed: At least 0; which images `compress_probability` takes.

    Raises:
        OptionError: A value is out of its range, or two options contradict each other.
    """

    max_side: int | None = field(
        default=None, metadata=option("Shrink images whose longer side is above this (pixels).")
    )
    min_side: int | None = field(
        default=None, metadata=option("Shrink images whose shorter side is above this (pixels).")
    )
    quality: int | None = field(
        default=None, metadata=option("JPEG quality, 1 to 100, of images that are encoded anew.")
    )
    write_mode: str = field(
        default="keep",
        metadata=option(
            "keep: the source's bytes; jpg, raw, smart, proportion: as FFCV's writer (raw only in .beton).",
            choices=WRITE_MODES,
        ),
    )
    smart_threshold: int | None = field(
        default=None, metadata=option("smart: images above this many raw bytes become JPEG.")
    )
    compress_probability: float | None = field(
        default=None, metadata=option("Share of the images that is encoded anew, 0 to 1.")
    )
    seed: int = field(default=0, metadata=option("Another seed picks other images.", flag="--encoding-seed"))

    def __post_init__(self) -> None:
        for flag, side in (("--max-side", self.max_side), ("--min-side", self.min_side)):
            if side is not None and side < 1:
                raise OptionError(f"{flag} is at least 1 pixel, found {side}")
        if self.max_side is not None and self.min_side is not None and self.min_side > self.max_side:
            raise OptionError(f"--min-side is at most --max-side ({self.max_side}), found {self.min_side}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise OptionError(f"--quality is 1 to 100, found {self.quality}")
        if self.write_mode not in WRITE_MODES:
            raise OptionError(f"--write-mode is one of {', '.join(WRITE_MODES)}, found {self.write_mode!r}")
        if self.seed < 0:
            raise OptionError(f"--encoding-seed is at least 0, found {self.seed}")
        self._check_choices()

    def _check_choices(self) -> None:
        if self.write_mode == "raw" and self.quality is not None:
            raise OptionError("--quality is for JPEGs, and --write-mode raw makes none: give one of them")
        if self.smart_threshold is not None:
            if self.write_mode != "smart":
                raise OptionError(f"--smart-threshold belongs to --write-mode smart, found {self.write_mode}")
            if self.smart_threshold < 0:
                raise OptionError(f"--smart-threshold is at least 0 bytes, found {self.smart_threshold}")
        if self.compress_probability is not None:
            if self.write_mode not in ("keep", "proportion"):
                raise OptionError(
                    f"--compress-probability belongs to --write-mode proportion or keep, found {self.write_mode}"
                )
            # `not` of the range, so that NaN is refused too.
            if not 0 <= self.compress_probability <= 1:
                raise OptionError(f"--compress-probability is 0 to 1, found {self.compress_probability}")

    @property
    def changes(self) -> bool:
        """Whether any image may be encoded anew."""
        if self.write_mode != "keep" or self.max_side is not None or self.min_side is not None:
            return True
        if self.compress_probability is not None:
            return self.compress_probability > 0
        return self.quality is not None

    @property
    def probability(self) -> float | None:
        """Share of images that chance encodes as JPEG; `None` where nothing is left to chance."""
        if self.write_mode == "proportion" and self.compress_probability is None:
            return DEFAULT_COMPRESS_PROBABILITY
        return self.compress_probability

    def settings(self) -> dict[str, Any]:
        """Option name -> JSON value: all that changes the result, for a plan's fingerprint.

        Empty where every image keeps its bytes. The libraries' versions are in it, because another JPEG encoder gives
        other bytes.
        """
        if not self.changes:
            return {}
        settings: dict[str, Any] = {
            "max_side": self.max_side,
            "min_side": self.min_side,
            "quality": self.quality,
            "write_mode": self.write_mode,
            "smart_threshold": self.smart_threshold,
            "compress_probability": self.probability,
            "encoding_seed": self.seed if self.probability is not None else None,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        return {**given, "image_libraries": image_libraries()}


def image_libraries() -> str:
    """Names and versions of what decodes and encodes: "pillow 13.0.0, libjpeg-turbo 3.2.0"."""
    import PIL
    from PIL import features

    turbo = features.version("libjpeg_turbo")
    jpeg = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    return f"pillow {PIL.__version__}, {jpeg}"
