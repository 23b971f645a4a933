"""What the tests of LDAP share: calls, a way in to a slapd, and what it refuses."""

from __future__ import annotations

import time

import pytest

from sts.ldap import Ldap
from sts.wire import StsCall, StsError
from tests.servers.slapd import PASSWORD

WRONG = "not the password of anybody"
STEP = 0.05  # seconds: short, where no test measures it


def call(username="alice", password=PASSWORD, source="192.0.2.1") -> StsCall:
    return StsCall("AssumeRoleWithLDAPIdentity", {"LDAPUsername": username, "LDAPPassword": password}, None, source)


def way_in(slapd, *, clock=time.monotonic, step=STEP, deadline=20.0, **changes) -> Ldap:
    return Ldap(slapd.settings(**changes), clock=clock, step=step, deadline=deadline)


async def refused(way, *words, **more) -> StsError:
    with pytest.raises(StsError) as error:
        await way.prove(call(*words, **more))
    return error.value
