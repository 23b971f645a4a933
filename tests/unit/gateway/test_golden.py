"""The golden files: what each operation needs, and what a policy service is told of it, reviewed by a human."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import opa
from tests.golden.table import render

GOLDEN = Path(__file__).parents[2] / "golden"


def test_the_action_table_is_the_reviewed_one():
    """Needs, condition keys, and the headers and parameters that cross are those in tests/golden/actions.json."""
    assert render() == (GOLDEN / "actions.json").read_text(), (
        "look at it, then: python tests/golden/table.py > tests/golden/actions.json"
    )


@pytest.mark.parametrize("example", opa.EXAMPLES, ids=lambda example: example.name)
def test_trap_33_what_a_policy_service_is_asked_is_the_reviewed_input(example):
    """Tags, versions, regions and locks of each operation are in MinIO's places; `python tests/golden/opa.py` renews them."""
    assert opa.render(example) == (GOLDEN / "opa_inputs" / f"{example.name}.json").read_text()


def test_the_reviewed_inputs_are_those_of_the_examples():
    """No file is left of an example that is gone, no name is used twice, and there are the sixty asked for."""
    names = [f"{example.name}.json" for example in opa.EXAMPLES]
    assert sorted(names) == sorted(path.name for path in (GOLDEN / "opa_inputs").iterdir())
    assert len(names) >= 60


@pytest.mark.parametrize("example", opa.EXAMPLES, ids=lambda example: example.name)
def test_every_input_has_minios_shape(example):
    """MinIO's members and no others; every condition a list of texts; nothing that is secret."""
    for question in opa.questions(example):
        assert question.keys() == {
            "account",
            "groups",
            "action",
            "bucket",
            "conditions",
            "owner",
            "object",
            "claims",
            "denyOnly",
        }
        facts = question["conditions"]
        assert all(isinstance(v, list) and all(isinstance(one, str) for one in v) for v in facts.values())
        always = {"SourceIp", "UserAgent", "Referer", "SecureTransport", "CurrentTime", "EpochTime", "principaltype", "userid",
                  "username", "versionid", "signatureversion", "authType", "sub", "iss", "preferred_username", "groups"}  # fmt: skip
        assert always <= facts.keys()
        assert ("ExistingObjectTag/color" in facts) == bool(question["object"])
        assert "0000" not in str(facts.get("Authorization"))
        assert "c2VjcmV0" not in str(question)
        assert facts["X-Amz-Security-Token"] == ["***"]
