"""The client matrix's own arithmetic: what counts as kept, and what as a finding."""

from __future__ import annotations

import pytest

from tests.clients.conformance import stale
from tests.clients.intended import INTENDED
from tests.clients.matrix import Call, Side, compare


def side(*calls: Call) -> Side:
    """Return one run of a program that nobody has an excuse for."""
    return Side("a client", "1", calls)


def refused(status: int, code: str, words: str = "", name: str = "x") -> Call:
    """Return a refused call, as botocore tells of it."""
    answer = {"Error": {"Code": code, "Message": words}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return Call(name, False, answer)


def test_a_call_that_fails_through_the_gateway_is_a_finding():
    """A call that passes directly only is not kept, and stands as a finding."""
    found = compare(
        side(Call("x", True, 1), Call("y", True, 2)), side(Call("x", True, 1), refused(403, "AccessDenied", name="y"))
    )
    assert (found.direct, found.through, [d.call for d in found.findings]) == (2, 1, ["y"])


@pytest.mark.parametrize("other", [{"ETag": "b"}, {}, {"ETag": "a", "Extra": 1}])
def test_another_answer_is_a_finding(other):
    """A call that passes at both ends with different answers is not kept."""
    found = compare(side(Call("x", True, {"ETag": "a"})), side(Call("x", True, other)))
    assert (found.direct, found.through, len(found.findings)) == (1, 0, 1)


def test_a_refusal_with_another_code_or_status_is_a_finding():
    """What the store refuses must be refused with the same status and code; the words may be the gateway's."""
    store = refused(501, "NotImplemented", "one sentence")
    assert not compare(side(store), side(refused(501, "NotImplemented", "another"))).differences
    assert compare(side(store), side(refused(405, "NotImplemented"))).findings
    assert compare(side(store), side(refused(501, "AccessDenied"))).findings
    assert compare(side(store), side(Call("x", True, {}))).findings


def test_programs_that_part_are_not_compared():
    """A program that went another way at one end has told nothing that can be compared."""
    with pytest.raises(AssertionError, match="part"):
        compare(side(Call("x", True, 1)), side(Call("y", True, 1)))


def test_an_explanation_that_explains_nothing_is_shown():
    """When a client ran and its intended difference did not show, the explanation is called stale; else it is not."""
    one = INTENDED[0]
    client = one.client.replace(".*", "x")
    result = {"client": client, "differences": [{"why": one.sentence}]}
    assert not any(one.call in line for line in stale([result]))
    assert any(one.call in line for line in stale([result | {"differences": []}]))
    assert not stale([])
