"""Pictures: names that are none, libraries that are missing, places that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardtools import extras
from shardtools.errors import OptionError, RunError
from shardtools.pictures import check_picture, new_figure, save_figure


def test_the_same_figure_is_the_same_bytes_and_as_large_as_asked(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("one.png", "two.png"):
        figure = new_figure(2, 1.5)
        figure.subplots().plot([0, 1], [1, 0])
        save_figure(figure, tmp_path / name)

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.size == (240, 180)


def test_what_cannot_be_drawn_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"is a \.png, found 'plane\.pdf'"):
        check_picture("plane.pdf", "eval transfer --picture")
    check_picture("plane.PNG", "eval transfer --picture")
    monkeypatch.setattr(extras, "is_installed", lambda _name: False)
    with pytest.raises(RunError, match="eval transfer --picture needs matplotlib"):
        check_picture("plane.png", "eval transfer --picture")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"plane\.png cannot be written .*: give another place"):
        save_figure(new_figure(1, 1), tmp_path / "nowhere" / "plane.png")
