"""model: a secret shows itself nowhere, and a decision is its own truth."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iam.model import AccessRequest, Allow, Credentials, Deny, Principal, PrincipalType, Secret


@given(st.text(min_size=8))
def test_trap_54_a_secret_is_shown_nowhere(text):
    """No repr, str, format or traceback of what holds a secret holds its text."""
    holder = Credentials("AKEY", Secret(text), Secret(text))
    marked = Secret("M4RK" + text)
    said = f"{marked} {marked!r} {Credentials('A', marked)}" + "%s" % (marked,)  # noqa: UP031
    assert "M4RK" not in said
    assert holder.secret.reveal() == text
    try:
        raise ValueError(marked)
    except ValueError:
        assert "M4RK" not in traceback.format_exc()


@given(st.text(), st.text())
def test_trap_15_secrets_compare_as_texts_do(one, other):
    """Equality is that of the texts, computed in constant time, and a secret equals no plain text."""
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) != one
    assert bool(Secret(one)) == bool(one)


@pytest.mark.parametrize(("bucket", "key", "arn"), [("b", "", "arn:aws:s3:::b"), ("b", "a/../c", "arn:aws:s3:::b/a/../c"), ("", "", "arn:aws:s3:::")])  # fmt: skip
def test_a_resource_is_written_as_it_is(bucket, key, arn):
    """The ARN that policies are matched against holds the key byte for byte: nothing is cleaned."""
    assert AccessRequest(Principal(PrincipalType.ANONYMOUS), "s3:GetObject", bucket, key).resource == arn


def test_a_decision_is_true_or_false():
    """An Allow is true and a Deny is false, whatever their reasons say."""
    assert Allow("no")
    assert not Deny("yes")
