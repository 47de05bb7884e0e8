"""Similarities of all pairs at once are those of NLTK, pair by pair."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from shardtools.errors import OptionError, SourceError
from shardtools.evaluation.cog import (
    Funnel,
    Hierarchy,
    Vectors,
    corpus_hierarchy,
    open_vectors,
    rank_concepts,
    similarities,
)
from shardtools.evaluation.cog.similarity import blocks
from shardtools.features import ClassTexts, TextEncoderFacts
from shardtools.features.class_texts import write_class_texts
from shardtools.storage import open_storage
from shardtools.taxonomy.wordnet import _open_reader, _places
from tests.helpers.cog_worlds import FAR, NEAR

SEEN = ("n01514668", "n01667114")


@pytest.fixture(scope="module")
def concepts(cog_funnel: Funnel) -> tuple[list[str], list[str]]:
    """Candidates and seen ones, any of the graph among both: leaves, parents of one another, the root, equal ones."""
    rng = random.Random(0)
    graph = cog_funnel.hierarchy.wnids
    candidates = [*rng.sample(cog_funnel.eligible, 60), *rng.sample(graph, 60), "n00001740"]
    return candidates, [*rng.sample(cog_funnel.seen, 30), *rng.sample(graph, 30), *candidates[:3], "n00001740"]


@pytest.mark.parametrize("measure", ["lin", "jiang-conrath", "wu-palmer"])
def test_similarities_are_those_of_nltk(
    cog_graph: Hierarchy, concepts: tuple[list[str], list[str]], measure: str
) -> None:
    reader = _open_reader(tuple(_places()))
    under = zip(cog_graph.wnids, cog_graph.num_under.tolist(), strict=True)
    content = {"n": {0: float(len(cog_graph)), **{int(wnid[1:]): float(count) for wnid, count in under}}}
    candidates, seen = concepts
    own = similarities(cog_graph, measure, candidates, seen)
    rng = random.Random(1)
    for _ in range(700):
        row, column = rng.randrange(len(candidates)), rng.randrange(len(seen))
        one, other = (reader.synset_from_pos_and_offset("n", int(w[1:])) for w in (candidates[row], seen[column]))
        if measure == "wu-palmer":
            expected = one.wup_similarity(other)
        elif measure == "jiang-conrath":
            expected = one.jcn_similarity(other, content)
            expected = math.inf if expected > 1e200 else expected
        elif one == other and one.name() == "entity.n.01":
            expected = 1.0  # NLTK divides nothing by nothing
        else:
            expected = one.lin_similarity(other, content)
        assert own[row, column] == pytest.approx(expected, rel=1e-9, abs=1e-12), (one, other)


def test_information_is_that_of_the_thesis(cog_graph: Hierarchy) -> None:
    # ImageNet-21K, the one seen class beside it, and all that is above them.
    assert len(cog_graph) == 23_547
    information = cog_graph.information
    assert information[cog_graph.place("n00001740")] == 0
    assert cog_graph.num_under[cog_graph.place("n00001740")] == len(cog_graph)
    for place, parents in enumerate(cog_graph.parents):
        assert all(information[parent] < information[place] for parent in parents)


def test_blocks_are_rows_of_the_whole(
    cog_graph: Hierarchy, concepts: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates, seen = concepts
    monkeypatch.setattr("shardtools.evaluation.cog.similarity._BLOCK", 50)
    for measure in ("lin", "wu-palmer"):
        whole = np.concatenate([rows for _, rows in blocks(cog_graph, measure, candidates, seen)])
        np.testing.assert_array_equal(whole, similarities(cog_graph, measure, candidates, seen))


def test_ranking_takes_the_nearest_seen_concept(cog_graph: Hierarchy) -> None:
    ranked = rank_concepts([*FAR, *NEAR], SEEN, hierarchy=cog_graph)
    table = similarities(cog_graph, "lin", [one.wnid for one in ranked], SEEN)
    assert [one.similarity for one in ranked] == pytest.approx(table.max(axis=1).tolist())
    assert [one.nearest for one in ranked] == [SEEN[place] for place in table.argmax(axis=1).tolist()]
    assert [one.similarity for one in ranked] == sorted((one.similarity for one in ranked), reverse=True)
    # A gamecock is a cock.
    assert (ranked[0].wnid, ranked[0].nearest) == ("n01514752", "n01514668")


def test_equal_concepts_stand_by_wnid(cog_graph: Hierarchy) -> None:
    vectors = Vectors(
        wnids=(*NEAR, *SEEN), rows=np.array([[1.0, 0], [1, 0], [0, 1], [1, 0], [1, 0]]), name="t", where="t"
    )
    ranked = rank_concepts(reversed(NEAR), SEEN, measure="text", vectors=vectors)  # type: ignore[arg-type]
    assert [(one.wnid, one.similarity) for one in ranked] == [(NEAR[0], 1), (NEAR[1], 1), (NEAR[2], 0)]
    assert {one.nearest for one in ranked} == {SEEN[0]}


def test_without_a_graph_the_corpus_is_imagenet_21k() -> None:
    graph = corpus_hierarchy(NEAR, SEEN)
    # The concepts of fall 2011 and what is above them; a seen concept beside them would be one more.
    assert len(graph) == 23_546
    assert rank_concepts(NEAR, SEEN) == rank_concepts(NEAR, SEEN, hierarchy=graph)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "path"}, "no measure of similarity is called 'path': there are lin, wu-palmer"),
        ({"measure": "text"}, "give --vectors, a folder of `shardtools text-features`"),
        ({"candidates": ()}, "found no candidate: name some"),
        ({"seen": ()}, "found no seen concept: name some"),
        ({"seen": (*SEEN, NEAR[0])}, "n01514752 is among the seen concepts and the candidates"),
    ],
)
def test_what_cannot_be_ranked_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        rank_concepts(**{"candidates": NEAR, "seen": SEEN, **changes})  # type: ignore[arg-type]


def test_vectors_of_texts_and_of_a_file_are_one(tmp_path: Path) -> None:
    rows = np.array([[3.0, 4], [0, 2], [1, 0], [1, 1]])
    wnids = (*NEAR[:2], *SEEN)
    facts = TextEncoderFacts(
        name="bert", weights_sha256="0" * 64, tokenizer_sha256="0" * 64, feature_dim=2, pooling="mean", max_tokens=8
    )
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    texts = ClassTexts(
        wnids=wnids,
        class_indexes=(0, 1, 2, 3),
        texts=tuple((w,) for w in wnids),
        features=unit,
        encoder=facts,
        settings={},
    )
    write_class_texts(open_storage(tmp_path / "texts"), texts)
    np.save(tmp_path / "words.npy", rows.astype(np.float16))
    (tmp_path / "words.txt").write_text("\n".join(wnids) + "\n")
    of_texts, of_file = open_vectors(str(tmp_path / "texts")), open_vectors(str(tmp_path / "words.npy"))
    expected = [[0.6, 1.4 / math.sqrt(2)], [0, 1 / math.sqrt(2)]]
    for vectors in (of_texts, of_file):
        np.testing.assert_allclose(vectors.cosines(NEAR[:2], SEEN), expected, atol=1e-6)
    assert (of_texts.name, of_file.name) == ("bert", "words")
    with pytest.raises(OptionError, match=r"words.npy has no vector of 1 concept, n01667432 the first"):
        of_file.cosines(NEAR, SEEN)


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        (np.ones((2, 3)), "n01514752", "has 2 rows for 1 different wnid"),
        (np.ones(3), "n01514752", r"holds float64 \[3\], expected numbers"),
        (np.array([[1, np.nan]]), "n01514752", "the vector of n01514752 is not finite or all zeros"),
        (np.array([["a"]]), "n01514752", "expected numbers"),
        (np.array([[1.0]]), None, "cannot be read as vectors .* expected a .npy .* and words.txt beside it"),
    ],
)
def test_files_that_hold_no_vectors_are_refused(
    tmp_path: Path, rows: np.ndarray, names: str | None, message: str
) -> None:
    np.save(tmp_path / "words.npy", rows)
    if names is not None:
        (tmp_path / "words.txt").write_text(names)
    with pytest.raises(SourceError, match=message):
        open_vectors(str(tmp_path / "words.npy"))
