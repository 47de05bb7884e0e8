"""Published weights over the network, where there is one.

Owns what is said where there is none. The hub's library tries six times and waits in between, for each name that a file
may have: near a minute until it gives up. So the address is asked first, once; the price is one more request.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar

from shardtools.errors import RunError, first_line

_T = TypeVar("_T")
_PATIENCE_SECONDS = 15.0


def fetched(name: str, url: str | None, fetch: Callable[[], _T]) -> _T:
    """What a library fetches.

    Args:
        name: Of the model, for the message.
        url: Where it is fetched from; `None` where that is not known, or it is on this machine already.
        fetch: Fetches it.

    Raises:
        RunError: It cannot be fetched.
    """
    try:
        if url is not None:
            _ask(url)
        return fetch()
    # What is raised depends on how far it came: a name, a connection, an answer, a file that is damaged.
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(
            f"model {name}: its published weights cannot be fetched ({type(error).__name__}: "
            f"{first_line(error)[:200]}): give --weights FILE with a file of this machine, or run again where there "
            "is a network"
        ) from None


def _ask(url: str) -> None:
    """Raises an `OSError` where nobody answers; any answer will do."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        # An opener of its own: the common one knows the proxies of when it was first used.
        with urllib.request.build_opener().open(request, timeout=_PATIENCE_SECONDS):
            return
    except urllib.error.HTTPError:
        return
    except urllib.error.URLError as error:
        # The library may trust other certificates than Python does.
        if not isinstance(error.reason, ssl.SSLError):
            raise


def hub_url(hub_id: str) -> str | None:
    """Address of a model on the hub; `None` where its weights were fetched before, or nobody is to be asked."""
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return None
    files = ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(huggingface_hub.try_to_load_from_cache(hub_id, file), str) for file in files):
        return None
    return f"{huggingface_hub.constants.ENDPOINT}/{hub_id}/resolve/main/{files[0]}"
