"""Where providers' secrets are: a file of mode 0600 each in a folder of mode 0700, or what a command prints.

Nothing of a secret is logged, is in an error's text, or is given to another process. What is read here stays
in this process, which `keep_memory_private` closes to others of its uid.
"""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

import trio

from dashd import threads
from dashd.wire import errors

log = logging.getLogger(__name__)
ONE_WORD = "the key alone, as its provider shows it: one word"
SECRET_BYTES_MAX = 16_384
COMMAND_S_MAX = 20.0
"""How long a command may take to print a secret: a password store may ask over a network."""
_PR_SET_DUMPABLE = 4


class NoSecret(errors.Unavailable):
    """The secret could not be had."""


def keep_memory_private() -> None:
    """Others of this uid can no longer read this process's memory or environment; programs it starts are not
    touched, since an exec ends it. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


class SecretFiles:
    """The files of one folder; all functions block on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, secret: str) -> None:
        """Durable when it returns; whoever reads meanwhile reads the old one or the new one, whole.

        Raises NoSecret where the disk does not take it.
        """
        path = self._folder / name
        fresh = self._folder / f".{name}.new"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            fresh.unlink(missing_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(fd, "wb") as file:
                os.fchmod(fd, 0o600)
                file.write(secret.encode())
                file.flush()
                os.fsync(fd)
            fresh.replace(path)
            self._sync()
        except OSError as error:
            raise NoSecret(
                f"keeping the secret of {name} in {path}: {error.strerror}", hint="mend the state folder"
            ) from None

    def read(self, name: str) -> str:
        """Raises NoSecret where it is not there, or others than this uid may read it."""
        path = self._folder / name
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with open(fd, "rb") as file:
                status = os.fstat(fd)
                if status.st_mode & 0o077 or status.st_uid != os.getuid():
                    raise NoSecret(
                        f"{path} can be read by others",
                        hint=f"chmod 600 {path}, then dashctl provider test {name}",
                    )
                return _clean(file.read(SECRET_BYTES_MAX + 1), f"the file {path}")
        except OSError as error:
            raise NoSecret(
                f"reading the secret of {name} from {path}: {error.strerror}",
                hint=f"dashctl provider add {name} … again",
            ) from None

    def forget(self, name: str) -> None:
        """It is not there afterwards."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / name).unlink()
            self._sync()

    def forget_others(self, kept: Collection[str]) -> None:
        """Removes the files of everybody else, and what a crash left half written; what cannot be removed, a
        folder that somebody made there for example, stays and is said.
        """
        try:
            found = list(self._folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s cannot be tidied up: %s", self._folder, error.strerror)
            return
        for path in found:
            if path.name not in kept:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    log.warning("%s is nobody's and cannot be removed: %s", path, error.strerror)

    def _sync(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


async def printed(argv: Sequence[str], *, command_s_max: float = COMMAND_S_MAX) -> str:
    """The secret that a command prints; no shell reads it, and it has ended when this returns.

    Raises NoSecret; what the command says on stderr is thrown away, since nobody knows what is in it.
    """
    try:
        with threads.scarce():
            process = await trio.lowlevel.open_process(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
    except (
        OSError,
        ValueError,
        threads.NoThread,
    ) as error:  # ValueError: a NUL, which no program can be given
        why = error.strerror if isinstance(error, OSError) else error
        raise NoSecret(
            f"the secret's command {argv[0]!r} cannot be run: {why}", hint="give an absolute path"
        ) from None
    out = bytearray()
    assert process.stdout is not None
    try:
        with trio.fail_after(command_s_max):
            while len(out) <= SECRET_BYTES_MAX and (piece := await process.stdout.receive_some(4096)):
                out += piece
            if len(out) > SECRET_BYTES_MAX:
                raise NoSecret(
                    f"the secret's command {argv[0]} prints more than {SECRET_BYTES_MAX} bytes", hint=ONE_WORD
                )
            code = await process.wait()
    except trio.TooSlowError:
        raise NoSecret(
            f"the secret's command {argv[0]} did not end within {command_s_max:g} s",
            hint="it must not ask on a terminal",
        ) from None
    finally:
        if process.returncode is None:  # not reaped, so the number is still its group's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):  # bounded: it was killed
            await process.wait()
            await process.stdout.aclose()
    if code != 0:
        raise NoSecret(
            f"the secret's command {argv[0]} ended with exit code {code}",
            hint="run it by hand; it must print the key and end with 0",
        )
    return _clean(bytes(out), f"the secret's command {argv[0]}")


def check(secret: str) -> str:
    """The secret without the line end it came with. Raises NoSecret where no header could carry it."""
    return _clean(secret.encode("utf-8", "replace"), "what was given")


def _clean(raw: bytes, whence: str) -> str:
    text = raw.strip(b"\r\n\t ")
    if not text:
        raise NoSecret(f"{whence} holds no secret: it is empty", hint=ONE_WORD)
    if len(text) > SECRET_BYTES_MAX or not all(0x21 <= byte < 0x7F for byte in text):
        raise NoSecret(
            f"{whence} holds no secret: a key is one word of ASCII, {SECRET_BYTES_MAX} bytes at most",
            hint=ONE_WORD,
        )
    return text.decode("ascii")
