"""Administration over HTTP: MinIO's /minio/admin/v3 for what MinIO has, /minio-gw/admin/v1 for what it had not.

    request -- router --> Route -- access --> Asker (signature) -- body, its hash --> access (admin:* action) -- bodies (opened) -->
    AdminCall -- handler, over `iam.changes.Changes` and the IAM view --> Reply -- bodies (sealed) --> JSON

A route says which action it needs, whether it may be about the caller itself, and what its bodies are; `surface` does all of that
for every route, so that a handler cannot forget it. One file for each subject: users, groups, policies, entities, accounts,
access_keys, info, sessions, keys. docs/admin-api.md lists the calls.
"""
