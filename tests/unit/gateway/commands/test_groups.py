"""`minio-gw admin group …` against a real gateway."""

from __future__ import annotations


def test_a_group_s_life(admin):
    """Made by its members, shown, disabled, emptied and removed."""
    for name in ("gina", "gus"):
        admin.user(name)
    assert admin("group", "add", "gardeners", "gina", "gus") == {"group": "gardeners", "added": ["gina", "gus"]}
    admin("policy", "attach", "readonly", "--group", "gardeners")
    assert "gardeners" in admin("group", "list")["groups"]
    assert "gardeners" in admin.text("group", "list").splitlines()
    assert admin("group", "disable", "gardeners") == {"group": "gardeners", "status": "disabled"}
    shown = admin("group", "info", "gardeners")
    assert (shown["members"], shown["status"], shown["policies"]) == (["gina", "gus"], "disabled", ["readonly"])
    assert admin("group", "enable", "gardeners")["status"] == "enabled"
    assert "members:  gina, gus\n" in admin.text("group", "info", "gardeners")
    assert admin.refused("group", "remove", "gardeners")["code"] == "XMinioAdminGroupNotEmpty"
    assert admin.text("group", "remove", "gardeners", "gina", "gus") == "removed gina, gus from gardeners\n"
    assert admin("group", "remove", "gardeners") == {"group": "gardeners", "removed": True}
    assert admin.refused("group", "info", "gardeners")["code"] == "XMinioAdminNoSuchGroup"


def test_nobody_who_is_not_there_joins(admin):
    """A member must be a user."""
    assert admin.refused("group", "add", "ghosts", "nobody-at-all")["code"] == "XMinioAdminNoSuchUser"
