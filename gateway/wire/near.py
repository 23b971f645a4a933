"""How much a near source may have on its way to us while its bytes are moved from socket to socket.

Left alone the kernel widens the window of a connection for as long as bytes come fast (to 32 MiB on some machines), and a source
beside us fills it: what is moved has waited for so long that no cache holds it any more, nor what describes it. That was a tenth of
the CPU of a large download, and of its time. A source at a distance needs its window, and keeps it.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any

NEAR = 500  # µs of the shortest round trip that the kernel has seen on the connection
WINDOW = 1 << 21  # bytes: with the above 4 GB/s
_MIN_RTT = slice(148, 152)  # tcpi_min_rtt of struct tcp_info (linux/tcp.h), µs


def bound_window(sock: Any, near: int = NEAR) -> bool:
    """Bound the window of a connection whose other end is near; return whether it is. `sock` is a socket by its methods."""
    if not hasattr(socket, "TCP_INFO"):
        return False
    with contextlib.suppress(OSError):  # no TCP, or gone
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT.stop)[_MIN_RTT]
        # An older kernel says less, and one that has measured nothing says that there is no shortest.
        if len(told) == 4 and int.from_bytes(told, sys.byteorder) <= near:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, WINDOW)
            return True
    return False
