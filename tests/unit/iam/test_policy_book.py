"""The policy book: given policies first, the store's as they are now, and what does not parse denies."""

from __future__ import annotations

from iam.authorize import IamPolicies
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import CANNED
from iam.policy_book import PolicyBook
from iam.records import Kind, PolicyDocument
from iam.view import Gone, IamView

READ = '{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}'
VIEW = IamView().apply(
    [PolicyDocument("read-b", READ), PolicyDocument("readonly", READ), PolicyDocument("junk", "{")], 1
)


class Book:
    """A book over a view that the test replaces."""

    def __init__(self):
        self.now = VIEW
        self._book = PolicyBook(CANNED, lambda: self.now)

    def __call__(self):
        return self._book()


def may(book, *names):
    principal = Principal(PrincipalType.USER, "alice", policies=names)
    return bool(IamPolicies(book).decide_now(AccessRequest(principal, "s3:GetObject", "b", "k")))


def test_given_policies_cannot_be_replaced():
    """A stored policy called like a canned one is not looked at."""
    book = Book()()
    assert book["readonly"] is CANNED["readonly"]
    assert list(book) == [*CANNED, "read-b", "junk"]
    assert len(book) == len(CANNED) + 2


def test_stored_policies_decide():
    """A policy of the store allows what it says, by its name."""
    assert may(Book(), "read-b")
    assert not may(Book(), "nobodys")


def test_what_does_not_parse_denies_everything():
    """Who has a policy that cannot be read may nothing, whatever the others say: it may have held a Deny."""
    assert may(Book(), "readwrite")
    assert not may(Book(), "readwrite", "junk")


def test_a_change_is_another_mapping_and_parses_only_what_changed():
    """The mapping is the same object until the store's policies change; what did not change is not parsed again."""
    book = Book()
    first = book()
    parsed = first["read-b"]
    assert book() is first
    book.now = VIEW.apply([PolicyDocument("other", READ)], 2)
    second = book()
    assert second is not first
    assert second["read-b"] is parsed
    book.now = book.now.apply([PolicyDocument("read-b", READ.replace("b/*", "c/*"))], 3)
    assert book()["read-b"] is not parsed
    assert not may(book, "read-b")
    book.now = book.now.apply([Gone(Kind.POLICY, "read-b")], 4)
    assert "read-b" not in book()
