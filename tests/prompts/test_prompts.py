"""The template language, templates filled with classes, and scene lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import OptionError, PromptError
from shardtools.prompts import (
    PLACES365_SCENES,
    TOKENS,
    PromptOptions,
    check_template,
    fill_template,
    load_scenes,
    parse_template,
    scenes_for,
)
from shardtools.taxonomy import ImageClass, load_classes

DEFAULT = PromptOptions()
FIRST = PromptOptions(lemmas="first", hypernyms="first")


def make_class(
    lemmas: tuple[str, ...] = ("one", "two"),
    definition: str | None = "a thing; made for tests",
    hypernyms: tuple[tuple[str, ...], ...] = (("parent", "elder"), ("other", "elder")),
) -> ImageClass:
    return ImageClass(
        wnid="thing", class_index=0, lemmas=lemmas, definition=definition, hypernyms=hypernyms, hypernym_wnids=()
    )


def fill_text(text: str, entry: ImageClass, scene: str | None = None, options: PromptOptions = DEFAULT) -> str:
    return fill_template(parse_template(text), entry, scene, options)


def imagenet_class(wnid: str) -> ImageClass:
    return next(entry for entry in load_classes("imagenet-1k") if entry.wnid == wnid)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("c", ("c",)),
        ("c, h_c", ("c", "h_c")),
        ("c, d_c", ("c", "d_c")),
        ("c, h_c inside b", ("c", "h_c", "b")),
        ("a photo of a c", ("c",)),
        ("b: c; c in b", ("b", "c")),
        ("h_c", ("h_c",)),
        ("d_c", ("d_c",)),
    ],
)
def test_tokens(text: str, tokens: tuple[str, ...]) -> None:
    template = parse_template(text)
    assert template.tokens == tokens
    assert template.uses_scene == ("b" in tokens)
    assert template.text == text


@pytest.mark.parametrize(
    ("wnid", "text", "options", "prompt"),
    [
        ("n01558993", "c", DEFAULT, "robin, American robin, Turdus migratorius"),
        ("n01558993", "c", FIRST, "robin"),
        ("n02086910", "c, h_c", DEFAULT, "papillon, toy spaniel"),
        ("n03947888", "h_c", DEFAULT, "ship"),
        ("n02086240", "h_c", DEFAULT, "toy dog, toy"),  # shih-tzu
        ("n02086240", "h_c", FIRST, "toy dog"),
        ("n02859443", "h_c", FIRST, "shed"),  # boathouse
        ("n02799071", "h_c", DEFAULT, "ball, baseball equipment"),  # two parents
        ("n02799071", "h_c", FIRST, "ball"),
        ("n03877845", "a photo of a c", FIRST, "a photo of a palace"),
        (
            "n01443537",
            "c; d_c",
            FIRST,
            "goldfish; small golden or orange-red freshwater fishes of Eurasia used as pond or aquarium fishes",
        ),
    ],
)
def test_real_classes(wnid: str, text: str, options: PromptOptions, prompt: str) -> None:
    assert fill_text(text, imagenet_class(wnid), None, options) == prompt


def test_lemma_shared_by_two_parents_is_written_once() -> None:
    assert fill_text("h_c", make_class()) == "parent, elder, other"


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("c-shaped c's (c)", "one-shaped one's (one)"),
        ("c2 abc cc C Bb c", "c2 abc cc C Bb one"),
        ("éc cé c\u0327 c", "éc cé c\u0327 one"),  # letters of other scripts and accents belong to the word
        (r"vitamin \c and c", "vitamin c and one"),
        (r"plan \b: c", "plan b: one"),
        (r"\h_c \snake_case c", "h_c snake_case one"),
        (r"\{c\} \\ c", r"{one} \ one"),
        ("  c  ", "  one  "),
        ("写真 c 犬", "写真 one 犬"),
    ],
)
def test_text_around_tokens(text: str, prompt: str) -> None:
    assert fill_text(text, make_class(), None, FIRST) == prompt


def test_values_are_not_read_as_templates() -> None:
    entry = make_class(lemmas=("b", r"\c h_c {c}"), definition="c b d_c")
    assert fill_text("c|d_c|b", entry, "c, d_c") == r"b, \c h_c {c}|c b d_c|c, d_c"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["names no class"]),
        ("a photo", ["names no class", "'a photo'"]),
        ("b", ["names no class"]),
        (r"\c", ["names no class"]),
        ("c, e_c", ["'e_c'", "c, h_c, d_c, b"]),
        ("c inside h_b", ["'h_b'"]),
        ("C_lass c", ["'C_lass'"]),
        ("c _", ["'_'"]),
        ("{c}", ["write c instead of {c}"]),
        ("a { d_c } of c", ["write d_c instead"]),
        ("a photo of a {}", ["write c instead of {}"]),
        ("c \\", ["backslash"]),
        ("c \\, d_c", ["backslash"]),
        ("c\nd_c", ["U+000A"]),
        ("c\x00", ["U+0000"]),
    ],
)
def test_bad_templates(text: str, words: list[str]) -> None:
    with pytest.raises(PromptError) as caught:
        parse_template(text)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "entry", "word"),
    [
        ("c, d_c", make_class(definition=None), "d_c"),
        ("c, d_c", make_class(definition=""), "d_c"),
        ("c, h_c", make_class(hypernyms=()), "h_c"),
    ],
)
def test_class_that_lacks_something_is_named(text: str, entry: ImageClass, word: str) -> None:
    template = parse_template(text)
    for refused in (
        lambda: check_template(template, [make_class(), entry], DEFAULT),
        lambda: fill_template(template, entry, None, DEFAULT),
    ):
        with pytest.raises(PromptError, match=rf"{word}.*thing \(one\)"):
            refused()


def test_many_lacking_classes_are_counted() -> None:
    with pytest.raises(PromptError, match="and 2 more"):
        check_template(parse_template("h_c"), [make_class(hypernyms=())] * 5, DEFAULT)


def test_root_of_wordnet_has_no_hypernym() -> None:
    with pytest.raises(PromptError, match="n00001740"):
        check_template(parse_template("c, h_c"), load_classes("entity.n.01"), DEFAULT)


@pytest.mark.parametrize("name", ["imagenet-1k", "imagenet-21k", "fashion"])
def test_shipped_sets_render_with_every_token(name: str) -> None:
    check_template(parse_template("c, h_c, d_c inside b"), load_classes(name), DEFAULT)


def test_scenes_default_to_places_where_the_template_has_b() -> None:
    assert scenes_for(parse_template("c inside b"), DEFAULT) == PLACES365_SCENES
    assert scenes_for(parse_template("c inside b"), PromptOptions(scenes=("beach",))) == ("beach",)
    assert scenes_for(parse_template("c"), DEFAULT) == ()


def test_scenes_without_b_are_refused() -> None:
    with pytest.raises(PromptError, match="has no b"):
        check_template(parse_template("c"), [make_class()], PromptOptions(scenes=("beach",)))
    with pytest.raises(PromptError, match="expected no scene"):
        fill_text("c", make_class(), "beach")
    with pytest.raises(PromptError, match="expected a scene"):
        fill_text("c inside b", make_class())


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="lemmas: expected all or first, found 'two'"):
        PromptOptions(lemmas="two")
    with pytest.raises(OptionError, match="hypernyms: expected all or first, found ''"):
        PromptOptions(hypernyms="")
    with pytest.raises(OptionError, match="scene 1 is empty"):
        PromptOptions(scenes=("beach", " "))
    with pytest.raises(OptionError, match="'beach' is given twice"):
        PromptOptions(scenes=("beach", "sky", "beach"))


def test_places_names() -> None:
    assert len(PLACES365_SCENES) == len(set(PLACES365_SCENES)) == 365
    assert PLACES365_SCENES[0] == "airfield" and PLACES365_SCENES[-1] == "zen garden"
    assert "ice skating rink outdoor" in PLACES365_SCENES
    assert not any("_" in scene or "/" in scene for scene in PLACES365_SCENES)
    assert load_scenes(None) == load_scenes("places365") == PLACES365_SCENES


def test_scene_file(tmp_path: Path) -> None:
    path = tmp_path / "scenes.txt"
    path.write_text("\ufeff# mine\n\nbeach\r\n  snowy   street \nPlaza de España\n", encoding="utf-8")
    assert load_scenes(str(path)) == ("beach", "snowy street", "Plaza de España")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# none\n", "found none"),
        (b"beach\nsky\nbeach\n", r"line 3: scene 'beach' is already on line 1"),
        (b"beach\nsk\x07y\n", r"line 2: control character U\+0007"),
        (b"beach\nsk\xff\n", r"line 2: expected UTF-8, found byte 0xff"),
    ],
)
def test_bad_scene_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "scenes.txt"
    path.write_bytes(content)
    with pytest.raises(PromptError, match=message):
        load_scenes(str(path))


def test_missing_scene_file_names_the_choice(tmp_path: Path) -> None:
    for spec in (str(tmp_path / "none.txt"), str(tmp_path)):
        with pytest.raises(PromptError, match=r"cannot read the scene list.*places365"):
            load_scenes(spec)


texts = st.text(st.characters(categories=("Lu", "Nd", "Zs", "Po"), exclude_characters="\\{}_"), max_size=12)


@given(st.lists(st.tuples(texts, st.sampled_from(list(TOKENS))), min_size=1, max_size=6), texts)
def test_rendering_keeps_text_and_replaces_every_token(pieces: list[tuple[str, str]], tail: str) -> None:
    # a space on both sides keeps tokens apart from the text; upper-case text holds no token
    text = "".join(f"{before} {token} " for before, token in pieces) + tail + " c"
    values = {"c": "one, two", "h_c": "parent, elder, other", "d_c": "a thing; made for tests", "b": "beach"}
    expected = "".join(f"{before} {values[token]} " for before, token in pieces) + tail + " one, two"
    template = parse_template(text)
    scene = "beach" if template.uses_scene else None
    first = fill_template(template, make_class(), scene, DEFAULT)
    assert first == expected
    assert fill_template(parse_template(text), make_class(), scene, DEFAULT) == first


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        template = parse_template(text)
    except PromptError as error:
        assert "\n" not in str(error)
        return
    assert set(template.tokens) <= set(TOKENS)
    # parts cover the text: what is no token is kept, save the backslashes that mark a literal
    assert "".join(part.text for part in template.parts) == text.replace("\\\\", "\0").replace("\\", "").replace(
        "\0", "\\"
    )
