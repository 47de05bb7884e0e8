"""Levels of a ranked list: where they are cut, drawn ones, files, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import NotFoundError, OptionError, SourceError
from shardtools.evaluation.cog import (
    Concept,
    EligibleOptions,
    Funnel,
    Level,
    LevelOptions,
    check_levels,
    cut_again,
    cut_levels,
    make_levels,
    random_levels,
    read_levels,
    write_eligible,
    write_levels,
)
from tests.helpers.cog_worlds import FAR, NEAR, levels


def ranked(number: int) -> list[Concept]:
    return [Concept(wnid=f"n{place:08d}", similarity=1 - place / 1000, nearest="n1") for place in range(number)]


def test_levels_of_the_thesis_leave_146_concepts_in_four_gaps() -> None:
    found = cut_levels(ranked(5146))
    starts = [int(level.concepts[0].wnid[1:]) for level in found]
    assert [level.name for level in found] == ["L1", "L2", "L3", "L4", "L5"]
    assert starts == [0, 1036, 2073, 3109, 4146]
    assert [len(level.concepts) for level in found] == [1000] * 5
    assert found[-1].concepts[-1].wnid == "n00005145"


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 30))
def test_levels_span_the_list_in_order_with_even_gaps(num_levels: int, size: int, spare: int) -> None:
    concepts = ranked(num_levels * size + spare)
    found = cut_levels(concepts, num_levels=num_levels, size=size)
    places = [concepts.index(concept) for level in found for concept in level.concepts]
    assert places == sorted(set(places))
    assert places[0] == 0
    assert num_levels == 1 or places[-1] == len(concepts) - 1
    gaps = [places[size * number] - places[size * number - 1] - 1 for number in range(1, num_levels)]
    assert not gaps or (max(gaps) - min(gaps) <= 1 and sum(gaps) == spare)


def test_levels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError, match="5 levels of 1000 concepts need 5000, found 4999"):
        cut_levels(ranked(4999))
    with pytest.raises(OptionError, match="found 0 of 3"):
        cut_levels(ranked(9), num_levels=0, size=3)
    with pytest.raises(OptionError, match="a level of 10 concepts is drawn from 9"):
        random_levels([one.wnid for one in ranked(9)], size=10, seed=0)


def test_drawn_levels_depend_on_seed_number_and_concepts_alone() -> None:
    pool = [one.wnid for one in ranked(40)]
    found = random_levels(pool, num_levels=3, size=10, seed=1)
    assert [level.name for level in found] == ["R1", "R2", "R3"]
    assert found == random_levels([*reversed(pool), pool[0]], num_levels=3, size=10, seed=1)
    assert found[:2] == random_levels(pool, num_levels=2, size=10, seed=1)
    assert len({level.wnids for level in (*found, *random_levels(pool, num_levels=3, size=10, seed=2))}) == 6
    assert all(len(set(level.wnids)) == 10 for level in found)


def test_ranked_again_the_concepts_stay() -> None:
    given_levels = cut_levels(ranked(9), num_levels=2, size=4)
    again = [Concept(wnid=wnid) for level in given_levels for wnid in reversed(level.wnids)]
    found = cut_again(given_levels, again)
    assert [len(level.concepts) for level in found] == [4, 4]
    assert [concept for level in found for concept in level.concepts] == again
    with pytest.raises(OptionError, match="expected the 8 concepts of the levels ranked again, found 7"):
        cut_again(given_levels, again[1:])


@settings(max_examples=20)
@given(st.lists(st.sampled_from([*NEAR, *FAR]), min_size=1, unique=True), st.booleans())
def test_files_keep_levels(tmp_path_factory: pytest.TempPathFactory, wnids: list[str], has_similarity: bool) -> None:
    facts = {"similarity": 0.123456789012, "nearest": NEAR[0]} if has_similarity else {}
    concepts = tuple(Concept(wnid=wnid, **facts) for wnid in wnids)  # type: ignore[arg-type]
    made = (Level(name="L1", concepts=concepts), Level(name="text-L2", concepts=concepts[:1]))
    path = tmp_path_factory.mktemp("levels") / "levels.csv"
    assert write_levels(made, path) == len(concepts) + 1
    assert read_levels(path) == made


def test_files_by_hand_need_level_and_wnid_alone(tmp_path: Path) -> None:
    path = tmp_path / "levels.csv"
    path.write_text("wnid,level\nn02084071,L1\nn01514668,L1\n")
    assert read_levels(path) == (Level(name="L1", concepts=(Concept(wnid="n02084071"), Concept(wnid="n01514668"))),)
    for text, message in (
        ("synset\nn1", "expected a header with level and wnid, found 'synset'"),
        ("level,wnid\nL1,", "line 2: expected a level and a wnid, found 'L1' and ''"),
        ("level,wnid,similarity\nL1,n1,much", "cannot be read as levels"),
    ):
        path.write_text(text)
        with pytest.raises(SourceError, match=message):
            read_levels(path)
    with pytest.raises(NotFoundError):
        read_levels(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("given_levels", "seen", "message"),
    [
        ((), (), "are none: give at least one"),
        ((Level(name="L1", concepts=()),), (), "level L1 has 0 concepts, expected two at least"),
        ((levels()[0], levels()[0]), (), "L1 comes twice"),
        ((Level(name="L1", concepts=(Concept(wnid="n1"),) * 2),), (), "n1 is in level L1 twice"),
        (levels(), (FAR[1],), "n13555775 of level L2 is among the seen concepts \\(1 of 3 are\\)"),
    ],
)
def test_levels_that_cannot_be_measured_are_refused(
    given_levels: tuple[Level, ...], seen: tuple[str, ...], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        check_levels(given_levels, seen)


def test_levels_of_the_funnel_are_those_of_its_concepts(cog_funnel: Funnel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardtools.evaluation.cog.making.eligible_concepts", lambda _options: cog_funnel)
    found = make_levels(LevelOptions())
    assert "images were not counted" in found.notes[0]
    assert {wnid for level in found.levels for wnid in level.wnids} < set(cog_funnel.eligible)
    assert [len(level.concepts) for level in found.levels] == [1000] * 5
    # A gamecock is next to a cock, and nothing is nearer to a seen concept.
    assert found.levels[0].concepts[0] == Concept(wnid=NEAR[0], similarity=0.964344941527, nearest="n01514668")
    similarities = [one.similarity or 0 for level in found.levels for one in level.concepts]
    assert similarities == sorted(similarities, reverse=True)


def test_levels_are_taken_ranked_again_and_drawn(tmp_path: Path) -> None:
    few = EligibleOptions(seen="n01514668,n01667114")
    text = LevelOptions(concepts=",".join([*NEAR, *FAR]), num_levels=2, size=3)
    made = make_levels(text, few).levels
    path = str(tmp_path / "levels.csv")
    write_levels(made, path)
    assert make_levels(LevelOptions(levels=path), few).levels == made
    again = make_levels(LevelOptions(levels=path, again=True, measure="wu-palmer"), few).levels
    assert [level.name for level in again] == ["wu-palmer-L1", "wu-palmer-L2"]
    drawn = make_levels(LevelOptions(levels=path, random=4, size=2, seed=3), few).levels
    assert drawn == random_levels([*NEAR, *FAR], num_levels=4, size=2, seed=3)
    with pytest.raises(OptionError, match="of level L1 is among the seen concepts"):
        make_levels(LevelOptions(levels=path), EligibleOptions(seen=NEAR[0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"again": True}, "name them with --levels FILE"),
        ({"levels": "l.csv", "concepts": "fashion"}, "give --levels or --concepts"),
        ({"levels": "l.csv", "again": True, "random": 3}, "give one"),
        ({"vectors": "words.npy"}, "vectors are for --measure text, found --measure lin"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        LevelOptions(**options)  # type: ignore[arg-type]


def test_eligible_concepts_go_into_a_file(tmp_path: Path, cog_funnel: Funnel) -> None:
    assert write_eligible(cog_funnel, tmp_path / "eligible.csv") == 14_178
    header, first, *_ = (tmp_path / "eligible.csv").read_text().splitlines()
    assert (header, first) == ("wnid,name,count", "n00006024,heterotroph,")
