"""mc, MinIO's client: buckets, objects, mirrors, versions, tags, policies, shares, from the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
from urllib.request import urlopen

from report import Report
from s3cmd_calls import source, tree

_GONE = {"time", "lastModified", "versionId", "speed", "duration", "url", "expiration", "expiresOn", "timestamp", "elapsed", "totalCount", "totalSize", "RequestID",
         "HostID", "versionID", "Server"}  # fmt: skip


def lines(text):
    """Return mc's JSON lines without what differs each time."""
    return sorted((kept(json.loads(line)) for line in text.splitlines() if line.startswith("{")), key=json.dumps)


def kept(value):
    """Return a document without times, speeds and addresses."""
    if isinstance(value, dict):
        return {k: kept(v) for k, v in sorted(value.items()) if k not in _GONE}
    return [kept(v) for v in value] if isinstance(value, list) else value


def main():
    """Make the calls."""
    program = os.environ["MATRIX_PROGRAM"]
    version = re.search(
        r"@?(v[\w.-]+|RELEASE[\w.-]+|DEVELOPMENT[\w.-]+)",
        subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout,
    )
    report = Report("mc", os.environ.get("MATRIX_VERSION") or version[1])
    place, files = report.place, source(report.place.folder / "from")
    config = place.folder / "mc"
    config.mkdir()
    alias = {
        "url": place.endpoint,
        "accessKey": place.access_key,
        "secretKey": place.secret_key,
        "api": "S3v4",
        "path": "on",
    }
    if place.token:
        alias["sessionToken"] = place.token
    (config / "config.json").write_text(json.dumps({"version": "10", "aliases": {"s": alias}}))
    base = f"s/{place.bucket}"

    def run(name, *words, keep=lines, fails=""):
        return report.program(
            name, program, "--config-dir", str(config), "--json", "--disable-pager", *words, keep=keep, fails=fails
        )

    run("mb", "mb", base)
    run("mb again", "mb", base, fails="succeeded and you already own it")
    run("cp", "cp", str(files / "with space"), f"{base}/with space")
    run("cp in parts", "cp", str(files / "big"), f"{base}/big")
    run(
        "cp with attributes",
        "cp",
        "--attr",
        "a=b;Content-Type=text/x",
        "--tags",
        "k=v",
        str(files / "plain"),
        f"{base}/plain",
    )
    run("cp recursive", "cp", "--recursive", f"{files}/", f"{base}/tree/")
    run("cat", "cat", f"{base}/plain", keep=str)
    run("head", "head", "-n", "1", f"{base}/plain", keep=str)
    run("stat", "stat", f"{base}/plain")
    run("stat bucket", "stat", base, keep=lambda _: "")
    run("ls", "ls", base)
    run("ls recursive", "ls", "--recursive", base)
    run("find", "find", base, "--name", "pl*")
    run("du", "du", base)
    run("tree", "tree", base, keep=lambda _: "")
    run("mirror", "mirror", str(files), f"{base}/mirror")
    run("diff", "diff", str(files), f"{base}/mirror")
    run(
        "mirror back",
        "mirror",
        f"{base}/mirror",
        str(place.folder / "back"),
        keep=lambda _: tree(place.folder / "back"),
    )
    run("cp in the store", "cp", f"{base}/plain", f"{base}/copied")
    run("cp big in the store", "cp", f"{base}/big", f"{base}/big copy")
    run("mv", "mv", f"{base}/copied", f"{base}/moved")
    run("tag set", "tag", "set", f"{base}/plain", "a=b c")
    run("tag list", "tag", "list", f"{base}/plain")
    run("tag remove", "tag", "remove", f"{base}/plain")
    run(
        "share download",
        "share",
        "download",
        "--expire",
        "5m",
        f"{base}/plain",
        keep=lambda t: urlopen(json.loads(t)["share"]).read().decode(),
    )
    run("share upload", "share", "upload", f"{base}/shared", keep=lambda _: "")
    run("anonymous set", "anonymous", "set", "download", f"{base}/public")
    run("anonymous list", "anonymous", "list", base)
    run("anonymous none", "anonymous", "set", "none", f"{base}/public")
    run("version info", "version", "info", base)
    run("version enable", "version", "enable", base)
    run("cp a version", "cp", str(files / "plain"), f"{base}/v")
    run("cp another version", "cp", str(files / "plain"), f"{base}/v")
    run("ls versions", "ls", "--versions", f"{base}/v")
    run("undo", "undo", f"{base}/v")
    run("ilm add", "ilm", "rule", "add", "--expire-days", "3", "--prefix", "x/", base, keep=lambda _: "")
    run("ilm list", "ilm", "rule", "ls", base, keep=lambda _: "")
    run("ilm remove", "ilm", "rule", "rm", "--all", "--force", base)
    run("encrypt info", "encrypt", "info", base, fails="ServerSideEncryptionConfigurationNotFoundError")
    run("retention info", "retention", "info", "--default", base)
    run("legalhold info", "legalhold", "info", f"{base}/plain")
    run("ls incomplete", "ls", "--incomplete", base)
    pipe = [program, "--config-dir", str(config), "--json", "pipe", f"{base}/piped"]
    report.call(
        "pipe", lambda: subprocess.run(pipe, input=b"piped " * 10**6, capture_output=True, check=True).returncode
    )
    run("sql", "sql", "--query", "select * from S3Object", f"{base}/plain")
    run("cat absent", "cat", f"{base}/absent", fails="does not exist")
    run("rm", "rm", f"{base}/moved")
    run("rb not empty", "rb", base, fails="not empty")
    run("rm recursive", "rm", "--recursive", "--force", "--versions", f"{base}/tree/")
    run("rb force", "rb", "--force", base)


if __name__ == "__main__":
    main()
