"""errors: what others raise, in MinIO's words."""

from __future__ import annotations

import inspect
import json

import pytest

from gateway.admin import errors
from gateway.errors import AccessDenied
from iam import refusals
from iam.seal import CannotOpen
from iam.store import StoreRefused, StoreUnavailable


@pytest.mark.parametrize("refusal", [kind for _, kind in inspect.getmembers(refusals, inspect.isclass)])
def test_every_refusal_has_its_code(refusal):
    """No refusal of a change is a mistake of ours; its text is for the client."""
    shown = errors.as_admin(refusal("the text"))
    assert 400 <= shown.status < 600
    assert shown.text == "the text"


def test_what_is_unknown_is_ours():
    """Any other exception is no client's business."""
    assert errors.as_admin(KeyError("secret")) is None
    document = json.loads(errors.render(None, resource="/x", request_id="R"))
    assert document == {
        "Code": "InternalError",
        "Message": document["Message"],
        "Resource": "/x",
        "RequestId": "R",
        "HostId": "",
    }
    assert "secret" not in document["Message"]


def test_reasons_stay_here():
    """Why something was denied, and what the store said, is for the log."""
    denied = AccessDenied(reason="policy p/statement 0")
    assert b"statement" not in errors.render(errors.as_admin(denied), resource="/x", request_id="R")
    for trouble in (StoreUnavailable("10.0.0.1 refused"), CannotOpen("10.0.0.1: no data key")):
        away = errors.as_admin(trouble)
        assert (away.status, away.code) == (503, "XMinioIAMNotInitialized")
        assert b"10.0.0.1" not in errors.render(away, resource="/x", request_id="R")


def test_what_the_store_never_takes_is_not_to_be_tried_again():
    """A change that is too large is the caller's, for good; what the store said is for the log."""
    shown = errors.as_admin(StoreRefused("10.0.0.1: too many operations"))
    assert (shown.status, shown.code, shown.reason) == (
        400,
        "XMinioAdminInvalidArgument",
        "10.0.0.1: too many operations",
    )
    assert b"10.0.0.1" not in errors.render(shown, resource="/x", request_id="R")


@pytest.mark.parametrize(
    ("cause", "status", "text"),
    [
        (StoreUnavailable("10.0.0.1 refused"), 503, "The store of identities does not answer any more. 64 of 200."),
        (StoreRefused("10.0.0.1: too large"), 400, "The store does not take a change of this size. 64 of 200."),
        (refusals.NoSuchGroup("No group."), 404, "No group. 64 of 200."),
    ],
)
def test_half_a_change_is_told_as_half(cause, status, text):
    """Why a change of many records broke off, and how far it came: not that nothing is known to have been changed."""
    error = refusals.Unfinished("64 of 200.")
    error.__cause__ = cause
    shown = errors.as_admin(error)
    assert (shown.status, shown.text) == (status, text)
