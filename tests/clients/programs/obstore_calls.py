"""obstore (Rust's object_store): its whole interface, with conditional and multipart writes."""

from __future__ import annotations

import importlib.metadata
from datetime import timedelta
from urllib.request import Request, urlopen

import obstore
from fresh import fresh_bucket
from obstore.store import S3Store
from report import Report


def main():
    """Make the calls."""
    report = Report("obstore", importlib.metadata.version("obstore"))
    place, call = report.place, report.call
    fresh_bucket(place)
    store = S3Store(
        place.bucket, endpoint=place.endpoint, access_key_id=place.access_key, secret_access_key=place.secret_key,
        region="us-east-1", virtual_hosted_style_request=False, **({"token": place.token} if place.token else {}),
        client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )  # fmt: skip
    body = bytes(range(256)) * 4 * 11 * 1024

    def meta(found):
        return {n: found.get(n) for n in ("path", "size", "e_tag", "version")}

    call("put", lambda: obstore.put(store, "a b/c+d", b"small"))
    call("put multipart", lambda: obstore.put(store, "big", body, use_multipart=True, chunk_size=5 * 2**20))
    call("put create", lambda: obstore.put(store, "new", b"x", mode="create"))
    call("put create again", lambda: obstore.put(store, "new", b"x", mode="create"), fails="AlreadyExists")
    tag = store.head("new")["e_tag"]
    call("put update", lambda: obstore.put(store, "new", b"y", mode={"e_tag": tag}))
    call("put update stale", lambda: obstore.put(store, "new", b"z", mode={"e_tag": tag}), fails="Precondition")
    call(
        "put attributes",
        lambda: obstore.put(store, "attr", b"x", attributes={"Content-Type": "text/x", "a": "b"}, tags={"t": "v w"}),
    )
    call("attributes", lambda: dict(obstore.get(store, "attr").attributes))
    call("get", lambda: bytes(obstore.get(store, "big").bytes()))
    call("get awkward", lambda: bytes(obstore.get(store, "a b/c+d").bytes()))
    call(
        "get if none match",
        lambda: obstore.get(store, "big", options={"if_none_match": store.head("big")["e_tag"]}),
        fails="NotModified",
    )
    call("get range", lambda: bytes(obstore.get_range(store, "big", start=5, end=9)))
    call(
        "get ranges",
        lambda: [bytes(b) for b in obstore.get_ranges(store, "big", starts=[0, 3_000_000], ends=[4, 3_000_004])],
    )
    call("get suffix", lambda: bytes(obstore.get(store, "big", options={"range": {"suffix": 7}}).bytes()))
    call("get absent", lambda: obstore.get(store, "absent"), fails="NotFound")
    call("head", lambda: meta(obstore.head(store, "big")))
    call("list", lambda: [meta(o) for page in obstore.list(store, chunk_size=2) for o in page])
    call("list prefix", lambda: [o["path"] for page in obstore.list(store, "a b") for o in page])
    call("list with delimiter", lambda: obstore.list_with_delimiter(store)["common_prefixes"])
    call("copy", lambda: obstore.copy(store, "big", "copied"))
    call("copy no overwrite", lambda: obstore.copy(store, "big", "copied", overwrite=False))
    call("rename", lambda: obstore.rename(store, "copied", "renamed"))
    for method, key in (("GET", "a b/c+d"), ("HEAD", "big"), ("PUT", "signed"), ("DELETE", "signed")):
        url = obstore.sign(store, method, key, timedelta(minutes=5))
        call(f"sign {method}", lambda url=url, method=method: fetched(url, method))
    call("open writer", lambda: written(store, body))
    call("open reader", lambda: bytes(obstore.open_reader(store, "written").read(10)))
    call("delete", lambda: obstore.delete(store, "renamed"))
    call("delete many", lambda: obstore.delete(store, ["a b/c+d", "big", "new", "attr", "written"]))
    call("list after", lambda: [o["path"] for page in obstore.list(store) for o in page])


def fetched(url, method):
    """Return what a presigned URL gives."""
    body = b"signed" if method == "PUT" else None
    with urlopen(Request(url, body, {"Content-Type": ""} if body else {}, method=method)) as answer:
        return [answer.status, answer.read()]


def written(store, body):
    """Write through obstore's buffered writer."""
    with obstore.open_writer(store, "written", buffer_size=5 * 2**20) as out:
        out.write(body)


if __name__ == "__main__":
    main()
