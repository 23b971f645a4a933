"""multipart: a form is read in one way only, however it is cut; what is not exactly a form is refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import InvalidArgument, MalformedPOSTRequest, MaxPostPreDataLengthExceeded, S3Error
from gateway.s3.multipart import (
    MAX_BEFORE_FILE,
    MAX_FIELDS,
    Content,
    Form,
    FormEnd,
    FormReader,
    MultipartReader,
    Part,
    PartEnd,
    boundary_of,
    closing,
    is_form,
)
from tests.unit.gateway.forms import multipart

B = "xyz"
#: Contents made of what delimiters are made of, and of anything.
CONTENT = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"-", b"--", b"--xy", b"\r\n--xy", b"a", b"\0"])).map(
    b"".join
)
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(lambda name: name != "file")
VALUE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=40)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return data in pieces, cut at these places."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


def events(pieces: list[bytes], boundary: str = B) -> list:
    """Return what a form says, neighbouring contents joined; an error is its last event."""
    reader, found = MultipartReader(boundary.encode()), []
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                if isinstance(event, Content) and found and isinstance(found[-1], Content):
                    found.append(Content(found.pop().data + event.data))
                else:
                    found.append(event)
        reader.finish()
    except S3Error as error:
        found.append(error.code)
    return found


def file_of(pieces: list[bytes]) -> tuple[Form | None, bytes]:
    """Return a form and its file."""
    reader = FormReader(B.encode())
    file = b"".join([reader.feed(piece) for piece in pieces])
    reader.finish()
    return reader.form, file


@given(st.lists(st.tuples(NAME, VALUE), max_size=4), CONTENT, st.lists(st.integers(0, 10_000)))
def test_any_cut_gives_the_same_events(fields, content, places):
    """Whole, in any pieces and byte by byte, a form has the same parts, which are those that were written."""
    body = multipart(fields, content, boundary=B)
    expected = []
    for name, value in [*fields, ("file", content)]:
        data = value.encode() if isinstance(value, str) else value
        expected += [(name, data)]
    whole = events([body])
    assert events(cut(body, places)) == whole == events([bytes([byte]) for byte in body])
    names = [event.name for event in whole if isinstance(event, Part)]
    assert names == [name for name, _ in expected]
    assert whole[-1] == FormEnd()
    found, current = [], b""
    for event in whole:
        current = event.data if isinstance(event, Content) else b"" if isinstance(event, Part) else current
        if isinstance(event, PartEnd):
            found.append(current)
    assert found == [data for _, data in expected]


@given(st.binary(max_size=300) | CONTENT.map(lambda c: b"--xyz\r\n" + c), st.lists(st.integers(0, 10_000)))
@example(b"--xyz--", [])
@example(b"--xyz--\r", [3])
def test_any_bytes_are_read_or_refused_in_one_way(data, places):
    """Whatever comes, every cut of it ends in the same events or the same refusal."""
    assert events(cut(data, places)) == events([data])


@given(CONTENT, st.integers(0, 10_000))
def test_the_offset_is_where_the_file_begins(content, seed):
    """Offset, file and closing delimiter are the whole body: so is the file's length computed before it is read."""
    body = multipart([("key", "k" * (seed % 50))], content, boundary=B)
    form, file = file_of(cut(body, [seed]))
    assert file == content
    assert body[form.offset :] == content + closing(B.encode())


@given(st.data())
def test_a_form_cut_short_is_refused(data):
    """No beginning of a form passes for one, but the one that lacks only the last line end."""
    body = multipart([("key", "k")], b"content", boundary=B)
    end = data.draw(st.integers(0, len(body) - 1))
    if end != len(body) - 2:
        assert events([body[:end]])[-1] == "MalformedPOSTRequest"


