"""seal: a token opens where it was made, and says nothing to who carries it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.seal import Seal
from gateway.errors import InvalidArgument
from iam.model import Secret

SEAL = Seal(Secret("root-secret"))
OTHER = Seal(Secret("another-root"))


@given(st.text(max_size=300), st.text(max_size=20))
def test_a_token_opens_at_every_gateway_of_the_same_root(token, about):
    """What one gateway closed another opens, unchanged, in letters that need no escaping in a query but =."""
    sealed = SEAL.close(token, about)
    assert Seal(Secret("root-secret")).open(sealed, about) == token
    assert not set(sealed) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


@given(st.text(max_size=60))
def test_anything_else_is_an_incorrect_token(text):
    """A token that was made elsewhere, for another bucket, or up is refused as S3 does, and nothing else is raised."""
    for sealed, about in ((text, "b"), (OTHER.close(text, "b"), "b"), (SEAL.close(text, "a"), "b")):
        with pytest.raises(InvalidArgument, match="continuation token"):
            SEAL.open(sealed, about)


def test_a_changed_token_is_refused():
    """Each of its bits is covered."""
    sealed = SEAL.close("team-a/secret-key", "b")
    assert "team" not in sealed
    for i in range(len(sealed.rstrip("=")) - 1):
        changed = sealed[:i] + ("A" if sealed[i] != "A" else "B") + sealed[i + 1 :]
        with pytest.raises(InvalidArgument):
            SEAL.open(changed, "b")
