"""Small requests that are not a plain GET or PUT: what else clients ask all day, at who passes everything on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from bench import contenders
from bench.contenders import Contender, Lab
from bench.goals import CLOSING, LISTING, PART, URL
from bench.load_small import verify, verify_put
from bench.plan import Plan
from bench.section_small import KEYS, KIB, Load, compare
from bench.signing import Shot, Signer

#: What the store answers every listing with (peers/source.conf): a page of ten keys.
PAGE = "listing.xml"


def kinds(lab: Lab, plan: Plan) -> None:
    """Measure listings, GETs by URL, a connection for each GET, and parts of uploads, at the gateway, nginx and Go's proxy."""
    content = plan.content.read_bytes()[:KIB]
    page = listing(10)
    with lab.section():
        (plan.root / PAGE).write_bytes(page)
        store = contenders.source(lab, plan.root)
        everybody = [start(lab, store[0]) for start in (contenders.gateway, contenders.nginx, contenders.reverse_proxy)]
        reads = (
            of(LISTING, lambda signer, number: signer.listing(f"{number}/", len(page)), page),
            of(URL, lambda signer, number: signer.url(KIB, number), content),
            of(CLOSING, lambda signer, number: signer.closing(KIB, number), content),
        )
        for load in reads:
            compare(lab, plan, load, everybody, store)
    with lab.section():
        store = contenders.sink(lab, plan.content)
        everybody = [start(lab, store[0]) for start in (contenders.gateway, contenders.nginx, contenders.reverse_proxy)]
        compare(lab, plan, parts(content), everybody, store)


def of(name: str, shot: Callable[[Signer, int], Shot], content: bytes) -> Load:
    """Return a load of requests that are all answered with this content; each is looked at over a connection of its own."""

    def shots(contender: Contender) -> list[Shot]:
        signer = Signer(contender.credentials, contender.host)
        return [shot(signer, number) for number in range(KEYS)]

    def check(contender: Contender) -> None:
        for one in shots(contender):
            verify(contender.port, [one], content)

    return Load(name, shots, check)


def parts(body: bytes) -> Load:
    """Return the load of parts of an upload, each another part of another key."""

    def shots(contender: Contender, suffix: str = "") -> list[Shot]:
        signer = Signer(contender.credentials, contender.host)
        return [signer.part(body, f"{number}{suffix}", number + 1) for number in range(KEYS)]

    digest = hashlib.sha256(body).hexdigest()
    return Load(PART, shots, lambda contender: verify_put(contender.port, shots(contender, "-digest"), digest))


def listing(keys: int) -> bytes:
    """Return a page of a listing, as stores write it."""
    entries = "".join(
        f"<Contents><Key>1024/{number}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{'0' * 32}&quot;</ETag><Size>1024</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(keys)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bench</Name>'
        f"<Prefix></Prefix><KeyCount>{keys}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    ).encode()
