"""The front door: HTTP, S3's wire, forwarding.

A request's head becomes one immutable description (`s3.request.S3Request`). Three questions are asked of it: who is
it (`s3.authenticate`), which S3 operation on which resources (`s3.operations`, `s3.actions`), may they (`iam.authorize`)?
The answer is a plan (`stories.plans`), which `turns` makes steps of and the data plane (`wire`) carries out.

    head -- s3 --> S3Request -- s3.authenticate --> Caller -- s3.operations --> Operation -- s3.actions --> [AccessRequest]
                                                                                               | iam.authorize
    backend <-- wire <-- turns -- re-sign <-- forward.UpstreamRequest <-- stories.plans.Forward <-------+
    client  <-- wire <-- turns <-- stories.plans.Reply (errors, refusals)       control: STS, admin, health, metrics

A story that was told is told again with other words in its holes (`turns.habit`): what is asked about a request is asked
again, what its texts look like is known (docs/decisions/0009).

What was authorized is what is sent: the upstream request is rebuilt from the S3Request that was verified, never
copied from the wire; headers and query parameters cross by allow-list only (`stories.forward`, from botocore's model).

The rooms, from the street inwards; each may use what is below it, and import-linter holds that (docs/decisions/0014):

    cli                     argv -> Config -> run             commands    `minio-gw admin`, a client
    processes               one or several, start to end      app         where objects are wired together, and nowhere else
    control, admin, handed, guests                            STS, administration, health, metrics: what is not S3, on aiohttp
    turns                   the application's side of the data plane
    settings *              what operators say                backends    where S3 is
    stories *               who, what, may they: a plan       wire        the data plane: knows nothing of S3
    s3 *, signing *         S3 as a language; what proves a request and its bytes
    errors, observe, peer, printable                          what everybody uses

`*`: pure, no I/O, clock or randomness.
"""

from importlib.util import find_spec

__version__ = "0.1.0"


def build() -> str:
    """Return how the request's path runs here: "compiled", or "interpreted" (docs/decisions/0012)."""
    spec = find_spec("gateway.turns.habit")
    return "interpreted" if spec is None or str(spec.origin).endswith(".py") else "compiled"
