"""The front door: HTTP, S3's wire, forwarding.

A request's head becomes one immutable description (`request.S3Request`). Three questions are asked of it: who is
it (`authenticate`), which S3 operation on which resources (`operations`, `actions`), may they (`iam.authorize`)?
The answer is a plan (`plans`), which `turn` makes steps of and the data plane (`wire`) carries out.

    head -- request --> S3Request -- authenticate --> Caller -- operations --> Operation -- actions --> [AccessRequest]
                                                                                               | iam.authorize
    backend <-- wire <-- turn -- re-sign <-- forward.UpstreamRequest <-- plans.Forward <-------+
    client  <-- wire <-- turn <-- plans.Reply (errors, refusals)          control: STS, admin, health, metrics

A story that was told is told again with other words in its holes (`habit`, `habits`, `retold`): what is asked about a
request is asked again, what its texts look like is known (docs/decisions/0009).

What was authorized is what is sent: the upstream request is rebuilt from the S3Request that was verified, never
copied from the wire; headers and query parameters cross by allow-list only (`forward`, from botocore's model).

Pure (no I/O, clock or randomness): story, request, operations, actions, context, sigv4, authenticate, chunked,
checksums, forward, errors, xml, config. `app` is the only place where objects are wired together.
"""

from importlib.util import find_spec

__version__ = "0.1.0"


def build() -> str:
    """Return how the request's path runs here: "compiled", or "interpreted" (docs/decisions/0012)."""
    spec = find_spec("gateway.habit")
    return "interpreted" if spec is None or str(spec.origin).endswith(".py") else "compiled"
