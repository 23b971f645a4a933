"""s3cmd: buckets, files, synchronization, copies, policies, tags and signed URLs, from the command line."""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from pathlib import Path
from urllib.request import urlopen

from report import Report


def tree(folder: Path) -> dict[str, str]:
    """Return the files under a folder with their hashes."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in files}


def source(folder: Path) -> Path:
    """Make a folder with files of awkward names, one of them big."""
    (folder / "sub").mkdir(parents=True)
    (folder / "big").write_bytes(bytes(range(256)) * 4 * 17 * 1024)
    for name in ("plain", "with space", "plus+sign", "ümläut", "sub/percent%20", "sub/amp&ersand"):
        (folder / name).write_text(name)
    return folder


def names(text: str) -> list[str]:
    """Return the last column of a listing."""
    return sorted(line.split(maxsplit=3)[-1] for line in text.splitlines() if line.strip())


def main():
    """Make the calls."""
    program = str(Path(sys.executable).parent / "s3cmd")
    report = Report("s3cmd", importlib.metadata.version("s3cmd"))
    place, base = report.place, f"s3://{report.place.bucket}"
    files, back = source(place.folder / "from"), place.folder / "back"
    config = place.folder / "s3cfg"
    config.write_text("[default]\n")
    options = [
        "-c", str(config), f"--access_key={place.access_key}", f"--secret_key={place.secret_key}", f"--host={place.host}",
        f"--host-bucket={place.host}", "--no-ssl", "--region=us-east-1", "--no-progress", "--multipart-chunk-size-mb=5",
    ] + ([f"--access_token={place.token}"] if place.token else [])  # fmt: skip

    def run(name, *words, keep=str, fails=""):
        return report.program(name, sys.executable, program, *options, *words, keep=keep, fails=fails)

    run("mb", "mb", base)
    run("put", "put", str(files / "with space"), f"{base}/with space", keep=lambda _: "")
    run("put in parts", "put", str(files / "big"), f"{base}/big", keep=lambda _: "")
    run(
        "put with headers",
        "put",
        "--add-header=x-amz-meta-a:b",
        "--mime-type=text/x",
        str(files / "plain"),
        f"{base}/plain",
        keep=lambda _: "",
    )
    run("info", "info", f"{base}/plain", keep=lambda text: [line for line in text.splitlines() if "attrs" not in line])
    run("ls", "ls", base, keep=names)
    run("ls recursive", "ls", "--recursive", base, keep=names)
    run("la", "la", keep=lambda text: [n for n in names(text) if place.bucket in n])
    run(
        "get",
        "get",
        f"{base}/big",
        str(place.folder / "big"),
        keep=lambda _: hashlib.sha256((place.folder / "big").read_bytes()).hexdigest(),
    )
    run("get to standard output", "get", f"{base}/with space", "-")
    run("sync up", "sync", f"{files}/", f"{base}/tree/", keep=lambda _: "")
    run("sync up again", "sync", f"{files}/", f"{base}/tree/", keep=lambda _: "")
    back.mkdir()
    run("sync down", "sync", f"{base}/tree/", f"{back}/", keep=lambda _: tree(back))
    run("cp", "cp", f"{base}/plain", f"{base}/copied")
    run("cp in parts", "cp", f"{base}/big", f"{base}/big copy", keep=lambda _: "")
    run("mv", "mv", f"{base}/copied", f"{base}/moved")
    run("modify", "modify", "--add-header=x-amz-meta-c:d", f"{base}/moved")
    run("setacl", "setacl", "--acl-private", f"{base}/moved")
    run("du", "du", base)
    run("settagging", "settagging", f"{base}/plain", "a=1&b=2")
    run("gettagging", "gettagging", f"{base}/plain")
    run("deltagging", "deltagging", f"{base}/plain")
    run("signurl", "signurl", f"{base}/plain", "+600", keep=lambda url: urlopen(url.strip()).read().decode())
    policy = place.folder / "policy"
    policy.write_text(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
        f'"Resource":"arn:aws:s3:::{place.bucket}/public/*"}}]}}'
    )
    run("setpolicy", "setpolicy", str(policy), base)
    run("info bucket", "info", base)
    run("delpolicy", "delpolicy", base)
    lifecycle = place.folder / "lifecycle"
    lifecycle.write_text(
        "<LifecycleConfiguration><Rule><ID>a</ID><Prefix>x/</Prefix><Status>Enabled</Status>"
        "<Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>"
    )
    run("setlifecycle", "setlifecycle", str(lifecycle), base)
    run("getlifecycle", "getlifecycle", base)
    run("dellifecycle", "dellifecycle", base)
    run("expire", "expire", "--expiry-days=3", base)
    run("setversioning", "setversioning", base, "enable")
    run("multipart", "multipart", base)
    run("get absent", "get", f"{base}/absent", str(place.folder / "absent"), fails="does not exist")
    run("del", "del", f"{base}/moved")
    run("rb not empty", "rb", base, fails="BucketNotEmpty")
    run("del recursive", "del", "--recursive", "--force", f"{base}/", keep=lambda text: len(text.splitlines()))


if __name__ == "__main__":
    main()
