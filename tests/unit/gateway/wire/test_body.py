"""A request's body is kept until it is wanted, ends where it was announced to, and gives back what follows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.body import Body
from gateway.wire.heads import RequestReader


def body(length: int | None) -> Body:
    """Return a body of this length, None for chunks."""
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return Body(RequestReader().read(b"PUT / HTTP/1.1\r\n%b\r\n\r\n" % framing))


@given(
    st.binary(max_size=60),
    st.booleans(),
    st.binary(max_size=20),
    st.lists(st.integers(0, 100), max_size=5),
    st.integers(0, 6),
)
def test_pieces_end_and_rest_do_not_depend_on_arrival(payload, chunked, behind, cuts, wanted):
    """Whenever the body is wanted and however it comes: the same bytes, one end, and what follows is given back."""
    wire = (b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b"") + b"0\r\n\r\n" if chunked else payload
    data = wire + behind
    one = body(None if chunked else len(payload))
    taken: list[bytes] = []
    ends: list[bool] = []
    rest, at = b"", 0
    for index, cut in enumerate([*sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        if index == wanted:
            one.take, one.end = taken.append, lambda: ends.append(one.done)
            rest = one.feed(b"") + rest
        rest += data[at:cut] if one.done else one.feed(data[at:cut])
        at = cut
    if one.take is None:
        one.take, one.end = taken.append, lambda: ends.append(one.done)
        rest = one.feed(b"") + rest
    assert (b"".join(taken), rest, ends) == (payload, behind, [True])


def test_what_nobody_wants_waits_and_can_be_thrown_away():
    """A body waits until it is wanted; discarded, it still ends where it ends."""
    one = body(5)
    one.feed(b"ab")
    assert one.waits
    assert not one.wanted
    one.discard()
    assert not one.waits
    assert not one.wanted
    assert one.feed(b"cdeGET") == b"GET"
    assert one.done


def test_garbage_in_what_is_thrown_away_disturbs_nobody():
    """Chunks that are none have no end: of a body that nobody wants all is thrown away from there on, a request behind it too."""
    one = body(None)
    one.discard()
    assert one.feed(b"3\r\nabc\r\nzz\r\n") == b""
    assert one.feed(b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n") == b""
    assert not one.done


def test_early_bytes_are_given_away_once():
    """Who takes the connection over gets what came early, once."""
    one = body(5)
    one.feed(b"ab")
    assert (one.early(), one.early()) == (b"ab", b"")


def test_what_somebody_else_moved_counts():
    """Bytes moved outside count towards the length."""
    one, taken = body(5), []
    one.take = taken.append
    one.moved(3)
    assert one.left == 2
    assert one.feed(b"deX") == b"X"
    assert taken == [b"de"]
