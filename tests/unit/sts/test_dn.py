"""Distinguished names: one form for every way to write one name, and no form for two names; slapd's own tool is the oracle."""

from __future__ import annotations

import subprocess
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iam.records import is_subject
from sts.dn import MAX_LENGTH, NotADn, normalize, split
from tests.servers.slapd import command, environment

TYPES = st.sampled_from(["cn", "ou", "uid", "dc", "employeeNumber", "1.2.3.4"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda v: v.strip(" "))
NAMES = st.lists(
    st.lists(st.tuples(TYPES, VALUES), min_size=1, max_size=2, unique_by=lambda p: p[0]), min_size=1, max_size=4
)


def hexed(value: str) -> str:
    """Write a value with every byte in hexadecimal."""
    return "".join(f"\\{byte:02X}" for byte in value.encode())


def escaped(value: str) -> str:
    """Write a value as RFC 4514 section 2.4 demands, and no more."""
    text = "".join(f"\\{c}" if c in '\\,+;"<>' else "\\00" if c == "\0" else c for c in value)
    text = f"\\{text}" if text[0] in "# " else text
    return f"{text[:-1]}\\ " if text.endswith(" ") and len(value) > 1 else text


def written(name, value, *, upper=False, spaces="", parts=1) -> str:
    """Write a name."""
    rdns = [[f"{spaces}{t.upper() if upper else t}={spaces}{value(v)}" for t, v in rdn][::parts] for rdn in name]
    return ",".join("+".join(rdn) for rdn in rdns)


@given(NAMES)
def test_every_way_to_write_a_name_has_one_form(name):
    """Escapes, hexadecimal, the case of types and values, spaces and the order of parts do not make another name."""
    form = normalize(written(name, escaped))
    assert normalize(form) == form
    assert normalize(written(name, hexed)) == form
    assert normalize(written(name, escaped, upper=True, spaces=" ", parts=-1)) == form
    assert normalize(written(name, lambda v: escaped(f"  {v.replace(' ', '   ')} "))) == form


@given(NAMES)
def test_a_form_is_a_subject_of_one_line(name):
    """What is made can name a subject: it has a `=`, which no user's name has, and no control character."""
    form = normalize(written(name, escaped))
    assert "=" in form
    assert is_subject(form) or len(form) > 1024


def prepared(value: str) -> str:
    """Prepare a value as RFC 4518 does before it is compared: the coarsest that a directory may be."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())
    return " ".join(text.split())


@given(st.tuples(VALUES, VALUES))
@example(("straße", "strasse"))
@example(("a b", "a  B"))
@example(("ﬁ", "fi"))
def test_no_coarser_than_a_directory(values):
    """Two names fall together only when any directory takes them for one: entries that can stand side by side stay two."""
    if len({normalize(f"cn={hexed(value)}") for value in values}) == 1:
        assert len({prepared(value) for value in values}) == 1


@pytest.mark.parametrize("values", [("straße", "strasse"), ("ﬁ", "fi"), ("a\u200bb", "ab"), ("a b", "ab")])
def test_what_some_directories_tell_apart(values):
    """Letters that only some directories fold, and characters that only some leave out, make two names."""
    assert len({normalize(f"cn={value}") for value in values}) == 2


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_is_refused(text):
    """What cannot be read is NotADn, nothing else; what can has a form that stays."""
    try:
        form = normalize(text)
    except NotADn:
        return
    assert normalize(form) == form


@pytest.mark.parametrize(
    "text",
    ["", " ", "cn", "cn=", "=x", "cn=a,", ",cn=a", "cn=a,,cn=b", "cn=a+", "cn=a\\", "cn=a\\zz", 'cn="a"', "cn=a<b", "cn=#", "cn=#0",
     "cn=#zz", "c n=a", "1.02=a", "cn=\\ff", "cn=\\ ", "cn=a\0b", "cn=" + "a" * MAX_LENGTH],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_what_is_no_name(text):
    """The empty name, half parts, loose backslashes, bytes that are no UTF-8 and empty values are no names."""
    with pytest.raises(NotADn):
        normalize(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("UID=Alice , OU=People;DC=example,dc=ORG", "uid=alice,ou=people,dc=example,dc=org"),
        ("CN=Lister\\2C David,DC=x", "cn=lister\\, david,dc=x"),
        ("2.5.4.3=A,oid.0.9.2342.19200300.100.1.25=x,domainComponent=y", "cn=a,dc=x,dc=y"),
        ("sn=B+cn=A,dc=x", "cn=a+sn=b,dc=x"),
        ("cn=\\23a\\=b\\0a,dc=x", "cn=\\#a\\=b\\0a,dc=x"),
        ("1.2.3.4=#04024869", "1.2.3.4=#04024869"),
        ("cn=Lu\\C4\\8Di\\C4\\87", "cn=lučić"),  # RFC 4514's own example
        ("cn=Straße", "cn=straße"),
    ],
)
def test_forms(text, form):
    """The form itself: it is what operators read and attach policies to."""
    assert normalize(text) == form


def test_separators_that_are_escaped_separate_nothing():
    """A list of names with semicolons is cut where no backslash is."""
    assert split("ou=a\\;b,dc=x;ou=c", ";") == ["ou=a\\;b,dc=x", "ou=c"]


ALIKE = [
    ["uid=Alice,ou=People,dc=example", "UID=alice, OU=people,DC=EXAMPLE", "0.9.2342.19200300.100.1.1=ALICE,ou=people,dc=example"],
    ["cn=Lister\\, David,dc=example", "cn=lister\\2c david,dc=example", "cn=\\4cister\\,  David ,dc=example"],
    ["cn=a+sn=b,dc=example", "SN=B+CN=A,dc=example"],
    ["cn=Jürgen,dc=example", "cn=J\\C3\\BCrgen,dc=example", "cn=JÜRGEN,dc=example", "cn=Ju\N{COMBINING DIAERESIS}rgen,dc=example"],
    ["cn=a\\\\b,dc=example", "cn=A\\5cB,dc=example"],
    ["cn=\\#x,dc=example", "cn=\\23X,dc=example"],
    ["cn=ab,dc=example"], ["cn=a b,dc=example"], ["cn=a,cn=b,dc=example"], ["cn=Jurgen,dc=example"], ["cn=a\\,cn\\=b,dc=example"],
]  # fmt: skip


def test_slapd_agrees(tmp_path):
    """What OpenLDAP's own tool takes for one name is one here, and what it tells apart is apart."""
    tool = command("slapdn")
    if tool is None:
        pytest.skip("no slapdn here; deploy/tools/install-slapd.sh fetches it where apt-get is")
    schema = command("slapd").removesuffix("usr/sbin/slapd") + "etc/ldap/schema/"
    (tmp_path / "conf").write_text(
        "".join(f"include {schema}{n}.schema\n" for n in ("core", "cosine", "inetorgperson"))
    )
    for alike in ALIKE:
        words = [tool, "-f", str(tmp_path / "conf"), "-N", *alike]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=True)
        assert len(set(done.stdout.splitlines())) == 1, done.stdout
        assert len({normalize(text) for text in alike}) == 1
    assert len({normalize(alike[0]) for alike in ALIKE}) == len(ALIKE)
