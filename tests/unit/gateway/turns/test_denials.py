"""The latest refusals of a process."""

from __future__ import annotations

from gateway.errors import AccessDenied, SignatureDoesNotMatch
from gateway.observe import AccessLine
from gateway.s3.context import RequestContext
from gateway.turns.denials import Denials
from iam.model import AccessRequest, Principal, PrincipalType

SOMEBODY = Principal(PrincipalType.USER, "ann")


def line(request_id: str, path: str = "/b/k") -> AccessLine:
    return AccessLine(request_id, "GET", path, "127.0.0.1")


def asked(headers=None, query=()) -> AccessRequest:
    facts = RequestContext(headers or {}, query, SOMEBODY, "127.0.0.1", secure=False, now=1)
    return AccessRequest(SOMEBODY, "s3:GetObject", "b", "k", facts)


def test_a_refusal_is_found_by_its_request():
    """With its line, its time and its question; what was not refused here is not found."""
    denials = Denials()
    question = asked({"user-agent": "mine"})
    denials.note(line("1"), AccessDenied(reason="no", asked=question), 7.9)
    denials.note(line("2"), SignatureDoesNotMatch(), 8)
    found = denials.find("1")
    assert (found.line.request_id, found.at, found.asked) == ("1", 7, question)
    assert denials.find("2").asked is None
    assert denials.find("3") is None


def test_trap_54_nothing_secret_is_kept():
    """Signatures, tokens and customers' keys are left out; what policies ask about stays."""
    secret = "hunter2-hunter2"
    names = ("authorization", "cookie", "x-amz-security-token", "x-amz-server-side-encryption-customer-key")
    query = (
        ("X-Amz-Signature", secret),
        ("X-Amz-Credential", secret),
        ("X-Amz-Security-Token", secret),
        ("prefix", "a/"),
    )
    denials = Denials()
    denials.note(line("1"), AccessDenied(asked=asked(dict.fromkeys(names, secret) | {"referer": "r"}, query)), 1)
    kept = denials.find("1")
    assert secret not in repr(kept)
    assert kept.asked.context.values("s3:prefix") == ("a/",)
    assert kept.asked.context.values("aws:Referer") == ("r",)


def test_only_so_many_are_kept():
    """The oldest are given up first."""
    denials = Denials(at_most=3)
    for number in range(5):
        denials.note(line(str(number)), AccessDenied(), 1)
    assert [denials.find(str(number)) is not None for number in range(5)] == [False, False, True, True, True]


def test_long_requests_cannot_fill_the_memory():
    """Whoever is refused chooses how long his request is: together they have their bound, too."""
    denials = Denials(size=100_000)
    for number in range(100):
        long = asked({"user-agent": "x" * 10_000}, (("prefix", "y" * 10_000),))
        denials.note(line(str(number), "/" + "z" * 10_000), AccessDenied(asked=long), 1)
    assert 1 <= len(denials) <= 3
    denials.note(line("huge", "/" * 200_000), AccessDenied(), 1)
    assert len(denials) == 0
