"""Documents and questions in few words, for the tests of decisions."""

import json

from iam.evaluate import decide
from iam.model import AccessRequest, Principal, PrincipalType
from iam.policy import parse

ALICE = Principal(PrincipalType.USER, "alice")


class Facts:
    """A context with the given values, keys in lower case."""

    def __init__(self, **facts):
        self._facts = {name.replace("__", ":"): value for name, value in facts.items()}

    def values(self, key):
        value = self._facts.get(key.lower())
        return (value,) if isinstance(value, str) else value

    def document(self):
        return {}


def policy(*statements, **document):
    """Return a parsed policy of the statements."""
    return parse(json.dumps({"Statement": list(statements), **document}))


def allow(action="s3:*", resource="*", **members):
    """Return an Allow statement."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **members}


def deny(action="s3:*", resource="*", **members):
    """Return a Deny statement."""
    return allow(action, resource, **members) | {"Effect": "Deny"}


def ask(*policies, action="s3:GetObject", bucket="b", key="k", **facts):
    """Return the decision on one question."""
    return decide(policies, AccessRequest(ALICE, action, bucket, key, Facts(**facts)))
