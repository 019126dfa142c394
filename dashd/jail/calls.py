"""System calls for the stage, by what is below `ctypes`: importing that package is a fifth of a jail's start.

A number is passed as a long and bytes by address, as the calls that libc has no function for take them. It is
ctypes' own way to make its functions, in every Python from 3.11 on. Standard library only.
"""

from __future__ import annotations

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Bytes(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


class _Address(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _ToLong(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class _ToInt(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


_libc = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]
_syscall = _ToLong(_ctypes.dlsym(_libc, "syscall"))
_prctl = _ToInt(_ctypes.dlsym(_libc, "prctl"))


def call(number: int, *arguments: int | bytes) -> int:
    """syscall(2). Raises OSError."""
    return _checked(_syscall(_Long(number), *_passed(arguments)))


def prctl(option: int, *arguments: int | bytes) -> int:
    """prctl(2). Raises OSError."""
    return _checked(_prctl(_Int(option), *_passed(arguments)))


def _passed(arguments: Iterable[int | bytes]) -> list[bytes | _Long]:
    return [each if isinstance(each, bytes) else _Long(each) for each in arguments]


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(_ctypes.get_errno(), os.strerror(_ctypes.get_errno()))
    return result


def address(content: bytes) -> int:
    """Where the bytes are, for as long as somebody holds them."""
    held = _Bytes(content)
    found: int = _Address.from_address(_ctypes.addressof(held)).value
    return found
