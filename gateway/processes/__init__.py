"""What runs: one process or several, their start and their end.

process      from the listener to the last answer         supervisor   `--workers N`; inheritance: what a worker has from it
preflight    what only a look at the machine can tell     certificates, descriptors   the listener's pairs, the limits
store_server `minio-gw server DIR`: a real store on a folder
"""
