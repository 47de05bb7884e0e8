"""The page as a whole: head, policy, sections, data and script in one file.

Owns what the page may do. Its Content-Security-Policy names the digests of its one stylesheet and its one script and
allows nothing else, so that even text that escaped escaping would not run; the price is that no element may have a
style of its own.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from shardtools.overlays import OverlayInfo
from shardtools.report.class_map import ClassMap
from shardtools.report.class_sections import classes_section, prompts_section
from shardtools.report.content import Findings, script_json
from shardtools.report.facts import DatasetFacts
from shardtools.report.markup import Markup, element, isolated, join
from shardtools.report.outliers import OutlierKind
from shardtools.report.overview import overview_section
from shardtools.report.pairs import Pairs
from shardtools.report.prompts import PromptGroup
from shardtools.report.reading import Missing
from shardtools.report.review_sections import dialogs, outliers_section, pairs_section, suspects_section
from shardtools.report.suspects import Suspects

_FOLDER = "assets"
STYLE_FILES = ("base.css", "cards.css")
SCRIPT_FILES = ("data.js", "decisions.js", "cards.js", "suspects.js", "others.js", "keys.js", "main.js")
"""In the order in which they stand in the page's one script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All that a page shows.

    Attributes:
        title: Heading.
        facts: Counts of the manifest.
        findings: What the overlays gave.
        class_map: Nearest classes, or why there are none.
        yields: Prompts; empty for a dataset that was not generated.
        overlays: Commits of the dataset's overlays.
        content: For the script, see `content.page_content`.
    """

    title: str
    facts: DatasetFacts
    findings: Findings
    class_map: ClassMap | Missing
    yields: tuple[PromptGroup, ...]
    overlays: tuple[OverlayInfo, ...]
    content: Mapping[str, Any]

    def with_content(self, content: Mapping[str, Any]) -> Page:
        """The same page with other data for the script."""
        return replace(self, content=content)


def page_html(page: Page, pictures: str) -> bytes:
    """The file.

    Args:
        page: What it shows.
        pictures: JSON of the thumbnails, from `content.script_json`.
    """
    style, script = _style(), _script()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        # Else a browser asks the server that the page may lie on for an icon.
        element("link", rel="icon", href="data:,"),
        element("title", f"{page.title}: shardtools report"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#main", class_="skip"),
        _header(page),
        element("main", *_sections(page), id="main", tabindex="-1"),
        dialogs(),
        element("div", id="status", role="status", aria_live="polite", class_="unseen"),
        element("script", Markup(script_json(page.content)), type="application/json", id="content"),
        element("script", Markup(pictures), type="application/json", id="pictures"),
        element("script", Markup(script)),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'.encode()


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy for exactly this stylesheet and this script."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_source(style)}",
            f"script-src {_source(script)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def _style() -> str:
    return _read(STYLE_FILES)


@functools.cache
def _script() -> str:
    return '"use strict";\n(() => {\n' + _read(SCRIPT_FILES) + "})();\n"


def _read(names: tuple[str, ...]) -> str:
    folder = resources.files("shardtools.report").joinpath(_FOLDER)
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def _header(page: Page) -> Markup:
    info = page.facts.info
    what = f"{info.kind} images, {info.layout}, commit {page.facts.sha256[:8]}"
    links = [
        element(
            "li",
            element("a", name, element("span", count, class_="count") if count else "", href=f"#{anchor}"),
        )
        for anchor, name, count in _views(page)
    ]
    buttons = element(
        "div",
        element("span", "Nothing decided yet", id="decided", class_="decided"),
        element("button", "Export edits", id="export", type="button", class_="primary", disabled=True),
        element("button", "Theme", id="theme", type="button", aria_label="Switch between light and dark"),
        element("button", "?", id="help-button", type="button", aria_label="Keys and help"),
        class_="actions",
    )
    title = element("div", element("h1", isolated(page.title)), element("p", what), class_="title")
    top = element("div", title, buttons, class_="top")
    return element("header", top, element("nav", element("ul", *links), aria_label="Sections"))


def _views(page: Page) -> list[tuple[str, str, str]]:
    """(anchor, name, count) of the sections there are."""
    findings = page.findings
    suspects = f"{len(findings.suspects.shown):,}" if isinstance(findings.suspects, Suspects) else ""
    pairs = f"{len(findings.pairs.shown):,}" if isinstance(findings.pairs, Pairs) else ""
    views = [
        ("overview", "Overview", ""),
        ("suspects", "Suspect labels", suspects),
        ("duplicates", "Duplicates", pairs),
        ("quality", "Image quality", _count(findings.outliers)),
        ("classes", "Classes", ""),
    ]
    return [*views, ("prompts", "Prompts", "")] if _has_prompts(page) else views


def _count(kinds: tuple[OutlierKind, ...] | Missing) -> str:
    return "" if isinstance(kinds, Missing) else f"{sum(len(kind.shown) for kind in kinds):,}"


def _has_prompts(page: Page) -> bool:
    return bool(page.yields) or page.facts.info.kind == "generated"


def _sections(page: Page) -> list[Markup]:
    warning = element(
        "noscript",
        element("p", "The overview is plain HTML; cards, filters and decisions need JavaScript.", class_="note"),
    )
    sections = [
        overview_section(page.facts, page.findings, page.class_map, page.overlays),
        suspects_section(page.facts, page.findings.suspects),
        pairs_section(page.facts, page.findings.pairs),
        outliers_section(page.findings.outliers),
        classes_section(page.facts, page.class_map),
    ]
    if _has_prompts(page):
        sections.append(prompts_section(page.yields))
    return [warning, join(sections)]
