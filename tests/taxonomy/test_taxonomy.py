"""Class sets against WordNet 3.0 itself, lists and CSVs of the user's, and what their errors say."""

from __future__ import annotations

import csv
import io
import shutil
import unicodedata
import zipfile
from pathlib import Path

import nltk.data
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardtools.errors import TaxonomyError
from shardtools.taxonomy import CLASS_SETS, ImageClass, class_set_sizes, find_classes, load_classes, table, wordnet
from shardtools.taxonomy.csv_classes import derive_id
from shardtools.taxonomy.fashion import FASHION_SYNSETS
from shardtools.taxonomy.finding import suggest
from shardtools.taxonomy.image_class import check_class_id

SIZES = {
    "imagenet-1k": 1000,
    "imagenet-100": 100,
    "imagenet-a": 200,
    "imagenet-r": 200,
    "imagenet-21k": 21841,
    "fashion": 10,
}
WORDNET_FILES = [
    f"{kind}.{part}" if kind != "exc" else f"{part}.exc"
    for kind in ("data", "index", "exc")
    for part in ("noun", "verb", "adj", "adv")
]


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", CLASS_SETS)
def test_set_has_its_size_and_indices_in_order(name: str) -> None:
    classes = load_classes(name)
    assert len(classes) == SIZES[name] == class_set_sizes()[name]
    assert [entry.class_index for entry in classes] == list(range(len(classes)))
    assert len({entry.wnid for entry in classes}) == len(classes)
    assert all(entry.definition and entry.hypernyms for entry in classes)
    assert all(len(entry.hypernyms) == len(entry.hypernym_wnids) for entry in classes)
    assert not any("_" in lemma for entry in classes for lemma in entry.lemmas)


@pytest.mark.parametrize(
    ("name", "class_index", "wnid"),
    [
        ("imagenet-1k", 0, "n01440764"),
        ("imagenet-1k", 999, "n15075141"),
        ("imagenet-100", 0, "n02869837"),  # bonnet: CMC's file is not sorted
        ("imagenet-100", 1, "n01749939"),
        ("imagenet-a", 0, "n01498041"),
        ("imagenet-r", 0, "n01443537"),
        ("imagenet-21k", 0, "n00004475"),
        ("fashion", 0, "n03595614"),
        ("fashion", 9, "n02872752"),
    ],
)
def test_label_order(name: str, class_index: int, wnid: str) -> None:
    assert load_classes(name)[class_index].wnid == wnid


def test_subsets_of_imagenet_1k() -> None:
    imagenet_1k = {entry.wnid for entry in load_classes("imagenet-1k")}
    for name in ("imagenet-100", "imagenet-a", "imagenet-r"):
        assert {entry.wnid for entry in load_classes(name)} < imagenet_1k
    # the fall 2011 release lacks one class of ILSVRC 2012: teddy
    assert imagenet_1k - {entry.wnid for entry in load_classes("imagenet-21k")} == {"n04399382"}


def test_class_with_several_parents_keeps_wordnets_order() -> None:
    (tank,) = [entry for entry in load_classes("imagenet-1k") if entry.wnid == "n04389033"]
    assert tank.lemmas == ("tank", "army tank", "armored combat vehicle", "armoured combat vehicle")
    assert tank.hypernyms == (
        ("military vehicle",),
        ("armored vehicle", "armoured vehicle"),
        ("tracked vehicle",),
    )
    assert tank.definition == "an enclosed armored military vehicle; has a cannon and moves on caterpillar treads"


def test_fashion_is_the_module_list() -> None:
    assert [entry.wnid for entry in load_classes("fashion")] == [wnid for wnid, _ in FASHION_SYNSETS.values()]


def test_table_agrees_with_wordnet_on_this_machine() -> None:
    wnids = [entry.wnid for entry in load_classes("imagenet-1k")] + [wnid for wnid, _ in FASHION_SYNSETS.values()]
    for wnid in [*wnids, "n00001740"]:
        shipped, read = table.find_synset(wnid), wordnet.read_synset(wnid)
        assert shipped is not None and read is not None
        assert (shipped.name, shipped.lemmas, shipped.definition, shipped.hypernym_wnids) == (
            read.name,
            read.lemmas,
            read.definition,
            read.hypernym_wnids,
        )
        assert table.parse_row(table.format_row(shipped)) == shipped


