"""What an object store's failure means: try again, or tell the user what to do.

Owns the reading of obstore's exceptions. The price of plain messages: the store's own text is cut down to its status
and code, because it may repeat access keys and signed headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shardtools.errors import AccessError, AlreadyExistsError, NoSpaceError, NotFoundError, StorageError
from shardtools.storage.s3_config import CREDENTIAL_VARIABLES, S3Config

_ACCESS_CODES = {
    "AccessDenied",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_FULL_CODES = {"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull"}
# 409 is what Amazon answers when two conditional puts meet: the next try finds out who won.
_TRANSIENT_STATUSES = {408, 409, 425, 429}
# What obstore's Rust side says about a request it could not even build; no later try can succeed.
_BUILD_FAILURE = "builder error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed request, reduced to what may be shown.

    Attributes:
        kind: Name of obstore's or Python's exception.
        status: HTTP status; `None` if there was no answer.
        code: The store's own word for it, "" if it gave none.
        detail: "403 SignatureDoesNotMatch", "no answer", ...
        is_transient: Whether the same request may succeed a little later.
    """

    kind: str
    status: int | None
    code: str
    detail: str
    is_transient: bool

    @property
    def is_missing(self) -> bool:
        """Whether the object or its bucket is not there."""
        return self.kind == "FileNotFoundError" or self.status == 404

    @property
    def is_taken(self) -> bool:
        """Whether a put-if-absent found something."""
        return self.kind == "AlreadyExistsError"


def read_failure(error: Exception) -> Failure:
    """Return what `error`, raised by obstore, means."""
    text = str(error)
    kind = type(error).__name__
    found_status = re.search(r"status code: (\d{3})", text)
    found_code = re.search(r"<Code>(\w{1,60})</Code>", text) or re.search(r"\(code: (\w{1,60})\)", text)
    status = int(found_status[1]) if found_status else None
    code = found_code[1] if found_code else ""
    is_refused = kind in ("PermissionDeniedError", "UnauthenticatedError") or code in _ACCESS_CODES
    # Only what says nothing against the request itself; a store that is full, or refuses, would do so again.
    is_transient = (
        kind == "GenericError"
        and not is_refused
        and (status is None or status >= 500 or status in _TRANSIENT_STATUSES)
        and status != 507
        and code not in _FULL_CODES
        and _BUILD_FAILURE not in text
    )
    if _BUILD_FAILURE in text:
        detail = "bad request address"
    else:
        detail = " ".join(part for part in (found_status[1] if found_status else "", code) if part) or "no answer"
    return Failure(kind=kind, status=status, code=code, detail=detail, is_transient=is_transient)


def explain_failure(
    failure: Failure, *, action: str, object_url: str, bucket: str, config: S3Config, tried_seconds: float
) -> StorageError:
    """Return the error to raise for a failure that is final, after `tried_seconds` of trying."""
    where = f"cannot {action} {object_url}"
    tried = f"tried for {tried_seconds:.0f} s"
    if failure.code == "NoSuchBucket" or (failure.is_missing and action in ("write", "list", "delete")):
        return NotFoundError(
            f"{where}: there is no bucket {bucket!r} at {config.name}; create it, or check name and AWS_ENDPOINT_URL"
        )
    if failure.is_missing:
        return NotFoundError(f"{where}: there is no such object at {config.name}; check the path")
    if failure.is_taken:
        return AlreadyExistsError(f"{object_url} exists already; another run may have written it")
    if failure.status in (401, 403) or failure.code in _ACCESS_CODES or failure.kind == "PermissionDeniedError":
        return AccessError(
            f"{where}: {config.name} refused the credentials ({failure.detail}); check {CREDENTIAL_VARIABLES} "
            "and what they may do there"
        )
    if failure.status == 507 or failure.code in _FULL_CODES:
        return NoSpaceError(f"{where}: no space left at {config.name} ({failure.detail}); free some, then start again")
    if failure.status in (301, 307, 308) or failure.code == "PermanentRedirect":
        return StorageError(
            f"{where}: the bucket is not in region {config.region} ({failure.detail}); set AWS_REGION to its region"
        )
    if failure.kind == "PreconditionError":
        return StorageError(f"{where}: it changed while it was read; run the command again")
    if failure.status is None:
        return StorageError(
            f"{where}: {config.name} does not answer ({tried}); check that it runs, the network, and AWS_ENDPOINT_URL"
        )
    return StorageError(f"{where}: {config.name} answered {failure.detail} ({tried}); look into the store's own log")
