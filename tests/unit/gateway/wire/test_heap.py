"""Freed memory stays with the process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from gateway.wire.heap import keep_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(1000):
        bytes(256_000)[:255_000]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
print(keep_freed(), before, faults())
"""


def test_blocks_of_a_body_are_not_faulted_in_again_and_again():
    """Pieces as large as a loop reads, taken and freed a thousand times, cost no page faults once the heap keeps them."""
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert told[0] == "True"
    assert int(told[1]) > 10_000
    assert int(told[2]) < 1000
