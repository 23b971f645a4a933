"""subjects: who can have policies."""

from __future__ import annotations

import pytest

from gateway.admin import subjects
from gateway.admin.errors import XMinioAdminInvalidArgument, XMinioAdminNoSuchGroup, XMinioAdminNoSuchUser


async def test_names_are_told_apart(gateway):
    """Users and groups that are there, providers' names, distinguished names in their one form; nothing else."""
    await gateway.user("bob")
    await gateway.iam.changes.add_members("devs", ["bob"])
    office = gateway.office
    assert subjects.either(office, "bob", group=False) == "bob"
    assert subjects.either(office, "devs", group=True) == "devs"
    assert subjects.either(office, "openid:corp:a=b", group=False) == "openid:corp:a=b"
    assert subjects.either(office, "CN=Staff, DC=x", group=True) == "cn=staff,dc=x"
    with pytest.raises(XMinioAdminNoSuchUser):
        subjects.builtin(office, "devs", group=False)
    with pytest.raises(XMinioAdminNoSuchGroup):
        subjects.builtin(office, "bob", group=True)
    for text in ("a=b,,c", "=", "bob", "openid:corp:x", "cn=\x00"):
        with pytest.raises(XMinioAdminInvalidArgument):
            subjects.directory(text)
