"""The command line's commands that are no server: `minio-gw admin …`, a client of the administration API, and the completion of shells.

parser.py    argv -> one command of one area; run.py carries it out
client.py    calls, signed, to a gateway; endpoint.py says where it is and who calls
users.py, groups.py, policies.py, service_accounts.py, sessions.py, keys.py, explain.py, portability.py    the areas
tables.py    what people see
"""