def test_table_is_closed_under_hypernyms() -> None:
    wnids = {wnid for wnid, _ in table.lemma_columns()}
    rows = [table.find_synset(wnid) for wnid in wnids]
    assert all(row is not None and set(row.hypernym_wnids) <= wnids for row in rows)
    assert [row.wnid for row in rows if row is not None and not row.hypernym_wnids] == ["n00001740"]


def test_table_refuses_what_it_cannot_hold() -> None:
    synset = table.Synset(wnid="n1", name="a.n.01", lemmas=("a|b",), definition="", hypernym_wnids=())
    with pytest.raises(TaxonomyError, match="n1"):
        table.format_row(synset)


def test_wordnets_license_is_shipped_beside_the_table() -> None:
    license = Path(table.__file__).with_name("WORDNET_LICENSE.txt").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in license
    assert "Permission to use, copy, modify and distribute" in license


@pytest.mark.parametrize(
    ("gloss", "definition"),
    [
        ('a garment; "his shirt was torn"; "a shirt"', "a garment"),
        ("a loose skirt; worn by men and women; ", "a loose skirt; worn by men and women"),
        ("female of domestic cattle: \"`moo-cow' is a child's term\"", "female of domestic cattle"),
        ('a fish; "a fish"- Bible; "two fish"', "a fish"),
        ('woven of worsted yarns "he wore a worsted suit"', "woven of worsted yarns"),
        (
            'progress (especially in the phrase "make strides"); "big strides"',
            'progress (especially in the phrase "make strides")',
        ),
        (
            'a demand especially in the phrase "the call of duty"',
            'a demand especially in the phrase "the call of duty"',
        ),
        ('postal services are available"', "postal services are available"),
    ],
)
def test_definition_without_examples(gloss: str, definition: str) -> None:
    assert wordnet.split_gloss(gloss) == definition


def test_list_of_wnids_and_synset_names() -> None:
    classes = load_classes("n03595614, sandal.n.01,Dog.N.1")
    assert [(entry.wnid, entry.class_index) for entry in classes] == [
        ("n03595614", 0),
        ("n04133789", 1),
        ("n02084071", 2),
    ]
    assert classes[2].hypernyms == (("canine", "canid"), ("domestic animal", "domesticated animal"))


def test_list_from_a_text_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.txt", "\ufeff# my classes\n\nn03595614\r\n  sandal.n.01  \n")
    assert [entry.wnid for entry in load_classes(path)] == ["n03595614", "n04133789"]


def test_synset_outside_the_table_comes_from_wordnet() -> None:
    assert table.find_synset_by_name("trial.n.02") is None
    (by_name,) = load_classes("trial_run.n.01")
    (by_wnid,) = load_classes(by_name.wnid)
    assert by_name == by_wnid
    assert by_name.lemmas == ("trial", "trial run", "test", "tryout")
    assert by_name.hypernyms == (("experiment", "experimentation"),)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("imagnet-100", ["imagnet-100", "did you mean imagenet-100"]),
        ("robin", ["'robin'", "robin.n.02"]),
        ("robn.n.01", ["robn.n.01", "did you mean robin"]),
        ("dog.v.01", ["dog.v.01", "dog.n.01"]),
        ("n99999999", ["n99999999"]),
        ("n02084072", ["n02084072"]),  # an offset inside a line
        ("sandal.n.01,n04133789", ["n04133789", "sandal.n.01", "once"]),
        ("fashion,dog.n.01", ["'fashion'", "alone"]),
        ("zzqqxy", ["zzqqxy", "lists the sets"]),
        ("", [*CLASS_SETS]),
        (" , ", [*CLASS_SETS]),
        ("nowhere.txt", ["nowhere.txt", "No such file"]),
        ("nowhere.csv", ["nowhere.csv", "No such file"]),
    ],
)
def test_unknown_classes_are_named(spec: str, words: list[str]) -> None:
    with pytest.raises(TaxonomyError) as caught:
        load_classes(spec)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_file_errors_name_the_line(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match=r"a\.txt, line 3: .*'frist'"):
        load_classes(write(tmp_path / "a.txt", "# mine\nn03595614\nfrist\n"))
    with pytest.raises(TaxonomyError, match="found none"):
        load_classes(write(tmp_path / "b.txt", "# nothing\n"))
    (tmp_path / "c.txt").write_bytes(b"n03595614\nn\xff\n")
    with pytest.raises(TaxonomyError, match=r"c\.txt, line 2: .*0xff"):
        load_classes(str(tmp_path / "c.txt"))


