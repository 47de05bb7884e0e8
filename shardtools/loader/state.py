"""Where a run is in its epoch: a few numbers that another run, with other machines, goes on from.

Owns the state's form and the check that it fits. Because the epoch's sequence is fixed first and steps take from it in
order, the number of positions delivered says exactly which samples are left; the price is that a state is valid
between steps only, and that all ranks must stop after the same step (each then has the same state).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

from shardtools.documents import FieldError, build
from shardtools.errors import FormatVersionError, OptionError, PlanMismatchError

STATE_VERSION = 1

Scalar = str | int | float | bool | None

_OF_BLOCKS = frozenset({"order.block_size", "order.piece_size"})
"""Options without effect on any other shuffle, where they may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderState:
    """What a loader needs to go on.

    Attributes:
        seed: The run's.
        epoch: 0-based.
        num_delivered: Positions of the epoch's sequence that were delivered, over all ranks, without what padded.
        num_positions: Length of the sequence.
        num_rows: Rows of the table.
        table_digest: `SampleTable.digest`.
        options: All options that change what is delivered (`flat_options`): not ranks, threads or batch size.
    """

    seed: int
    epoch: int
    num_delivered: int
    num_positions: int
    num_rows: int
    table_digest: str
    options: Mapping[str, Scalar]

    @property
    def is_finished(self) -> bool:
        """Whether the epoch is over."""
        return self.num_delivered >= self.num_positions

    def advanced(self, num_delivered: int) -> LoaderState:
        """The state after `num_delivered` positions of the epoch in all (`BatchPlan.delivered`)."""
        return replace(self, num_delivered=num_delivered)

    def to_json(self) -> str:
        """One line; the same state gives the same text."""
        return json.dumps({"version": STATE_VERSION, **asdict(self), "options": dict(sorted(self.options.items()))})

    @classmethod
    def from_json(cls, text: str | bytes) -> LoaderState:
        """The reverse of `to_json`.

        Raises:
            OptionError: Not a loader's state.
            FormatVersionError: Written by another version.
        """
        try:
            fields = json.loads(text)
            version = fields.pop("version")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise OptionError(
                f"expected the state of a loader (JSON), found {text[:40]!r}: take what state() returned"
            ) from None
        if version != STATE_VERSION:
            raise FormatVersionError(
                f"the loader's state has version {version!r}, this release reads {STATE_VERSION}: use the release that "
                "wrote it"
            )
        try:
            found = build(cls, fields)
        except FieldError as error:
            raise OptionError(f"the loader's state has not its fields ({error}): take what state() returned") from None
        lowest = {"epoch": 0, "num_delivered": 0, "num_positions": 1, "num_rows": 1}
        wrong = [name for name, low in lowest.items() if getattr(found, name) < low]
        if found.num_delivered > found.num_positions:
            wrong.append("num_delivered")
        if wrong:
            raise OptionError(f"the loader's state has a wrong value of {wrong[0]}: take what state() returned")
        return found

    def check(self, current: LoaderState) -> None:
        """Refuses to go on where that would not deliver the rest of the same epochs.

        Args:
            current: The state of the loader that is to go on, at its start.

        Raises:
            PlanMismatchError: The table, the seed or an option differs; the message names it.
        """
        # The table first: another one may be why the rest differs.
        if self.table_digest != current.table_digest:
            rows = f"{self.num_rows} rows" if self.num_rows == current.num_rows else f"{current.num_rows} rows"
            raise PlanMismatchError(
                f"the state is of another table: expected {self.num_rows} rows with digest {self.table_digest}, found "
                f"{rows} with digest {current.table_digest}: load the same datasets, split or view, or start anew"
            )
        for name, then, now in self._differences(current):
            raise PlanMismatchError(
                f"the state is of a loader with {name} {then!r}, found {now!r}: take {then!r}, or start anew"
            )

    def _differences(self, current: LoaderState) -> list[tuple[str, Scalar, Scalar]]:
        mine: dict[str, Scalar] = {"seed": self.seed, **self.options}
        other: dict[str, Scalar] = {"seed": current.seed, **current.options}
        names = [*mine, *(name for name in other if name not in mine)]
        if "blocks" not in (mine.get("order.shuffle"), other.get("order.shuffle")):
            names = [name for name in names if name not in _OF_BLOCKS]
        differing = [(name, mine.get(name), other.get(name)) for name in names if mine.get(name) != other.get(name)]
        # The length of an epoch follows from the table and the options, unless the library changed its mind.
        if not differing and self.epoch == current.epoch and self.num_positions != current.num_positions:
            return [("num_positions", self.num_positions, current.num_positions)]
        return differing


def resume(state: LoaderState, current: LoaderState) -> LoaderState:
    """The state to go on from: that of the run before, moved to the next epoch where it had finished its own.

    Hand `num_delivered` to `BatchPlan(start=...)`; its steps deliver exactly the positions not yet delivered.

    Args:
        state: Of the run before.
        current: Of the loader that is to go on, at its start.

    Raises:
        PlanMismatchError: See `LoaderState.check`.
    """
    state.check(current)
    return replace(state, epoch=state.epoch + 1, num_delivered=0) if state.is_finished else state


def flat_options(**options: Any) -> dict[str, Scalar]:
    """Options as one level of names and plain values: `crop=CropOptions(...)` gives "crop.size", "crop.scale.0", ...

    Raises:
        OptionError: A value is not plain: a number, a text, a truth value, `None`, or a tuple or options of such.
    """
    flat: dict[str, Scalar] = {}
    for name, value in options.items():
        if is_dataclass(value) and not isinstance(value, type):
            value = asdict(value)
        elif isinstance(value, list | tuple):
            value = {str(number): entry for number, entry in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": found for inner, found in flat_options(**value).items()}
        elif value is None or isinstance(value, str | int | float):
            flat[name] = value
        else:
            raise OptionError(
                f"option {name} is a plain value, found {type(value).__name__}: it cannot go into a state"
            )
    return flat
