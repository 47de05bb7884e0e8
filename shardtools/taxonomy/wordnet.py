"""WordNet 3.0 through nltk, for synsets outside the shipped table.

Owns where WordNet is looked for, the check of its version and the reading of a noun's line. nltk supplies synset names
and sense numbers; lines are parsed here, because nltk returns hypernyms in its own order and removes every quotation
from a definition. The price of nltk is a second or two on the first lookup; nothing here runs for the shipped class
sets.
"""

from __future__ import annotations

import functools
import io
import re
import zipfile
from pathlib import Path
from typing import IO

import nltk.data
from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError

from shardtools.errors import TaxonomyError
from shardtools.taxonomy.table import Synset

DEBIAN_WORDNET = Path("/usr/share/wordnet")
"""Where Debian's and Ubuntu's wordnet-base puts the data files."""

HOW_TO_GET = "install it with `apt-get install wordnet-base` or `python -c \"import nltk; nltk.download('wordnet')\"`"

# WordNet's lexicographer files in the order of their numbers (lexnames(5)): nltk wants the list, Debian leaves it out.
_LEXNAMES = """
adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition
noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object
noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape
noun.state noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition
verb.consumption verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession
verb.social verb.stative verb.weather adj.ppl
"""
_PART_OF_SPEECH = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}

_VERSION = re.compile(r"Word[Nn]et (\S+) Copyright")
_EXAMPLES = re.compile(r'[;:]\s*"')
_LAST_EXAMPLE = re.compile(r',?\s+(?<!phrase )(?<!expression )(?<!e\.g\. )"[^"]*"$')


class _Files(nltk.data.PathPointer):  # type: ignore[misc]  # nltk carries no types
    """WordNet's files in a folder, or in the zip archive that nltk.download leaves."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def join(self, fileid: str) -> _Files:
        return _Files(self.place / fileid)

    def open(self, name: str) -> IO[str]:
        # held in memory: nltk never closes what it opens, and seeks in it by byte offset
        if self.place.suffix == ".zip":
            with zipfile.ZipFile(self.place) as archive:
                raw = archive.read(f"wordnet/{name}")
        else:
            raw = (self.place / name).read_bytes()
        return io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="\n")

    def file_size(self) -> int:
        return self.place.stat().st_size

    def version(self) -> str:
        """What data.noun says that it is."""
        with self.open("data.noun") as noun_file:
            head = noun_file.read(4096)
        match = _VERSION.search(head)
        return match.group(1) if match else "unknown"


class _Reader(WordNetCorpusReader):  # type: ignore[misc]  # nltk carries no types
    """nltk's reader over `_Files`: nltk's own refuses folders outside its path, and wants `lexnames`."""

    def __init__(self, files: _Files) -> None:
        self._wordnet_files = files
        super().__init__(files, object())  # any object: None would warn that other languages are missing

    def open(self, file: str) -> IO[str]:
        if file == "lexnames":
            names = enumerate(_LEXNAMES.split())
            lines = [f"{number:02d} {name} {_PART_OF_SPEECH[name.partition('.')[0]]}" for number, name in names]
            return io.StringIO("\n".join(lines))
        return self._wordnet_files.open(file)

    def map_wn(self, version: str = "wordnet") -> None:
        """No mapping to other versions: it would read the multilingual files."""

    def noun_line(self, offset: int) -> str:
        noun_file = self._data_file("n")
        noun_file.seek(offset)
        return str(noun_file.readline())


def _places() -> list[Path]:
    corpora = [Path(folder) / "corpora" for folder in nltk.data.path]
    candidates = [corpus / name for corpus in corpora for name in ("wordnet", "wordnet.zip")] + [DEBIAN_WORDNET]
    return [
        place
        for place in candidates
        if (place.is_file() if place.suffix == ".zip" else (place / "data.noun").is_file())
    ]


@functools.cache
def _open_reader(places: tuple[Path, ...]) -> _Reader:
    refused = []
    for place in places:
        try:
            files = _Files(place)
            version = files.version()
            if version != "3.0":
                refused.append(f"{place} (version {version})")
                continue
            return _Reader(files)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            refused.append(f"{place} (unreadable: {' '.join(str(error).split())})")
    if refused:
        raise TaxonomyError(
            f"expected WordNet 3.0, whose offsets are ImageNet's ids, found only {', '.join(refused)}; {HOW_TO_GET}"
        )
    raise TaxonomyError(f"WordNet 3.0 is not on this machine; {HOW_TO_GET}")


def split_gloss(gloss: str) -> str:
    """The definition in a gloss: what stands before the quoted examples, quotations inside it kept.

    nltk instead removes each quotation wherever it stands, and leaves the names of quoted authors behind.
    """
    definition = _EXAMPLES.split(gloss.strip(), maxsplit=1)[0].strip("; ")
    definition = _LAST_EXAMPLE.sub("", definition)
    if definition.count('"') == 1:
        definition = definition.strip('"')
    return definition.strip("; ")


def _parse_line(line: str, name: str) -> Synset:
    # wndb(5): offset, lexicographer file, type, two hexadecimal digits of lemma count, (lemma, id)..., three digits of
    # pointer count, (symbol, offset, type, source/target)..., "|", gloss
    data, _, gloss = line.partition("|")
    fields = data.split()
    pointers_at = 4 + 2 * int(fields[3], 16)
    pointers = fields[pointers_at + 1 :]
    parents = [pointers[i + 1] for i in range(0, 4 * int(fields[pointers_at]), 4) if pointers[i] in ("@", "@i")]
    return Synset(
        wnid=f"n{fields[0]}",
        name=name,
        lemmas=tuple(lemma.replace("_", " ") for lemma in fields[4:pointers_at:2]),
        definition=split_gloss(gloss),
        hypernym_wnids=tuple(f"n{offset}" for offset in parents),
    )


def read_synset(identifier: str) -> Synset | None:
    """The noun synset with a wnid ("n02084071") or a name ("dog.n.01"; any lemma of it will do), or `None`.

    Raises:
        TaxonomyError: WordNet 3.0 is not on this machine, or what is there is another version.
    """
    reader = _open_reader(tuple(_places()))
    if re.fullmatch(r"n\d{8}", identifier):
        offset = int(identifier[1:])
        # nltk reads whatever line starts there; an offset inside a line must not pass
        if not reader.noun_line(offset).startswith(f"{offset:08d} "):
            return None
        synset = reader.synset_from_pos_and_offset("n", offset)
    else:
        try:
            synset = reader.synset(identifier)
        except (WordNetError, ValueError):
            return None
    if synset is None or synset.pos() != "n":
        return None
    return _parse_line(reader.noun_line(synset.offset()), synset.name())
