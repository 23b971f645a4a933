"""The file of a POST form on its way up: read behind the fields, never held whole, never complete before the form is.

The backend is told the file's length first, which a form does not say: it is what is left of the request behind the
fields, without the closing delimiter. A small form is held and measured, so that it may end in any way that a form can;
in a larger one the file must be the last field, and the end as everybody writes it. When that turns out not to be so,
the upload is cut short and no object exists.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.errors import MalformedPOSTRequest, S3Error
from gateway.s3.multipart import Form, FormReader, closing
from gateway.stories.forward import UpstreamRequest

HELD = 2**20  # bytes of a request that are held to be measured


class FormUpload:
    """One form: `form()`, then `length()`, then `through()`. `read` gives what is there of the body, b"" at its end."""

    def __init__(self, boundary: bytes, size: int, read: Callable[[], Awaitable[bytes]]) -> None:
        self._reader = FormReader(boundary)
        self._tail = len(closing(boundary))
        self._size = size
        self._read = read
        self._held = b""
        self._offset = 0
        self._ended = False
        self._error: S3Error | None = None

    async def form(self) -> Form:
        """Read up to the file."""
        while self._reader.form is None:
            self._held += await self._more()
            if self._ended and self._reader.form is None:
                raise MalformedPOSTRequest(reason="no file in the form")
        self._offset = self._reader.form.offset
        return self._reader.form

    async def length(self) -> int:
        """Return the file's length in bytes: measured in a small form, else what it is if the form ends as it should."""
        if self._size > HELD:
            return self._size - self._offset - self._tail
        pieces = [self._held]
        while not self._ended:
            pieces.append(await self._more())
        self._held = b"".join(pieces)
        return len(self._held)

    def check(self) -> None:
        """Raise what went wrong with the form, if anything did."""
        if self._error is not None:
            raise self._error

    async def through(self, upstream: UpstreamRequest) -> AsyncIterator[bytes]:
        """Yield the file; the last piece only when the form has ended where its length said it would."""
        try:
            async for piece in self._pieces(upstream.length or 0):
                yield piece
        except S3Error as error:
            self._error = error
            raise

    async def _pieces(self, length: int) -> AsyncIterator[bytes]:
        left = length
        while not self._ended:
            piece = await self._more()
            if piece and self._held:
                left -= len(self._held)
                if left <= 0:
                    raise _unlike_its_length()
                yield self._held
            self._held = piece or self._held
        if len(self._held) != left:
            raise _unlike_its_length()
        yield self._held

    async def _more(self) -> bytes:
        """Read once; return what is of the file. Notices the end of the body."""
        data = await self._read()
        if data:
            return self._reader.feed(data)
        self._reader.finish()
        self._ended = True
        return b""


def _unlike_its_length() -> MalformedPOSTRequest:
    return MalformedPOSTRequest(
        "In a form of more than 1 MiB the file must be the last field, and a line end must follow the closing delimiter.",
        reason="the form does not end as its length said",
    )