@pytest.mark.parametrize("body", [
    b"", b"preamble\r\n--xyz--\r\n", b"\r\n--xyz--\r\n", b"--xyz --\r\n", b"--xyz--\r\nepilogue", b"--xyz--\r\n\r\n", b"--xyz--x",
    b"--xyz\n", b"--xyzz\r\n", b"--xyz\r\n\r\nno headers\r\n--xyz--\r\n",
    b'--xyz\r\nContent-Disposition: form-data; name="a"\n\nbare line feeds\n--xyz--\n',
    b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--xyzz\r\n--xyz--\r\n',
])  # fmt: skip
def test_strange_framing_is_refused(body):
    """Preambles, padding, bare line feeds, longer boundaries and anything behind the end are refused."""
    assert events([body])[-1] == "MalformedPOSTRequest"


@pytest.mark.parametrize("headers", [
    "Content-Type: text/plain", 'Content-Disposition: attachment; name="a"', "Content-Disposition: form-data",
    'Content-Disposition: form-data; name="a"; name="b"', "Content-Disposition: form-data; name*=utf-8''a",
    "Content-Disposition: form-data; name=\"a\"; filename*=utf-8''x", 'Content-Disposition: form-data; name="a',
    'Content-Disposition: form-data; name="a" x', 'Content-Disposition: form-data;; name="a"', 'Content-Disposition : form-data; name="a"',
    'Content-Disposition: form-data; name="a"\r\n folded: x', 'Content-Disposition: form-data; name="a"\r\ncontent-disposition: form-data; name="b"',
    'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64', 'Content-Disposition: form-data; name="a\0"',
    'Content-Disposition: form-data; name="a\rb"', 'Content-Disposition: form-data; name="a"\r\nX: a\nb', "X" * 9000,
])  # fmt: skip
def test_strange_headers_are_refused(headers):
    """A part has one plain name, and its headers are lines; nothing is guessed."""
    body = b"--xyz\r\n" + headers.encode() + b"\r\n\r\nx\r\n--xyz--\r\n"
    assert events([body])[-1] == "MalformedPOSTRequest"


def test_nothing_is_kept_behind_the_end():
    """What follows the closing delimiter is refused as it comes, not collected until the body ends."""
    reader = MultipartReader(B.encode())
    reader.feed(b"--xyz--\r\n")
    with pytest.raises(MalformedPOSTRequest):
        reader.feed(b"x")


def test_headers_that_are_not_utf8_are_refused():
    """A name in another encoding is not guessed at."""
    body = b'--xyz\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--xyz--\r\n'
    assert events([body]) == ["MalformedPOSTRequest"]


@pytest.mark.parametrize(("written", "name"), [
    ("a", "a"), ('"a b"', "a b"), ('"a\\"b"', 'a"b'), ('"a\\\\b"', "a\\b"), ('"C:\\dir\\f.txt"', "C:\\dir\\f.txt"), ('"ключ"', "ключ"),
    ('"a;b=c"', "a;b=c"), ('""', ""), ('"%22"', "%22"),
])  # fmt: skip
def test_names_are_read_as_browsers_write_them(written, name):
    """Tokens and quoted texts; a backslash escapes only a quote and itself, so that Windows paths survive."""
    body = f"--xyz\r\ncontent-disposition: Form-Data; name={written}; filename={written} \r\nX: y\r\n\r\n\r\n--xyz--".encode()
    part = events([body])[0]
    assert (part.name, part.filename) == (name, name)


@pytest.mark.parametrize(("filename", "base"), [
    ("f", "f"), ("a/b", "b"), ("C:\\\\dir\\\\f", "f"), ("a/b\\\\c/", ""), ("", ""), ("..", ".."),
])  # fmt: skip
def test_only_the_last_part_of_a_path_is_the_files_name(filename, base):
    """Directories that a client sends along are no part of `${filename}`."""
    form, _ = file_of([multipart([], b"", filename=filename, boundary=B)])
    assert form.filename == base


