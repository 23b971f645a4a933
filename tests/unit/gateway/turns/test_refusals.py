"""Each way in which a body goes wrong has its own S3 error; what is none of them is a mistake of ours."""

from __future__ import annotations

import pytest

from gateway.errors import AccessDenied
from gateway.turns.refusals import as_s3
from gateway.wire.steps import AnswerTooLarge, BodyTooLarge, CutShort, Late


@pytest.mark.parametrize(
    ("error", "code"),
    [(BodyTooLarge(7), "EntityTooLarge"), (AnswerTooLarge("a"), "InternalError"), (Late("a"), "RequestTimeout"),
     (CutShort("a"), "IncompleteBody"), (AccessDenied(), "AccessDenied")],
)  # fmt: skip
def test_a_broken_body_is_an_s3_error(error, code):
    """The client is told which limit or silence it was, in S3's words."""
    assert as_s3(error).code == code


def test_a_mistake_is_no_s3_error():
    """It is logged, and told as an internal error."""
    assert as_s3(KeyError("a")) is None
