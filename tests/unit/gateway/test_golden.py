"""The golden files: what each operation needs, and what a policy service is told of it, reviewed by a human."""

from __future__ import annotations

from pathlib import Path

from tests.golden.table import render

GOLDEN = Path(__file__).parents[2] / "golden"


def test_the_action_table_is_the_reviewed_one():
    """Operations, needs and condition keys are those in tests/golden/actions.json; its first lines tell how to renew it."""
    assert render() == (GOLDEN / "actions.json").read_text(), (
        "look at it, then: python tests/golden/table.py > tests/golden/actions.json"
    )
