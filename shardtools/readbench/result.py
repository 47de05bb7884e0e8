"""What is asked of a measurement of reading, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How much was done in what time.

    Attributes:
        num_images: Images.
        num_bytes: Their encoded bytes.
        seconds: Wall time.
    """

    num_images: int
    num_bytes: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Images a second."""
        return self.num_images / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Encoded bytes a second."""
        return self.num_bytes / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StageShares:
    """Where the time of the loader's threads went, as shares of (threads x wall time) that add up to 1.

    Attributes:
        entropy: Headers and entropy decoding. The decoder does not time it apart from `pixels`: estimated by the part
            that is left when the same crops are decoded at an eighth of their size.
        pixels: Inverse transform, upsampling, conversion to RGB.
        resize: Resizing into the batch's memory; there is no copy besides.
        color: Colour operations.
        waiting: Nothing decoded and bytes were waited for, at most.
        rest: Planning, Python, and threads without work; all of the decoding where the native core does not serve.
    """

    entropy: float
    pixels: float
    resize: float
    color: float
    waiting: float
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBench:
    """What was measured.

    Attributes:
        dataset: As given.
        is_remote: Whether it is in an object store.
        num_images: Images of the split.
        num_bytes: Their encoded bytes.
        mean_width: Pixels, of the images that were decoded.
        mean_height: As `mean_width`.
        num_cores: Cores that this process may use.
        num_threads: Threads that decoded.
        batch_size: Images a batch.
        crop: In words.
        shuffle: As given.
        decoder: "native" or "pillow".
        library: The decoder's JPEG library.
        simd: The instructions that the native core uses.
        table_seconds: Making the table of samples.
        first_batch_seconds: From nothing (libraries were loaded) to the first batch, the table included.
        resident_share: Share of the bytes of the first samples that were in memory before anything was read; `None`
            where the system does not say, or the dataset is remote.
        num_requests: Ranges that reading alone asked of an object store the first time; 0 where the dataset is local.
        num_request_bytes: Bytes of these ranges, of which `reading` counts only the images'.
        reading: Bytes alone, the first time.
        reading_again: The same samples once more.
        one_thread: Decoding alone, from memory, with one thread.
        all_threads: The same with all threads: the bound of the loader.
        scaled: As `one_thread`, with `allow_scaled`; `None` where hardly any crop is twice its output.
        loader: The loader itself.
        shares: Where its time went.
        waiting_at_start: Of the loader's waiting for bytes, the share that came before the first batch of an epoch.
        cpu_share: Of the time that threads were decoding, the share for which they had a core, in the worst of the
            parts; the rest went to other programs.
        num_bad: Images that could not be decoded.
    """

    dataset: str
    is_remote: bool
    num_images: int
    num_bytes: int
    mean_width: float
    mean_height: float
    num_cores: int
    num_threads: int
    batch_size: int
    crop: str
    shuffle: str
    decoder: str
    library: str
    simd: str
    table_seconds: float
    first_batch_seconds: float
    resident_share: float | None
    num_requests: int
    num_request_bytes: int
    reading: Speed
    reading_again: Speed
    one_thread: Speed
    all_threads: Speed
    scaled: Speed | None
    loader: Speed
    shares: StageShares
    waiting_at_start: float
    cpu_share: float
    num_bad: int

    @property
    def mean_bytes(self) -> float:
        """Encoded bytes an image."""
        return self.num_bytes / self.num_images
