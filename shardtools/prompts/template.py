r"""The template language: text with the tokens `c`, `h_c`, `d_c` and `b`.

Owns the grammar. A token is a whole word (a maximal run of letters, digits and `_`, in any script) that equals one of
the four; all other text goes into the prompt as it stands. The price of bare tokens: the words "c" and "b" themselves
must be written `\c` and `\b`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from shardtools.errors import PromptError

TOKENS: dict[str, str] = {
    "c": "the class's lemmas",
    "h_c": "the lemmas of the class's parents (hypernyms)",
    "d_c": "the class's definition",
    "b": "a scene (background)",
}
"""Token -> what it becomes."""

_CLASS_TOKENS = ("c", "h_c", "d_c")

# combining accents count as letters: "c" followed by one is another letter, not the token
_WORD = r"[\w\u0300-\u036f]+"
_PIECE = re.compile(
    rf"\\(?P<escaped>{_WORD}|[\\{{}}])|(?P<braces>\{{\s*\w*\s*\}})|(?P<word>{_WORD})|(?P<text>.)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a template: a token's name, or text that is kept as it stands."""

    text: str
    is_token: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A parsed template; `parse_template` makes it.

    Attributes:
        text: The template as the user wrote it.
        parts: Tokens and the text between them, in order.
    """

    text: str
    parts: tuple[Part, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens used, each once, in order of first use."""
        return tuple(dict.fromkeys(part.text for part in self.parts if part.is_token))

    @property
    def uses_scene(self) -> bool:
        """Whether the template has a `b`."""
        return "b" in self.tokens


def parse_template(text: str) -> Template:
    """Split a template into tokens and text.

    Raises:
        PromptError: Empty, no token that names the class, an unknown token (a word with `_`), braces round a word, a
            control character, or a backslash before something that needs none.
    """
    for position, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            raise PromptError(
                f"prompt template {text!r}: control character U+{ord(character):04X} at {position}; remove it"
            )
    parts: list[Part] = []
    kept = ""
    for piece in _PIECE.finditer(text):
        # Text is gathered until a token ends it.
        if piece["word"] in TOKENS:
            if kept:
                parts.append(Part(kept, False))
                kept = ""
            parts.append(Part(piece["word"], True))
        else:
            kept += _literal(piece, text)
    if kept:
        parts.append(Part(kept, False))
    template = Template(text=text, parts=tuple(parts))
    if not any(token in _CLASS_TOKENS for token in template.tokens):
        raise PromptError(
            f"prompt template {text!r} names no class: it needs the token c, d_c or h_c, as in 'a photo of a c'"
        )
    return template


def _literal(piece: re.Match[str], text: str) -> str:
    """What a piece of a template that is no token puts into the prompt."""
    if piece["escaped"]:
        return piece["escaped"]
    if piece["braces"]:
        inner = piece["braces"].strip("{} ")
        instead = inner if inner in TOKENS else "c"
        raise PromptError(
            f"prompt template {text!r}: tokens stand without braces: write {instead} instead of {piece['braces']} "
            r"(\{ gives a brace)"
        )
    if piece["word"] and "_" in piece["word"]:
        raise PromptError(
            f"prompt template {text!r}: unknown token {piece['word']!r}; the tokens are {', '.join(TOKENS)} "
            rf"(\{piece['word']} gives the word itself)"
        )
    if piece["text"] == "\\":
        raise PromptError(
            rf"prompt template {text!r}: the backslash at {piece.start()} must stand before a word (\c), a brace "
            "or a backslash"
        )
    return piece["word"] or piece["text"]
