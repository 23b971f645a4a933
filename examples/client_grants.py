"""The client-grants example: client id and secret -> IdP token -> temporary credentials. Standard library only.

    python examples/client_grants.py -sts-ep http://localhost:9000 -idp-ep http://localhost:8080/token -cid ID -csec SECRET

The wire form and the output are those of the program that MinIO's users know since 2018.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

STS = "{https://sts.amazonaws.com/doc/2011-06-15/}"


def get_token(idp_endpoint: str, client_id: str, client_secret: str) -> dict[str, Any]:
    """Return the IdP's answer to client_credentials: access_token, expires_in."""
    basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
    request = Request(
        idp_endpoint, urlencode({"grant_type": "client_credentials"}).encode(), {"Authorization": f"Basic {basic}"}
    )
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)  # type: ignore[no-any-return]


def assume_role_with_client_grants(sts_endpoint: str, token: str, seconds: int) -> dict[str, str]:
    """Return temporary credentials: accessKey, secretKey, expiration, sessionToken."""
    query = urlencode({"Action": "AssumeRoleWithClientGrants", "DurationSeconds": seconds, "Token": token})
    with urlopen(Request(f"{sts_endpoint.rstrip('/')}/?{query}", method="POST"), timeout=30) as answer:
        found = ET.fromstring(answer.read()).find(f".//{STS}Credentials")  # noqa: S314 - our own gateway's answer
    if found is None:
        raise ValueError("no credentials in the answer")
    names = {
        "accessKey": "AccessKeyId",
        "secretKey": "SecretAccessKey",
        "expiration": "Expiration",
        "sessionToken": "SessionToken",
    }
    return {ours: found.findtext(STS + theirs, "") for ours, theirs in names.items()}


def show(credentials: dict[str, str]) -> None:
    """Print the credentials as the 2018 program did."""
    print("##### Credentials")
    print(json.dumps(credentials, indent="\t"))


def main() -> int:
    """Run the example; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-sts-ep", default="http://localhost:9000")
    parser.add_argument("-idp-ep", default="https://localhost:9443/oauth2/token")
    parser.add_argument("-cid", default="")
    parser.add_argument("-csec", default="")
    parser.add_argument("-bucket", default="my-bucketname", help='where "Hello, World" goes; "" leaves that out')
    options = parser.parse_args()
    if not options.cid or not options.csec:
        parser.print_help()
        return 0
    try:
        token = get_token(options.idp_ep, options.cid, options.csec)
        credentials = assume_role_with_client_grants(options.sts_ep, token["access_token"], int(token["expires_in"]))
    except HTTPError as error:
        print(f"{error.code} {error.reason}", file=sys.stderr)
        return 1
    except (URLError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        return 1
    show(credentials)
    return _hello(options.sts_ep, options.bucket, credentials) if options.bucket else 0


def _hello(endpoint: str, bucket: str, credentials: dict[str, str]) -> int:
    """Put "Hello, World" to my-objectname in a bucket, where boto3 is installed."""
    try:
        import boto3  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    except ImportError:
        return 0
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=credentials["accessKey"],
        aws_secret_access_key=credentials["secretKey"], aws_session_token=credentials["sessionToken"],
    )  # fmt: skip
    text = b"Hello, World"
    try:
        s3.put_object(Bucket=bucket, Key="my-objectname", Body=text)
    except (BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Uploaded my-objectname of size {len(text)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
