"""Filters: whatever a caller is called, the filter keeps its shape and asks for exactly that name."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sansldap import FilterAnd, FilterEquality, FilterSubstrings

from sts.ldap_filter import escape, fill, problem_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(NAMES)
@example("*)(uid=*")
@example("%d")
@example("%s%d%")
@example("\\2a")
@example("a\0b")
@example(" ")
@example("*")
def test_trap_43_no_name_changes_a_filter(name):
    """Parentheses, stars, backslashes, NUL and the places' own letters in a name are the name and nothing else."""
    found = fill("(&(objectClass=person)(uid=%s))", {"s": name})
    assert found == FilterAnd([FilterEquality("objectClass", b"person"), FilterEquality("uid", name.encode())])


@given(NAMES, NAMES)
def test_trap_43_values_are_put_in_at_once(name, dn):
    """A name that looks like the place of the DN is not replaced by the DN, nor the other way round."""
    found = fill("(&(memberUid=%s)(member=%d)(cn=a*%s*b))", {"s": name, "d": dn})
    assert found.filters[:2] == [FilterEquality("memberUid", name.encode()), FilterEquality("member", dn.encode())]
    assert found.filters[2] == FilterSubstrings("cn", b"a", [name.encode()], b"b")


def test_what_is_escaped():
    """RFC 4515 section 4's own examples."""
    assert (
        escape("Parens R Us (for all your parenthetical needs)")
        == "Parens R Us \\28for all your parenthetical needs\\29"
    )
    assert escape("C:\\MyFile*\0") == "C:\\5cMyFile\\2a\\00"
    assert escape("Lučić") == "Lučić"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("(uid=%s)", ""), ("uid=%s", ""), ("(|(uid=%s)(mail=%s@example.org))", ""), ("(cn:caseExactMatch:=%s)", ""), ("(uid=*%s*)", ""),
        ("(uid=alice)", "does not name"), ("", "does not name"), ("(uid=%u)", "does not name"), ("(member=%d)", "does not name"),
        ("(uid=%s", "is no LDAP filter"), ("(uid=%s))", "is no LDAP filter"), ("(uid=%s)(cn=x)", "is no LDAP filter"),
        ("%s", "is no LDAP filter"), ("(&)%s", "is no LDAP filter"), ("(=%s)", "is no LDAP filter"),
        ("(%s=alice)", "outside of a value"), ("(a%s>=1)", "outside of a value"), ("(cn:%s:=x)", "outside of a value"),
    ],
)  # fmt: skip
def test_templates_are_judged_beforehand(template, problem):
    """A filter that cannot be read, that finds everybody alike, or that lets a name be an attribute, is a problem at the start."""
    found = problem_of(template, "s")
    assert found.startswith(problem) if problem == "does not name" else problem in found
    assert bool(found) == bool(problem)


def test_a_group_filter_may_name_either():
    """Groups are found by the user's DN or by its name."""
    assert problem_of("(member=%d)", "sd") == problem_of("(memberUid=%s)", "sd") == ""
    assert problem_of("(objectClass=group)", "sd") == "does not name the user by %s or %d"
