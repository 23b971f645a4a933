"""form_upload: the file goes up as it comes, and is never complete before the form has ended as its length said."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import S3Error
from gateway.stories.forward import UpstreamRequest
from gateway.turns.form_upload import HELD, FormUpload
from tests.servers.processes import run
from tests.unit.gateway.forms import BOUNDARY, multipart
from tests.unit.gateway.s3.test_multipart import cut

HEAD = [("key", "k")]
LARGE = bytes(range(256)) * (HELD // 256)


class Sent:
    """What an upload did: the length that was told, the bytes that went, and the refusal it ended in."""

    def __init__(self, body: bytes, pieces: list[bytes], size: int | None = None) -> None:
        self.data, self.code, self.length, self.fields, self.most = b"", "", -1, None, 0
        self._pieces = deque(piece for piece in pieces if piece)
        self._upload = FormUpload(BOUNDARY.encode(), len(body) if size is None else size, self._read)
        run(self._go())

    async def _read(self) -> bytes:
        return self._pieces.popleft() if self._pieces else b""

    async def _go(self) -> None:
        try:
            self.fields = dict((await self._upload.form()).fields)
            self.length = await self._upload.length()
            async for piece in self._upload.through(UpstreamRequest("PUT", "http://x/", {}, self.length)):
                self.data += piece
                self.most = max(self.most, len(piece))
            self._upload.check()
        except S3Error as error:
            self.code = error.code

    @property
    def complete(self) -> bool:
        """Whether the backend has an object now."""
        return len(self.data) >= self.length >= 0


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000)))
def test_a_small_form_is_measured(content, places):
    """However it is cut, the file arrives whole under its true length."""
    body = multipart(HEAD, content)
    sent = Sent(body, cut(body, places))
    assert (sent.fields, sent.length, sent.data, sent.code) == ({"key": "k"}, len(content), content, "")


@pytest.mark.parametrize("end", ["", "\r\n"])
@pytest.mark.parametrize("behind", [None, b"x" * 500])
def test_a_small_form_may_end_as_forms_can(end, behind):
    """Without the last line end, and with ignored fields behind the file, a small form's file has its true length."""
    body = multipart(HEAD, b"content").removesuffix(b"--\r\n")
    if behind:
        body += b'\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + behind + b"\r\n--" + BOUNDARY.encode()
    body += b"--" + end.encode()
    sent = Sent(body, [body])
    assert (sent.length, sent.data, sent.code) == (7, b"content", "")


@pytest.mark.parametrize("size", [1, 1000, 65536, 2**21])
def test_a_large_form_streams(size):
    """The file is sent in the pieces in which it came, under the length that is left of the request."""
    body = multipart(HEAD, LARGE)
    sent = Sent(
        body,
        [body[i : i + size] for i in range(0, len(body), size)]
        if size > 1
        else [body[:-300], *(bytes([b]) for b in body[-300:])],
    )
    assert (sent.length, sent.code) == (len(LARGE), "")
    assert sent.data == LARGE


END = b"\r\n--" + BOUNDARY.encode()


@pytest.mark.parametrize("tail", [
    END + b"--", END, b"", END + b"--\r\nmore", END + b'\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + END + b"--\r\n",
    END + b"x--\r\n", b"\r\n--other--\r\n",
], ids=["no line end", "no end", "nothing", "an epilogue", "a field behind", "another boundary", "another's end"])  # fmt: skip
@pytest.mark.parametrize("piece", [1, 7, 65536])
def test_trap_34_a_large_form_that_ends_otherwise_is_no_object(tail, piece):
    """When a large form does not end with its closing delimiter, the last bytes of the file are never sent."""
    body = multipart(HEAD, LARGE).removesuffix(END + b"--\r\n") + tail
    cut_at = len(body) - 400
    sent = Sent(body, [body[:cut_at], *(body[i : i + piece] for i in range(cut_at, len(body), piece))])
    assert sent.code == "MalformedPOSTRequest"
    assert not sent.complete
    assert LARGE.startswith(sent.data) or tail == b""


@pytest.mark.parametrize("where", [0, 10, 60, 200])
def test_a_form_that_never_reaches_its_file_is_refused(where):
    """A body that ends among the fields is malformed, and nothing was told of a length."""
    body = multipart(HEAD, b"content")
    begin_of_file = body.index(b"content")
    sent = Sent(body, [body[: min(where, begin_of_file - 1)]])
    assert (sent.code, sent.length) == ("MalformedPOSTRequest", -1)


@pytest.mark.parametrize("end", range(1, len(END) + 4))
def test_a_small_form_cut_short_is_no_object(end):
    """A small form that ends before its closing delimiter is refused before a length is told."""
    body = multipart(HEAD, b"content")
    cut_short = body[:-end]
    sent = Sent(cut_short, [cut_short])
    if end == len(b"\r\n"):
        assert (sent.code, sent.data) == ("", b"content")
    else:
        assert (sent.code, sent.length) == ("MalformedPOSTRequest", -1)


def test_the_delimiter_inside_a_large_file_ends_it():
    """A boundary in the middle is the end of the file, which then is too short: no object."""
    half = LARGE[: HELD // 2]
    body = multipart(HEAD, half + END + b"--\r\n" + half)
    sent = Sent(body, [body[i : i + 65536] for i in range(0, len(body), 65536)])
    assert (sent.code, sent.complete) == ("MalformedPOSTRequest", False)


def test_only_one_piece_is_held():
    """Nothing of a large file is kept but the piece that came last."""
    body = multipart(HEAD, LARGE * 4)
    sent = Sent(body, [body[i : i + 65536] for i in range(0, len(body), 65536)])
    assert sent.data == LARGE * 4
    assert sent.most <= 65536 + 200
