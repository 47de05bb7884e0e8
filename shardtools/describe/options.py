"""What a user may say about a dataset that its files do not.

Owns the checks of these texts. They are part of what is written, so the same texts give the same bytes; nothing is
taken from the clock or the place.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field, fields

from shardtools.errors import OptionError
from shardtools.options import flag_of, option

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
_ADDRESS = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeOptions:
    """Facts about a dataset, and how much is read for its description.

    Attributes:
        name: Of the dataset; `None` for its kind and plan.
        description: One paragraph; `None` for one made from the counts.
        license: SPDX identifier ("CC-BY-4.0") or the address of a text.
        creator: Person or organisation.
        url: Address of the dataset's page.
        cite_as: Citation, best in BibTeX.
        date_published: ISO date ("2026-01-31").
        version: MAJOR.MINOR.PATCH of the dataset.
        md5: Whether to read every shard for the md5 that wids can check.

    Raises:
        OptionError: A text is empty, has a character that no text file may hold, or has not the form it should.
    """

    name: str | None = field(default=None, metadata=option("Name of the dataset.", unset="its kind and plan"))
    description: str | None = field(default=None, metadata=option("One paragraph.", unset="the counts"))
    license: str | None = field(
        default=None, metadata=option("SPDX identifier (CC-BY-4.0), or the address of the text.")
    )
    creator: str | None = field(default=None, metadata=option("Person or organisation."))
    url: str | None = field(default=None, metadata=option("Address of the dataset's page."))
    cite_as: str | None = field(default=None, metadata=option("Citation, best in BibTeX."))
    date_published: str | None = field(default=None, metadata=option("YYYY-MM-DD; nothing is taken from the clock."))
    version: str = field(
        default="1.0.0", metadata=option("MAJOR.MINOR.PATCH of the dataset.", flag="--dataset-version")
    )
    md5: bool = field(default=False, metadata=option("Read every shard for the md5 that wids can check."))

    def __post_init__(self) -> None:
        for one in fields(self):
            text = getattr(self, one.name)
            flag = flag_of(one)
            if isinstance(text, str) and (not text.strip() or _is_odd(text, several_lines=one.name == "cite_as")):
                raise OptionError(f"{flag} is one line of text without control characters, found {text!r}")
        if self.url is not None and not _ADDRESS.fullmatch(self.url):
            raise OptionError(f"--url is an address that begins with https://, found {self.url!r}")
        if not _VERSION.fullmatch(self.version):
            raise OptionError(f"--dataset-version has the form MAJOR.MINOR.PATCH (1.0.0), found {self.version!r}")
        if self.date_published is not None:
            _check_date(self.date_published)


def _check_date(text: str) -> None:
    try:
        is_date = datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        is_date = False
    if not is_date:
        raise OptionError(f"--date-published has the form YYYY-MM-DD, found {text!r}")


def _is_odd(text: str, *, several_lines: bool) -> bool:
    """Whether a text has control characters, line breaks (unless `several_lines`) or bytes that are not UTF-8."""
    return any(
        not character.isprintable() and not (several_lines and character == "\n") and character != "\u00a0"
        for character in text
    )
