"""How many good images each prompt gave.

Owns what counts as good: an image was made, and where overlays say so, it lies nearest to its own class and its label
is no suspect. Each of these stands in its own column; the price of counting prompts as they were written is that a
template with a class in it is counted once over all classes, its prompts once each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardtools.report.class_map import OVERLAY as NEAREST
from shardtools.report.class_map import nearest_sql
from shardtools.report.reading import Missing, Tables
from shardtools.report.suspects import suspects_sql

GROUPS = {"prompt_template": "template", "guidance_scale": "guidance", "scene": "scene", "prompt": "prompt"}
"""Column -> its heading."""

_NUM_ROWS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptYield:
    """One prompt, template, scene or guidance.

    Attributes:
        value: As in the manifest.
        num_rows: Images asked for.
        num_images: Images made.
        num_flagged: Of these, those that the safety checker flagged.
        nearest_share: Share of images nearest to their own class, 0 to 1; `None` without that overlay.
        suspect_share: Share of images that are suspects, 0 to 1; `None` without that overlay.
    """

    value: Any
    num_rows: int
    num_images: int
    num_flagged: int
    nearest_share: float | None
    suspect_share: float | None

    @property
    def good_share(self) -> float:
        """Images made and nearest to their class, of those asked for; the second part where it is known."""
        made = self.num_images / self.num_rows
        return made if self.nearest_share is None else made * self.nearest_share


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptGroup:
    """The values of one column, the lowest yield first, and the number of all."""

    heading: str
    shown: tuple[PromptYield, ...]
    num_all: int


def find_yields(tables: Tables) -> tuple[PromptGroup, ...]:
    """Yields by template, guidance, scene and prompt; nothing for a dataset that was not generated."""
    nearest = tables.overlay(NEAREST, "nearest")
    suspects = suspects_sql(tables)
    source = "from samples as s"
    nearest_share = suspect_share = "null::double"
    if not isinstance(nearest, Missing):
        # Left joins: a row without an image may be in no overlay, and must still count among those asked for.
        source += f" left join {nearest.sql} as n on n.dataset = s.dataset and n.key = s.key"
        _, own, join = nearest_sql(nearest)
        source += join
        nearest_share = f"avg({own}::int) filter (s.status = 'ok')"
    if not isinstance(suspects, Missing):
        source += f" left join (select key as suspect from ({suspects})) as l on l.suspect = s.key"
        suspect_share = "avg((l.suspect is not null)::int) filter (s.status = 'ok')"
    groups = []
    for column, heading in GROUPS.items():
        rows = tables.rows(
            f"select s.{column} as value, count(*) as num_rows, "
            "count(*) filter (s.status = 'ok') as num_images, "
            "count(*) filter (s.nsfw_detected) as num_flagged, "
            f"{nearest_share} as nearest_share, {suspect_share} as suspect_share, count(*) over () as num_all {source} "
            f"where s.{column} is not null group by s.{column} "
            "order by num_images / num_rows * coalesce(nearest_share, 1), coalesce(suspect_share, 0) desc, value "
            f"limit {_NUM_ROWS}"
        )
        if rows:
            num_all = rows[0]["num_all"]
            shown = tuple(PromptYield(**{name: row[name] for name in PromptYield.__slots__}) for row in rows)
            groups.append(PromptGroup(heading=heading, shown=shown, num_all=num_all))
    return tuple(groups)
