"""rclone: copy, sync, check, move, link, versions and clean-up, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from report import Report
from s3cmd_calls import source, tree


def main():
    """Make the calls."""
    program = str(Path(sys.executable).parent / "rclone")
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    report = Report("rclone", version)
    place, files = report.place, source(report.place.folder / "from")
    config = place.folder / "rclone.conf"
    config.write_text(
        f"[s]\ntype = s3\nprovider = Other\naccess_key_id = {place.access_key}\nsecret_access_key = {place.secret_key}\n"
        f"session_token = {place.token}\nendpoint = {place.endpoint}\nregion = us-east-1\nforce_path_style = true\n"
        "upload_cutoff = 5M\nchunk_size = 5M\ncopy_cutoff = 6M\n"
    )
    base = f"s:{place.bucket}"

    def run(name, *words, keep=str, fails=""):
        return report.program(
            name,
            program,
            "--config",
            str(config),
            "--retries",
            "1",
            "--low-level-retries",
            "1",
            *words,
            keep=keep,
            fails=fails,
        )

    def lines(text):
        return sorted(text.splitlines())

    run("mkdir", "mkdir", base)
    run("copy", "copy", str(files), f"{base}/t")
    run("check", "check", str(files), f"{base}/t")
    run("check by download", "check", "--download", str(files), f"{base}/t")
    run("lsf", "lsf", "-R", "--format", "ps", f"{base}/t", keep=lines)
    run(
        "lsjson",
        "lsjson",
        "-R",
        "--hash",
        f"{base}/t",
        keep=lambda t: sorted([o["Path"], o["Size"], o.get("Hashes")] for o in json.loads(t)),
    )
    run("size", "size", base)
    run("hashsum", "hashsum", "MD5", f"{base}/t", keep=lines)
    run("cat", "cat", f"{base}/t/with space")
    run("cat part", "cat", "--offset", "3", "--count", "4", f"{base}/t/with space")
    (files / "plain").write_text("changed")
    (files / "plus+sign").unlink()
    run("sync", "sync", str(files), f"{base}/t")
    run("check after sync", "check", str(files), f"{base}/t")
    run("copy back", "copy", f"{base}/t", str(place.folder / "back"), keep=lambda _: tree(place.folder / "back"))
    run("copy in the store", "copy", f"{base}/t", f"{base}/u")
    run("check in the store", "check", f"{base}/t", f"{base}/u")
    run("moveto", "moveto", f"{base}/u/plain", f"{base}/u/moved")
    run("copyto metadata", "copyto", "--metadata", "--metadata-set", "a=b", str(files / "plain"), f"{base}/meta")
    run(
        "lsjson metadata",
        "lsjson",
        "--metadata",
        "--stat",
        f"{base}/meta",
        keep=lambda t: {k: v for k, v in json.loads(t)["Metadata"].items() if k in {"a", "content-type"}},
    )
    run("touch", "touch", f"{base}/touched")
    run("settier", "settier", "STANDARD_IA", f"{base}/meta")
    run("link", "link", f"{base}/t/plain", keep=lambda url: urlopen(url.strip()).read().decode())
    run(
        "link for long",
        "link",
        "--expire",
        "8d",
        f"{base}/t/plain",
        keep=lambda url: urlopen(url.strip()).read().decode(),
    )
    report.call(
        "rcat",
        lambda: (
            subprocess.run(
                [program, "--config", str(config), "rcat", f"{base}/piped"], input=b"piped " * 10**6, check=True
            ).returncode
        ),
    )
    run("versioning", "backend", "versioning", base, "Enabled")
    run("list-multipart-uploads", "backend", "list-multipart-uploads", base)
    run("cleanup", "cleanup", base)
    run("deletefile absent", "deletefile", f"{base}/absent", fails="exit 4")
    run("tree", "tree", base)
    run("delete", "delete", f"{base}/u")
    run("rmdir not empty", "rmdir", base, fails="BucketNotEmpty")
    run("cleanup-hidden", "backend", "cleanup-hidden", base)
    run("purge", "purge", f"{base}/t")


if __name__ == "__main__":
    main()
