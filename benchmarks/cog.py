"""Similarity of every candidate with every seen concept at once, against NLTK pair by pair.

    python -m benchmarks.cog                  (14,178 x 1,000 concepts; one thread, a minute)
    python -m benchmarks.cog --pairs 200      (a look whether it runs)

Hardware: one CPU core. Expected: the same values to nine digits, all pairs in about a second of CPU time where NLTK
takes a minute and a half (Lin, Jiang-Conrath) to more than an hour (Wu-Palmer). The last line is one JSON object.

NLTK is asked for random pairs with the same numbers of concepts, once before its clock runs, so that it has read them;
its time for all pairs is that of one times their number.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable
from typing import Any

from shardtools.evaluation.cog import Funnel, eligible_concepts, similarities
from shardtools.evaluation.cog.similarity import blocks
from shardtools.taxonomy.wordnet import _open_reader, _places

MEASURES = ("lin", "jiang-conrath", "wu-palmer")


def measure(found: Funnel, name: str, num_pairs: int) -> dict[str, Any]:
    """CPU seconds of both, and the largest relative difference."""
    begin = time.process_time()
    best = [rows.max(axis=1) for _, rows in blocks(found.hierarchy, name, found.eligible, found.seen)]
    ours = time.process_time() - begin
    rng = random.Random(0)
    pairs = [(rng.choice(found.eligible), rng.choice(found.seen)) for _ in range(num_pairs)]
    reader = _open_reader(tuple(_places()))
    both = [[reader.synset_from_pos_and_offset("n", int(wnid[1:])) for wnid in pair] for pair in pairs]
    ask = _asked(found, name)
    for one, other in both:
        ask(one, other)
    begin = time.process_time()
    values = [ask(one, other) for one, other in both]
    theirs = time.process_time() - begin
    own = [float(similarities(found.hierarchy, name, [one], [other])[0, 0]) for one, other in pairs[:200]]
    worst = max(abs(value - mine) / max(abs(value), 1e-9) for value, mine in zip(values, own, strict=False))
    return {
        "measure": name,
        "pairs": sum(map(len, best)) * len(found.seen),
        "seconds": round(ours, 2),
        "nltk_seconds": round(theirs / num_pairs * len(found.eligible) * len(found.seen)),
        "worst_difference": worst,
    }


def _asked(found: Funnel, name: str) -> Callable[[Any, Any], float]:
    graph = found.hierarchy
    under = zip(graph.wnids, graph.num_under.tolist(), strict=True)
    content = {"n": {0: float(len(graph)), **{int(wnid[1:]): float(number) for wnid, number in under}}}
    return {
        "lin": lambda one, other: float(one.lin_similarity(other, content)),
        "jiang-conrath": lambda one, other: float(one.jcn_similarity(other, content)),
        "wu-palmer": lambda one, other: float(one.wup_similarity(other)),
    }[name]


def main() -> None:
    """Prints a line a measure, then everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3000, help="Pairs that NLTK is asked for.")
    args = parser.parse_args()
    begin = time.process_time()
    found = eligible_concepts()
    funnel = time.process_time() - begin
    print(f"funnel: {funnel:.2f} s")
    results = [measure(found, name, args.pairs) for name in MEASURES]
    for one in results:
        ratio = one["nltk_seconds"] / one["seconds"] if one["seconds"] else math.inf
        print(f"{one['measure']}: {one['seconds']} s, NLTK {one['nltk_seconds']} s ({ratio:.0f} times)")
        assert one["worst_difference"] < 1e-9
    print(json.dumps({"funnel_seconds": round(funnel, 2), "results": results}))


if __name__ == "__main__":
    main()
