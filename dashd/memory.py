"""How this process gets memory from the system: from one heap for all its threads.

glibc gives each thread that allocates a heap of its own. What the writer, and threads for a file or a lookup,
leave in theirs stays resident and buys nothing: only one thread at a time runs Python.
"""

import ctypes

_ARENA_MAX = -8
"""M_ARENA_MAX, https://man7.org/linux/man-pages/man3/mallopt.3.html"""


def one_heap() -> bool:
    """Keeps the process to one heap, if called before the first thread. False where the C library cannot."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_ARENA_MAX, 1))
