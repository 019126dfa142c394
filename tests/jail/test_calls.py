"""The stage's system calls: as ctypes would make them, without ctypes."""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

import pytest

from dashd.jail import calls, view

_OPENAT2 = 437
_PR_GET_NAME, _PR_SET_NO_NEW_PRIVS = 16, 38


def test_numbers_and_bytes_get_through(tmp_path: Path):
    how = bytes(24)
    fd = calls.call(_OPENAT2, -1, os.fsencode(tmp_path), how, len(how))
    try:
        assert os.path.samestat(os.fstat(fd), tmp_path.stat())
    finally:
        os.close(fd)


def test_what_the_kernel_refuses_is_an_error_with_its_words():
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        calls.call(_OPENAT2, -1, b"/no/such", bytes(24), 24)
    with pytest.raises(OSError, match="Invalid argument") as refused:
        calls.prctl(_PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0)
    assert refused.value.errno == errno.EINVAL


def test_an_address_is_where_the_bytes_are():
    content = b"with\0a zero" * 100
    assert ctypes.string_at(calls.address(content), len(content)) == content
    name = ctypes.create_string_buffer(16)
    assert calls.prctl(_PR_GET_NAME, ctypes.addressof(name), 0, 0, 0) == 0
    assert name.value


def test_nothing_that_a_jail_starts_with_imports_ctypes():
    """It would be a fifth of the start."""
    root = Path(calls.__file__).parents[2]
    code = f"import sys; sys.path.append({str(root)!r}); from dashd.jail import stage; "
    code += "print('ctypes' in sys.modules)"
    done = subprocess.run(
        [view.python(), "-I", "-S", "-c", code], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.strip() == "False"
