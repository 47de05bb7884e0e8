"""Ranges of objects that change while they are asked for, against a store that says what it is told to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shardtools.storage import s3
from shardtools.storage.s3 import S3Storage


class _GrowingStore:
    """Answers a range as past the end once; when the size is asked for, the object has grown."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes, self.calls = num_bytes, list[str]()

    def get(self, path: str, options: dict[str, Any]) -> Any:
        self.calls.append("get")
        if len(self.calls) == 1:
            raise ValueError("past the end")
        start, stop = options["range"]
        meta = {"size": self.num_bytes, "e_tag": "new"}
        return SimpleNamespace(meta=meta, bytes=lambda: bytes(range(start, stop)))

    def head(self, path: str) -> dict[str, Any]:
        self.calls.append("head")
        return {"size": self.num_bytes, "e_tag": "new"}


@pytest.mark.parametrize(
    ("num_bytes", "content", "calls"), [(8, bytes(range(4, 8)), ["get", "head", "get"]), (6, b"", ["get", "head"])]
)
def test_an_object_that_grows_after_a_range_past_its_end_is_read(
    monkeypatch: pytest.MonkeyPatch, num_bytes: int, content: bytes, calls: list[str]
) -> None:
    store = _GrowingStore(num_bytes)
    monkeypatch.setattr(S3Storage, "_opened", lambda self: (store, None))
    monkeypatch.setattr(s3, "read_failure", lambda error: SimpleNamespace(status=s3._RANGE_IS_PAST_END))
    found = S3Storage("s3://bucket/prefix").get_range("a", 4, 4)
    assert (bytes(found.content), found.object_bytes, found.e_tag, store.calls) == (content, num_bytes, "new", calls)