def only_wordnet_at(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(folder) for folder in folders])
    monkeypatch.setattr(wordnet, "DEBIAN_WORDNET", Path("/nonexistent"))


def test_missing_wordnet_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    only_wordnet_at(monkeypatch, tmp_path)
    assert len(load_classes("imagenet-1k")) == 1000
    assert load_classes("dog.n.01")[0].wnid == "n02084071"
    with pytest.raises(TaxonomyError, match=r"trial_run\.n\.01.*apt-get install wordnet-base.*nltk\.download"):
        load_classes("trial_run.n.01")


def test_other_wordnet_version_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    head = (wordnet.DEBIAN_WORDNET / "data.noun").read_text(encoding="utf-8")[:4000]
    (folder / "data.noun").write_text(head.replace("WordNet 3.0 Copyright 2006", "WordNet 3.1 Copyright 2011"))
    only_wordnet_at(monkeypatch, tmp_path)
    with pytest.raises(TaxonomyError, match=r"expected WordNet 3\.0.*version 3\.1"):
        load_classes("trial_run.n.01")


def test_incomplete_wordnet_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    shutil.copy(wordnet.DEBIAN_WORDNET / "data.noun", folder)
    only_wordnet_at(monkeypatch, tmp_path)
    with pytest.raises(TaxonomyError, match="unreadable"):
        load_classes("trial_run.n.01")


def test_archive_as_nltk_downloads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "corpora").mkdir()
    with zipfile.ZipFile(tmp_path / "corpora" / "wordnet.zip", "w") as archive:
        for name in WORDNET_FILES:
            archive.write(wordnet.DEBIAN_WORDNET / name, f"wordnet/{name}")
    (expected,) = load_classes("trial_run.n.01")
    only_wordnet_at(monkeypatch, tmp_path)
    assert load_classes("trial_run.n.01") == [expected]


def test_search_ranks_exact_lemmas_first() -> None:
    assert [synset.name for synset in find_classes("Robin")][:2] == ["robin.n.02", "robin.n.01"]
    assert find_classes("toy  spaniel")[0].name == "toy_spaniel.n.01"
    assert [synset.wnid for synset in find_classes("n03595614")] == ["n03595614"]
    assert find_classes("jersey.n.03")[0].class_sets["fashion"] == 0
    # inside a word only where no whole word is found
    assert not any("Robinia" in " ".join(synset.lemmas) for synset in find_classes("robin"))
    assert "gym_shoe.n.01" in [synset.name for synset in find_classes("sneak")]
    assert find_classes("zzqqxy") == find_classes("  ") == []


def test_suggestions_are_few_and_near() -> None:
    assert suggest("imagnet-1k")[0] == "imagenet-1k"
    assert suggest("zzqqxy") == []
    assert len(suggest("dog")) == 3


