"""All named policies of this moment: the given ones (canned, files) and the store's, which are parsed when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from iam.policy import Policy, PolicyError, Statement, parse
from iam.records import PolicyDocument
from iam.view import IamView

_EVERYTHING = Statement(allow=False, actions=("*",), resources=("*",))


class PolicyBook:
    """Returns the policies by name; another mapping when the store's have changed."""

    def __init__(self, given: Mapping[str, Policy], view: Callable[[], IamView]) -> None:
        self._given, self._view = given, view
        self._pages = _Pages(given, {}, {})

    def __call__(self) -> Mapping[str, Policy]:
        """Return the policies as they are now; what was parsed and has not changed is parsed no second time."""
        documents = self._view().policies
        if documents is not self._pages.documents:
            old = self._pages
            kept = {name: policy for name, policy in old.parsed.items() if documents.get(name) is old.documents[name]}
            self._pages = _Pages(self._given, documents, kept)
        return self._pages


class _Pages(Mapping[str, Policy]):
    """The given policies, which nobody can replace, and those of the documents."""

    def __init__(
        self, given: Mapping[str, Policy], documents: Mapping[str, PolicyDocument], parsed: dict[str, Policy]
    ) -> None:
        self.given, self.documents, self.parsed = given, documents, parsed

    def __getitem__(self, name: str) -> Policy:
        found = self.given.get(name) or self.parsed.get(name)
        if found is None:
            found = self.parsed[name] = _read(self.documents[name])
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.given or name in self.documents

    def __iter__(self) -> Iterator[str]:
        yield from self.given
        yield from (name for name in self.documents if name not in self.given)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read(document: PolicyDocument) -> Policy:
    """Return the policy of a document; one that does not parse denies everything to whoever it is attached to."""
    try:
        return replace(parse(document.text), id=document.name)
    except PolicyError:
        return Policy((_EVERYTHING,), document.name)
