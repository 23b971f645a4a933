"""`minio-gw admin user …` against a real gateway."""

from __future__ import annotations

import io

import pytest


def test_a_user_s_life(admin):
    """Added, shown, listed, disabled, enabled and removed; every answer has its document and its words."""
    secret = admin.file("secret", "the-secret-of-una\n")
    assert admin("user", "add", "una", "--new-secret-file", secret) == {"accessKey": "una", "status": "enabled"}
    admin("policy", "attach", "readonly", "--user", "una")
    shown = admin("user", "info", "una")
    assert {**shown, "updatedAt": ""} == {
        "accessKey": "una", "status": "enabled", "policies": ["readonly"], "memberOf": [], "updatedAt": "",
    }  # fmt: skip
    assert admin("user", "disable", "una") == {"accessKey": "una", "status": "disabled"}
    assert [u["status"] for u in admin("user", "list")["users"] if u["accessKey"] == "una"] == ["disabled"]
    lines = admin.text("user", "list").splitlines()
    assert lines[0].split() == ["ACCESS", "KEY", "STATUS", "POLICIES", "GROUPS"]
    assert ["una", "disabled", "readonly", "-"] in [line.split() for line in lines]
    assert admin("user", "enable", "una")["status"] == "enabled"
    assert "policies: readonly" in admin.text("user", "info", "una")
    assert admin.text("user", "remove", "una") == "removed una\n"
    assert admin.refused("user", "info", "una")["code"] == "XMinioAdminNoSuchUser"


def test_the_new_secret_is_the_user_s(admin):
    """What was given, or made, signs the user's own calls; a second add gives another one."""
    made = admin("user", "add", "ursula", "--generate")
    assert len(made["secretKey"]) == 40
    given = admin.file("secret", "another-secret-1\n")
    admin("policy", "attach", "readonly", "--user", "ursula")  # who has no policy may not even see itself, as in MinIO
    admin.become("ursula", made["secretKey"])
    assert admin("user", "info", "ursula")["status"] == "enabled"
    assert admin("user", "add", "ursula", "--new-secret-file", given) == {"accessKey": "ursula", "status": "enabled"}
    assert admin.refused("user", "info", "ursula")["code"] == "SignatureDoesNotMatch"
    admin.become("ursula", "another-secret-1")
    assert admin("user", "info", "ursula")["status"] == "enabled"


def test_a_generated_secret_is_shown_once(admin):
    """People see it when it is made; it is nowhere afterwards."""
    text = admin.text("user", "add", "ulf", "--generate", "--disabled")
    secret = text.split("secret key: ")[1].strip()
    assert len(secret) == 40
    assert secret not in admin.text("user", "info", "ulf") + admin.text("user", "list")
    assert admin("user", "info", "ulf")["status"] == "disabled"


def test_a_secret_from_the_standard_input(admin):
    """`-` reads it; without a terminal and without a file nothing is asked."""
    admin.environ.setattr("sys.stdin", io.StringIO("typed-by-a-script\n"))
    assert admin("user", "add", "uma", "--new-secret-file", "-")["accessKey"] == "uma"
    assert "--generate" in admin.refused("user", "add", "uma", status=2)["message"]


@pytest.mark.parametrize(("ends", "status"), [(EOFError, 2), (KeyboardInterrupt, 130)])
def test_who_types_may_give_up(admin, ends, status):
    """An end of the input, or Ctrl-C, changes nothing and is no crash."""

    def give_up(_: str) -> str:
        raise ends

    admin.environ.setattr("sys.stdin.isatty", lambda: True)
    admin.environ.setattr("getpass.getpass", give_up)
    ended, out, err = admin.run("user", "add", "udo")
    assert (ended, out) == (status, "")
    assert "Traceback" not in err
    assert admin.refused("user", "info", "udo")["status"] == 404


def test_a_terminal_is_asked_twice(admin):
    """Whoever types sees nothing and types it once more; a slip changes nothing."""
    typed = iter(["typed-secret", "typed-secret", "typed-secret", "typed-secrte"])
    admin.environ.setattr("sys.stdin.isatty", lambda: True)
    admin.environ.setattr("getpass.getpass", lambda _: next(typed))
    assert admin("user", "add", "ute")["accessKey"] == "ute"
    assert "differ" in admin.refused("user", "add", "ute", status=2)["message"]


@pytest.mark.parametrize("name", ["a/b", "a=b", "x", "\x1b[2J", "rootaccess"])
def test_what_is_no_user_s_name(admin, name):
    """The gateway refuses it, in words that stay on their line."""
    status, out, err = admin.run("user", "add", name, "--generate")
    assert (status, out) == (1, "")
    assert err.rstrip("\n").isprintable()


def test_a_short_secret_is_refused(admin):
    """The gateway says how long it must be."""
    told = admin.refused("user", "add", "uwe", "--new-secret-file", admin.file("secret", "short"))
    assert told["code"] == "XMinioAdminInvalidSecretKey"
