"""How many connections the descriptors allow; the limit itself is moved in processes of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.processes.descriptors import IN_FLIGHT, RESERVE, connections_within


@pytest.mark.parametrize(
    ("limit", "inflight", "most"),
    [(65_536, 2048, 59_264), (1024, 2048, 224), (1024, 10, 866), (160, 2048, 20), (8, 2048, 1), (1, 1, 1)],
)
def test_the_descriptors_say_how_many_connections_there_may_be(limit, inflight, most):
    """What fits with as many requests in flight as there may be; never none."""
    assert connections_within(limit, inflight) == most
    assert most == 1 or most + IN_FLIGHT * min(inflight, most) + min(RESERVE, limit // 2) <= limit


def in_a_process(before: str) -> str:
    """Return what `raise_limit` says, and what is in force then, in a process with the limits of `before`."""
    script = f"import resource as r; N = r.RLIMIT_NOFILE\n{before}\nfrom gateway.processes import descriptors\n"
    script += "print(descriptors.raise_limit(), *r.getrlimit(N))"
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def test_the_soft_limit_is_raised_to_the_hard_one():
    """A process may use what the system lets it have; one that has it all is left as it is."""
    assert in_a_process("r.setrlimit(N, (100, 300))") == "300 300 300"
    assert in_a_process("r.setrlimit(N, (300, 300))") == "300 300 300"


def test_a_sandbox_that_forbids_it_is_no_obstacle():
    """Where the limit may not be raised, or not be asked for, the gateway goes on with what it has."""
    forbidden = "def no(*_): raise OSError(1, 'Operation not permitted')\n"
    assert in_a_process(f"r.setrlimit(N, (100, 300))\n{forbidden}r.setrlimit = no") == "100 100 300"
    unknown = f"r.setrlimit(N, (100, 300))\nask = r.getrlimit\n{forbidden}r.getrlimit = no"
    script = f"{unknown}\nfrom gateway.processes import descriptors\nprint(descriptors.raise_limit())"
    done = subprocess.run([sys.executable, "-c", f"import resource as r; N = r.RLIMIT_NOFILE\n{script}"],
                          check=True, capture_output=True, text=True)  # fmt: skip
    assert done.stdout.strip() == "1024"