def test_csv_with_quotes_commas_and_other_scripts(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    path = write(
        tmp_path / "mine.csv",
        '\ufeffname,definition,hypernym,id\r\n"Fork, dessert","a ""small"" fork;\nfor cake",fork,\r\n\r\n'
        f"{decomposed},,,\r\n鈴蘭,a flower,,lily\r\nhot dog,food,,\r\n",
    )
    fork, cafe, lily, hot_dog = load_classes(path)
    assert fork.lemmas == ("Fork, dessert",)
    assert fork.definition == 'a "small" fork; for cake'
    assert fork.hypernyms == (("fork",),) and fork.hypernym_wnids == ()
    assert cafe.lemmas == ("caf\u00e9",) and cafe.definition is None and cafe.hypernyms == ()
    assert cafe.wnid.startswith("cafe-")
    assert (lily.wnid, lily.lemmas, lily.class_index) == ("lily", ("鈴蘭",), 2)
    assert hot_dog.wnid == "hot_dog"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no class"),
        ("name,definition\n", "found no class"),
        ("name\nfork\n", r"line 1: expected the header name,definition"),
        ("name,definition,colour\nfork,,\n", r"line 1: .*colour"),
        ("name,definition,name\nfork,,\n", r"line 1: expected the header"),
        ("name,definition\nfork\n", r"line 2: expected 2 values"),
        ("name,definition\nfork,for soup, and more\n", r"line 2: .*double quotes"),
        ("name,definition\n ,a fork\n", r"line 2: the name is empty"),
        ('name,definition\nknife,"two\nlines"\n,x\n', r"line 4: the name is empty"),
        ("name,definition\nfork,a\nFork,b\n", r"line 3: the name 'Fork' is already used .*line 2"),
        ("name,definition,id\na,,x\nb,,X\n", r"line 3: the id 'X' is already used .*line 2"),
        ("name,definition,id\na,,../x\n", r"line 2: .*'\.'"),
        ("name,definition,id\na,,x/y\n", r"line 2: .*'/'"),
        ("name,definition,id\na,,x.y\n", r"line 2: .*'\.'"),
        ("name,definition,id\na,,x\x07\n", r"line 2: the id holds the control character U\+0007"),
        ("name,definition\na,x\x00y\n", r"line 2: .*U\+0000"),
        (f"name,definition,id\na,,{'x' * 101}\n", r"line 2: .*101"),
        ('name,definition\n"fork,a\nknife,b\n', r"line 2: not CSV"),
    ],
)
def test_csv_errors_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "mine.csv", text)
    with pytest.raises(TaxonomyError, match=message) as caught:
        load_classes(path)
    assert "mine.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_csv_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes("name,definition\ncafé,\n".encode("latin-1"))
    with pytest.raises(TaxonomyError, match=r"line 2: expected UTF-8, found byte 0xe9"):
        load_classes(str(tmp_path / "mine.csv"))


def test_same_name_is_allowed_with_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", "name,definition,id\ncrane,a bird,crane-bird\ncrane,a machine,crane-machine\n")
    assert [entry.wnid for entry in load_classes(path)] == ["crane-bird", "crane-machine"]


names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=80).filter(str.strip)


@given(names)
def test_derived_ids_are_safe_in_file_names(name: str) -> None:
    check_class_id(derive_id(name))


@given(st.lists(names, min_size=1, max_size=6))
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, listed: list[str]) -> None:
    cleaned = [unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", name).split())) for name in listed]
    unique = list({name.casefold(): name for name in cleaned if name}.values())
    if not unique:
        return
    text = io.StringIO()
    csv.writer(text).writerows([("name", "definition"), *((name, f"{name}; more") for name in unique)])
    path = write(tmp_path_factory.mktemp("csv") / "mine.csv", text.getvalue())
    classes = load_classes(path)
    assert [entry.lemmas for entry in classes] == [(name,) for name in unique]
    assert len({entry.wnid for entry in classes}) == len(unique)


def test_image_class_refuses_what_cannot_be_a_class() -> None:
    def make(wnid: str = "n1", class_index: int = 0, lemmas: tuple[str, ...] = ("a",)) -> ImageClass:
        return ImageClass(
            wnid=wnid, class_index=class_index, lemmas=lemmas, definition=None, hypernyms=(), hypernym_wnids=()
        )

    for wnid in ("", "a/b", "..", "a b", "é", "a\x00"):
        with pytest.raises(TaxonomyError):
            make(wnid=wnid)
    with pytest.raises(TaxonomyError, match="-1"):
        make(class_index=-1)
    with pytest.raises(TaxonomyError, match="name"):
        make(lemmas=())
