"""The default set: five photographs of each of five types, out of Debian's packages and of this one.

Owns the table `data/default.csv`, chosen by eye: each square reads as its type. What may not be shipped with this
package's license (GPL, CC-BY-SA) is read from the Debian package that holds it; what is CC0 lies beside the table.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from shardtools.errors import RunError
from shardtools.quoting import shell_word
from shardtools.rendering.backgrounds.folder import Candidate, parse_crop
from shardtools.rendering.tables import read_rows
from shardtools.words import counted

_COLUMNS = ("type", "name", "package", "path", "crop", "license", "author", "source")


def default_candidates(root: Path = Path("/")) -> list[Candidate]:
    """The photographs of the default set, in the order of the table.

    Args:
        root: Where Debian's files lie.

    Raises:
        RunError: Debian's packages are not installed.
    """
    folder = Path(str(files("shardtools"))) / "rendering" / "backgrounds" / "data"
    table = read_rows((folder / "default.csv").read_bytes(), "default.csv", needed=_COLUMNS)
    rows = [row for _, row in table]
    paths = [root / row["path"].lstrip("/") if row["package"] else folder / row["path"] for row in rows]
    missing = [row["package"] for row, path in zip(rows, paths, strict=True) if not path.is_file()]
    if missing:
        packages = " ".join(map(shell_word, dict.fromkeys(missing)))
        raise RunError(
            f"{counted(len(missing), 'photo')} of the default set lie in Debian packages that are not installed: "
            f"apt-get install --no-install-recommends {packages}; or give a folder of photos as SOURCE"
        )
    return [_candidate(row, path) for row, path in zip(rows, paths, strict=True)]


def _candidate(row: dict[str, str], path: Path) -> Candidate:
    return Candidate(
        type=row["type"],
        name=f"{row['type']}/{row['name']}",
        where=str(path),
        num_bytes=path.stat().st_size,
        read=path.read_bytes,
        license=row["license"],
        author=row["author"],
        source=row["source"],
        crop=parse_crop(row["crop"], f"default.csv, {row['name']}"),
    )
