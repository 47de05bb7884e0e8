"""A hub of models on this machine: one file under the address that the hub's library asks for."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest


@contextmanager
def hub_with(path: str, content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves a file at `/REPO/resolve/main/FILE` and answers 404 else.

    Args:
        path: "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors".
        content: Of the file.
        cache: Folder that the library keeps files in.
        monkeypatch: Points the library here.

    Yields:
        What was asked for: "HEAD /...".
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(None)

        def do_GET(self) -> None:
            self._answer(content)

        def _answer(self, body: bytes | None) -> None:
            asked.append(f"{self.command} {self.path}")
            found = self.path == path
            self.send_response(200 if found else 404)
            if not found:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            if body is not None and found:
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # as conftest has it
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        # A session of before knows the proxies of then.
        huggingface_hub.close_session()
        try:
            yield asked
        finally:
            huggingface_hub.close_session()
            server.shutdown()
            thread.join()
