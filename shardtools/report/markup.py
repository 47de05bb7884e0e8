"""HTML out of Python values, with everything escaped that did not come from here.

Owns escaping. Elements are made by calls, so that text from a dataset has no way into the page but through `escape`;
the price is code that looks less like the page than a template would.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"br", "input", "link", "meta"})
# C0 controls have pictures of their own in Unicode; HTML forbids most of them, and NUL everywhere.
_CONTROLS = {number: chr(0x2400 + number) for number in range(32)} | {0x7F: "\u2421"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """The text as HTML, for content and for quoted attributes; control characters become their pictures."""
    return text if isinstance(text, Markup) else Markup(html.escape(text.translate(_CONTROLS), quote=True))


def join(parts: Iterable[str]) -> Markup:
    """All parts, those escaped that are not HTML yet."""
    return Markup("".join(map(escape, parts)))


def element(name: str, /, *children: str, **attributes: str | int | float | bool | None) -> Markup:
    """One element.

    Args:
        name: Tag, from code and never from data.
        children: HTML, or text to escape.
        attributes: `class_` stands for class, `data_x` for data-x; `None` and false leave the attribute out, true gives
            it no value.
    """
    written = [
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    start = f"<{name}{''.join(written)}>"
    return Markup(start if name in _VOID else f"{start}{join(children)}</{name}>")


def isolated(text: str) -> Markup:
    """Text from a dataset whose direction of writing must not turn what stands around it."""
    return element("bdi", text)


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], *, caption: str, class_: str | None = None) -> Markup:
    """A table in a box that scrolls sideways by itself; the first cell of a row is its heading."""
    head = join(element("th", heading, scope="col") for heading in headings)
    body = []
    for first, *others in rows:
        cells = [element("th", first, scope="row"), *(element("td", cell) for cell in others)]
        body.append(element("tr", *cells))
    content = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", head)),
        element("tbody", *body),
        class_=class_,
    )
    return element("div", content, class_="scroller", tabindex="0", role="region", aria_label=caption)
