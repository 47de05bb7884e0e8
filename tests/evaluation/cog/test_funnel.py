"""The funnel from ImageNet-21K to unseen concepts: exact numbers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardtools.errors import OptionError, SourceError, TaxonomyError
from shardtools.evaluation.cog import (
    LEAVES,
    WORDNET_NOUNS,
    EligibleOptions,
    Funnel,
    Hierarchy,
    eligible_concepts,
    image_counts,
    narrow,
    open_hierarchy,
)
from shardtools.evaluation.cog.funnel import excluded_concepts
from shardtools.taxonomy.wordnet import _open_reader, _places
from tests.helpers.cog_worlds import FAR, NEAR, make_world

PERSON = "n00007846"


def test_numbers_are_those_of_the_thesis(cog_funnel: Funnel) -> None:
    steps = cog_funnel.steps
    assert [step.num_left for step in steps] == [21_841, 20_842, 20_081, 17_254, 14_248, 14_178]
    # One class of ImageNet-1K is not in the list of fall 2011; both readings of "leaf" are named.
    assert (steps[1].note, steps[4].note) == ("1 seen concept not among them", "14,265 by direct parents")
    assert steps[5].note == "70 of 70 were left"
    assert len(cog_funnel.seen) == 1000
    assert not set(cog_funnel.eligible) & (set(cog_funnel.seen) | excluded_concepts("cog"))


def test_wordnet_has_as_many_nouns() -> None:
    # A line of data.noun that begins with an offset is a synset; the licence before them is indented.
    with _open_reader(tuple(_places()))._wordnet_files.open("data.noun") as nouns:
        assert sum(line[0].isdigit() for line in nouns) == WORDNET_NOUNS


def test_what_is_left_is_as_the_rules_say(cog_funnel: Funnel) -> None:
    graph, left = cog_funnel.hierarchy, set(cog_funnel.eligible)
    assert not any(graph.is_under(wnid, PERSON) for wnid in left)
    assert not left & graph.ancestors(left)
    assert not left & graph.ancestors(cog_funnel.seen)
    assert cog_funnel.counts is None


def few(**changes: object) -> EligibleOptions:
    pool = ",".join([*NEAR, *FAR])
    return EligibleOptions(**{"pool": pool, "seen": "imagenet-100", "exclude": "none", **changes})  # type: ignore[arg-type]


def test_direct_parents_leave_what_is_above_a_gap(cog_graph: Hierarchy) -> None:
    # A dog is above the Rhodesian ridgeback, and no parent of it: hunting dog and hound are no candidates.
    dog, ridgeback = "n02084071", "n02087394"
    left = {reading: narrow(cog_graph, [dog, ridgeback], [NEAR[0]], leaves=reading).eligible for reading in LEAVES}
    assert left == {"ancestors": (ridgeback,), "parents": (dog, ridgeback)}


def test_counts_of_a_file(tmp_path: Path) -> None:
    counts = tmp_path / "counts.csv"
    rows = [f"{wnid},{number}" for number, wnid in enumerate([*NEAR, *FAR])]
    counts.write_text("\n".join(["wnid,count", *rows, "n00000001,9"]) + "\n")
    found = eligible_concepts(few(counts=str(counts), least=2, exclude=FAR[0]))
    assert [step.num_left for step in found.steps[-2:]] == [4, 3]
    assert found.eligible == tuple(sorted((NEAR[2], *FAR[1:])))
    assert found.counts == {NEAR[2]: 2, FAR[1]: 4, FAR[2]: 5}


def test_counts_of_a_dataset(tmp_path: Path) -> None:
    url = make_world(tmp_path / "world", images=2)
    assert image_counts(url, [*NEAR, "n02084071"]) == {**dict.fromkeys([*NEAR, *FAR], 2), "n02084071": 0}
    with pytest.raises(OptionError, match=r"no concept is left of 6: the step 'of 3 images or more' took the last"):
        eligible_concepts(few(counts=url, least=3))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "wnid,count\n" + "\n".join(f"{wnid},1" for wnid in NEAR),
            OptionError,
            "has no count for 3 concepts of 6, n0792",
        ),
        ("synset,images\nn01,1", SourceError, "expected a header with wnid and count, found 'synset,images'"),
        ("wnid,count\nn01514752,many", SourceError, "line 2: expected a wnid and its number of images, found 'many'"),
        ("wnid,count\nn01514752,1\nn01514752,2", SourceError, "line 3: .* found n01514752 a second time"),
    ],
)
def test_counts_that_are_none_are_refused(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    counts = tmp_path / "counts.csv"
    counts.write_text(text)
    with pytest.raises(error, match=message):
        eligible_concepts(few(counts=str(counts)))


def test_counts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read as counts"):
        eligible_concepts(few(counts=str(tmp_path / "none.csv")))


def test_unknown_concepts_are_refused() -> None:
    with pytest.raises(TaxonomyError, match="has no noun synset 'n00000001'"):
        open_hierarchy(["n00000001"])
    with pytest.raises(OptionError, match="n02084071 is not among the 1 concepts"):
        open_hierarchy(["n00001740"]).place("n02084071")
