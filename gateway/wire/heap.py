"""What is freed is kept for the next piece of a body.

Both loops read up to 256 KB at a time into a new bytes object. glibc's malloc gives such a block, once freed, back to the
kernel (brk, or munmap), which clears its pages again for the next read: that was half of what the plane spent on an object of 512 KiB.
"""

from __future__ import annotations

import ctypes

KEPT = 8 << 20  # bytes free at the heap's end before any is given back
MAPPED = 1 << 20  # bytes of a block that is mapped on its own, and always given back
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h; mallopt(3)


def keep_freed() -> bool:
    """Tell malloc, for this process; return whether it took it. Others than glibc's have their own ways."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_TRIM_THRESHOLD, KEPT) and mallopt(_M_MMAP_THRESHOLD, MAPPED))
