"""A peer: object-storage-proxy verifies SigV4, asks a validator, and signs anew.

Arguments: its port, the store's port, a client's key and secret. These and the store's are given statically, so that no
call into Python but the validator's (which it caches) is left.
"""

import sys

from object_storage_proxy import ProxyServerConfig, start_server

port, backend, access_key, secret_key = sys.argv[1:]
bucket = {"host": "127.0.0.1", "port": int(backend), "region": "us-east-1", "access_key": "BACKENDKEY",
          "secret_key": "backend-secret", "ttl": 3600, "addressing_style": "path", "is_tls_enabled": False}  # fmt: skip
start_server(ProxyServerConfig(
    cos_map={"bench": bucket}, hmac_keystore=[{"access_key": access_key, "secret_key": secret_key}],
    validator=lambda *_: True, http_port=int(port), threads=1, verify=False,
))  # fmt: skip