def test_fields_are_bounded_in_number_and_size():
    """A hundred fields and 20 KiB before the file pass, one more of either does not."""
    fields = [(f"f{i}", "") for i in range(MAX_FIELDS)]
    assert len(file_of([multipart(fields, b"x", boundary=B)])[0].fields) == MAX_FIELDS
    with pytest.raises(InvalidArgument):
        file_of([multipart([*fields, ("one", "more")], b"x", boundary=B)])
    overhead = file_of([multipart([("a", "")], b"", boundary=B)])[0].offset
    fits = multipart([("a", "x" * (MAX_BEFORE_FILE - overhead))], b"x", boundary=B)
    assert file_of([fits])[0].offset == MAX_BEFORE_FILE
    for pieces in ([fits.replace(b"xx", b"xxx", 1)], [bytes([byte]) for byte in fits.replace(b"xx", b"xxx", 1)]):
        with pytest.raises(MaxPostPreDataLengthExceeded):
            file_of(pieces)


def test_an_endless_field_is_not_kept():
    """A field without an end is refused after 20 KiB, not collected."""
    reader = FormReader(B.encode())
    reader.feed(b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n')
    for _ in range(19):
        reader.feed(b"x" * 1024)
    with pytest.raises(MaxPostPreDataLengthExceeded):
        reader.feed(b"x" * 1024)


@pytest.mark.parametrize("fields", [[("a", "1"), ("A", "2")], [("key", "a"), ("key", "a")]])
def test_a_field_given_twice_is_refused(fields):
    """Names have no case, and nobody has to guess which of two values was meant."""
    with pytest.raises(InvalidArgument):
        file_of([multipart(fields, b"x", boundary=B)])


def test_exactly_one_file():
    """No file, or a second one behind the first, is refused; other fields behind it are ignored, as S3 does it."""
    one = multipart([("key", "k")], b"x", boundary=B)
    behind = b'\r\nContent-Disposition: form-data; name="submit"\r\n\r\nUpload\r\n--xyz--\r\n'
    form, file = file_of([one.removesuffix(b"--\r\n") + behind])
    assert (dict(form.fields), file) == ({"key": "k"}, b"x")
    for body in (
        multipart([("key", "k")], None, boundary=B),
        one.removesuffix(b"--\r\n") + behind.replace(b"submit", b"File"),
    ):
        with pytest.raises(InvalidArgument):
            file_of([body])


def test_values_are_utf8():
    """A field that is not UTF-8 is refused."""
    with pytest.raises(InvalidArgument):
        file_of([multipart([("a", "x")], b"", boundary=B).replace(b"\r\n\r\nx", b"\r\n\r\n\xff", 1)])


@pytest.mark.parametrize(("value", "boundary"), [
    ("multipart/form-data; boundary=abc", "abc"), ('Multipart/Form-Data;boundary="a b"', "a b"), ("multipart/form-data; charset=utf-8; boundary=a", "a"),
    ("multipart/form-data", None), ("multipart/form-data; boundary=", None), ('multipart/form-data; boundary="a "', None),
    ("multipart/form-data; boundary=a; boundary=b", None), ("multipart/form-data; boundary=" + "a" * 71, None), ('multipart/form-data; boundary="ä"', None),
    ('multipart/form-data; boundary="a\\"b"', None), ("multipart/form-data; boundary=a b", None),
])  # fmt: skip
def test_boundary(value, boundary):
    """A boundary has 1 to 70 of RFC 2046's characters and is named once."""
    assert is_form(value)
    if boundary is not None:
        assert boundary_of(value) == boundary.encode()
        return
    with pytest.raises(MalformedPOSTRequest):
        boundary_of(value)


@pytest.mark.parametrize(
    "value", ["", "application/x-www-form-urlencoded", "multipart/mixed; boundary=a", "multipart/form-data2"]
)
def test_other_media_types_are_no_forms(value):
    """Only multipart/form-data is one."""
    assert not is_form(value)
