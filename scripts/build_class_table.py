"""Writes shardtools/taxonomy/classes.tsv.gz, the shipped table of class sets.

    python scripts/build_class_table.py            (about 10 s; needs WordNet 3.0, and timm for the lists of wnids)
    python scripts/build_class_table.py --check    (writes nothing; exit 1 where the shipped table differs)

Names, definitions and parents come from WordNet 3.0. The wnids of imagenet-1k, -a, -r and -21k come from the lists that
timm carries, those of imagenet-100 from scripts/imagenet100_wnids.txt (HobbitLong/CMC, imagenet100.txt, file order
kept), those of fashion from shardtools/taxonomy/fashion.py. Parents are added up to entity.n.01.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from shardtools.taxonomy import table  # noqa: E402
from shardtools.taxonomy.fashion import FASHION_SYNSETS  # noqa: E402
from shardtools.taxonomy.wordnet import read_synset  # noqa: E402

TIMM_LISTS = {
    "imagenet-1k": "imagenet_synsets.txt",
    "imagenet-a": "imagenet_a_synsets.txt",
    "imagenet-r": "imagenet_r_synsets.txt",
    "imagenet-21k": "imagenet22k_synsets.txt",
}
SIZES = {
    "imagenet-1k": 1000,
    "imagenet-100": 100,
    "imagenet-a": 200,
    "imagenet-r": 200,
    "imagenet-21k": 21841,
    "fashion": 10,
}


def read_class_sets() -> dict[str, list[str]]:
    """Class set -> its wnids in label order."""
    package = importlib.util.find_spec("timm")  # not imported: timm imports torch
    if package is None or package.origin is None:
        raise SystemExit("timm carries the lists of wnids: `pip install timm`")
    lists = Path(package.origin).parent / "data" / "_info"
    class_sets = {name: (lists / file).read_text().split() for name, file in TIMM_LISTS.items()}
    class_sets["imagenet-100"] = (REPOSITORY / "scripts" / "imagenet100_wnids.txt").read_text().split()
    class_sets["fashion"] = [wnid for wnid, _ in FASHION_SYNSETS.values()]
    for name, size in SIZES.items():
        found = len(set(class_sets[name]))
        if found != size or len(class_sets[name]) != size:
            raise SystemExit(f"{name}: expected {size} different wnids, found {found} among {len(class_sets[name])}")
    return {name: class_sets[name] for name in table.CLASS_SETS}


def build() -> bytes:
    """The table's bytes: the same for the same inputs and zlib."""
    memberships: dict[str, dict[str, int]] = {}
    for name, wnids in read_class_sets().items():
        for class_index, wnid in enumerate(wnids):
            memberships.setdefault(wnid, {})[name] = class_index
    rows: dict[str, str] = {}
    waiting = list(memberships)
    while waiting:
        wnid = waiting.pop()
        if wnid in rows:
            continue
        found = read_synset(wnid)
        if found is None:
            raise SystemExit(f"{wnid} is not a noun of WordNet 3.0")
        synset = table.Synset(
            wnid=wnid,
            name=found.name,
            lemmas=found.lemmas,
            definition=found.definition,
            hypernym_wnids=found.hypernym_wnids,
            class_sets=memberships.get(wnid, {}),
        )
        rows[wnid] = table.format_row(synset)
        waiting.extend(synset.hypernym_wnids)
    lines = ["\t".join(table.COLUMNS), *(rows[wnid] for wnid in sorted(rows))]
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), compresslevel=9, mtime=0)


def main() -> int:
    """Writes or checks the table."""
    parser = argparse.ArgumentParser(description="Write the shipped table of class sets.")
    parser.add_argument("--check", action="store_true", help="compare with the shipped table instead of writing it")
    target = REPOSITORY / "shardtools" / "taxonomy" / table.TABLE_FILE
    check = parser.parse_args().check
    packed = build()
    if check:
        same = gzip.decompress(target.read_bytes()) == gzip.decompress(packed)
        sys.stdout.write(f"{target.name}: {'as built' if same else 'differs from what the script builds'}\n")
        return 0 if same else 1
    target.write_bytes(packed)
    num_synsets = gzip.decompress(packed).count(b"\n") - 1
    sys.stdout.write(f"{target}: {len(packed):,} bytes, {num_synsets:,} synsets\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
