"""docs/policies.md is true where a test can tell: its examples are judged, its keys are those there are."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from iam.condition_keys import FAMILIES, KEYS
from iam.conditions import _TESTS
from iam.evaluate import decide, explain
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import parse

PAGE = (Path(__file__).parents[2] / "docs/policies.md").read_text()
EXAMPLES = re.findall(r"```json policy\n([^`]*)```\n((?:\|[^\n]*\n)+)", PAGE)
ROWS = [(text, *row) for text, table in EXAMPLES for row in re.findall(
    r"^\| `(\w+:\w+)` \| `(.*?)` \| (.*?) ?\| (allowed|denied) \|$", table, re.MULTILINE)]  # fmt: skip


class Facts:
    """A context of the facts in a row: `key=value`, several of one key being a list."""

    def __init__(self, text):
        self._facts = defaultdict(tuple)
        for fact in re.findall("`(.*?)`", text):
            key, _, value = fact.partition("=")
            self._facts[key.lower()] += (value,)

    def values(self, key):
        return self._facts.get(key.lower())

    def document(self):
        return {}


@pytest.mark.parametrize(("text", "action", "resource", "facts", "answer"), ROWS)
def test_the_examples_are_judged_as_the_page_says(text, action, resource, facts, answer):
    """Every row under an example is what the gateway decides."""
    bucket, _, key = resource.partition("/")
    question = AccessRequest(Principal(PrincipalType.USER, "k"), action, bucket, key, Facts(facts))
    assert ("allowed" if decide([parse(text)], question) else "denied") == answer, explain(
        [parse(text)], question
    ).words()


def test_every_example_has_rows_and_every_row_is_read():
    """No example is without its table, and no line of a table is passed over."""
    assert len(EXAMPLES) == PAGE.count("```json policy")
    assert len(ROWS) == sum(table.count("\n") - 2 for _, table in EXAMPLES)
    assert {answer for *_, answer in ROWS} == {"allowed", "denied"}


def test_the_keys_are_those_there_are():
    """The page lists every condition key, and no other."""
    section = PAGE.partition("<!-- keys -->")[2].partition("<!-- end of keys -->")[0]
    cells = " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))
    named = {name.lower() for name in re.findall(r"`([^`]+)`", cells)}
    families = {name for name in named if name.startswith(FAMILIES)}
    assert named - families == KEYS
    assert {next(f for f in FAMILIES if name.startswith(f)) for name in families} == set(FAMILIES)


def test_the_operators_are_those_there_are():
    """The page lists every operator, and no other."""
    section = PAGE.partition("## Condition operators")[2].partition("Every operator but")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", section)) == {*_TESTS, "Null"}
