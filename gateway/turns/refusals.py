"""What went wrong with a body on the wire, as S3 says it."""

from __future__ import annotations

from gateway.errors import EntityTooLarge, IncompleteBody, InternalError, RequestTimeout, S3Error
from gateway.wire.steps import AnswerTooLarge, BodyTooLarge, CutShort, Late


def as_s3(error: BaseException) -> S3Error | None:
    """Return the error that a client is told, None for what is a mistake of ours."""
    match error:
        case S3Error():
            return error
        case BodyTooLarge():
            return EntityTooLarge(f"This body may hold {error.limit} bytes at most.")
        case AnswerTooLarge():
            return InternalError(reason="the backend's answer is too large to edit")
        case Late():
            return RequestTimeout(reason="upload")
        case CutShort():
            return IncompleteBody(reason=f"upload: {error}")
    return None
