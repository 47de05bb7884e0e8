"""What the environment says about an object store: endpoint, region, credentials, patience.

Owns which variables count. The price of refusing early: a machine that gets its credentials from the metadata service
of its cloud must say so (AWS_METADATA_ENDPOINT); everybody else would wait for that service in vain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shardtools.errors import AccessError, OptionError, StorageError
from shardtools.storage.base import check_path

if TYPE_CHECKING:
    from obstore.store import S3Store

RETRY_VARIABLE = "SHARDTOOLS_STORAGE_RETRY_SECONDS"
"""Environment variable with the seconds for which a store that does not answer is asked again."""

DEFAULT_RETRY_SECONDS = 60.0

CREDENTIAL_VARIABLES = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN where the key is temporary)"
"""For messages."""

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# Any one of these tells obstore where to get credentials without asking the metadata service on a guess.
_OTHER_CREDENTIALS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
)
# Slow lines are no failure: only a request in which nothing moves for a minute is.
_CONNECT_TIMEOUT = timedelta(seconds=5)
_READ_TIMEOUT = timedelta(seconds=60)
_REQUEST_TIMEOUT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """Where an object store is. Credentials are checked to be there, and stay in the environment.

    Attributes:
        endpoint: "http://..." or "https://..."; `None` for Amazon's own.
        region: Name of the region.
    """

    endpoint: str | None
    region: str

    @property
    def name(self) -> str:
        """The store's name for messages."""
        return self.endpoint or f"Amazon S3 in region {self.region}"


def parse_s3_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix (without slashes around it) of "s3://bucket/prefix".

    Raises:
        StorageError: It has no bucket, or one with characters that no bucket's name has. The message repeats nothing of
            it, as it may hold a password.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket) is None:
        raise StorageError(
            "bad S3 address: expected s3://bucket/prefix with a bucket name of letters, digits, '.', '_' and '-'; "
            "keys and endpoints do not belong in it, set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL"
        )
    prefix = prefix.strip("/")
    return bucket, check_path(prefix) if prefix else ""


def read_config(environment: Mapping[str, str]) -> S3Config:
    """Return what the environment says.

    Raises:
        AccessError: It holds no credentials.
        StorageError: Its endpoint is no http or https address.
    """
    _check_credentials(environment)
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    for variable in _ENDPOINT_VARIABLES:
        if endpoint := environment.get(variable):
            _check_endpoint(variable, endpoint)
            return S3Config(endpoint=endpoint.rstrip("/"), region=region)
    return S3Config(endpoint=None, region=region)


def read_retry_seconds(environment: Mapping[str, str]) -> float:
    """Return for how long a store that does not answer is asked again, in seconds, at least 0.

    Raises:
        OptionError: The variable holds no such number.
    """
    text = environment.get(RETRY_VARIABLE, "")
    if text == "":
        return DEFAULT_RETRY_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise OptionError(f"{RETRY_VARIABLE}: expected a number of seconds of at least 0, found {text!r}")
    return seconds


def make_store(config: S3Config, bucket: str, prefix: str) -> S3Store:
    """Return an obstore store for this process; credentials come from the environment.

    It never tries again by itself: `shardtools.storage.s3` does, and has to know when it did.
    """
    from obstore.store import S3Store

    return S3Store(
        bucket,
        prefix=prefix or None,
        endpoint=config.endpoint,
        region=config.region,
        client_options={
            # Plain http only where the user typed it.
            "allow_http": config.endpoint is not None and config.endpoint.startswith("http://"),
            "connect_timeout": _CONNECT_TIMEOUT,
            "read_timeout": _READ_TIMEOUT,
            "timeout": _REQUEST_TIMEOUT,
        },
        retry_config={"max_retries": 0},
    )


def _check_credentials(environment: Mapping[str, str]) -> None:
    missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environment.get(name)]
    unsigned = environment.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "yes", "on", "y")
    if not missing or unsigned or (len(missing) == 2 and any(environment.get(name) for name in _OTHER_CREDENTIALS)):
        return
    raise AccessError(
        f"no S3 credentials: {' and '.join(missing)} not set in the environment (files in ~/.aws are not read); "
        f"set {CREDENTIAL_VARIABLES}, and AWS_ENDPOINT_URL for another store than Amazon's"
    )


def _check_endpoint(variable: str, endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        has_secrets = "@" in parts.netloc or bool(parts.query)
    except ValueError:
        is_good, has_secrets = False, True
    if has_secrets:
        raise StorageError(f"{variable}: expected http(s)://host:port, without user, password or parameters")
    if not is_good:
        raise StorageError(f"{variable}: expected http(s)://host:port, found {endpoint!r}")
