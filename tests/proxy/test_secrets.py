"""Secrets at rest and from commands: who may read them, what is said where they cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from dashd.proxy import secrets

KEY = "sk-0123456789"


def a_command(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_a_file_is_the_owners_alone_whatever_the_umask(tmp_path: Path):
    files = secrets.SecretFiles(tmp_path / "secrets")
    before = os.umask(0)
    try:
        files.keep("one", KEY)
        files.keep("one", KEY + "2")
    finally:
        os.umask(before)
    path = tmp_path / "secrets" / "one"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert files.read("one") == KEY + "2"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_others_can_read_is_not_used(tmp_path: Path):
    files = secrets.SecretFiles(tmp_path)
    files.keep("one", KEY)
    (tmp_path / "one").chmod(0o640)
    with pytest.raises(secrets.NoSecret, match="can be read by others") as refused:
        files.read("one")
    assert refused.value.hint.startswith("chmod 600")


def test_a_link_is_not_followed_and_a_missing_file_is_named(tmp_path: Path):
    files = secrets.SecretFiles(tmp_path)
    (tmp_path / "elsewhere").write_text(KEY)
    (tmp_path / "one").symlink_to(tmp_path / "elsewhere")
    for name in ("one", "two"):
        with pytest.raises(secrets.NoSecret, match=str(tmp_path / name)):
            files.read(name)
    files.keep("one", KEY)
    assert not (tmp_path / "one").is_symlink()


def test_a_disk_that_refuses_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(secrets.NoSecret, match="keeping the secret of one"):
        secrets.SecretFiles(tmp_path / "file").keep("one", KEY)


def test_forgetting(tmp_path: Path):
    files = secrets.SecretFiles(tmp_path / "s")
    files.forget_others(())
    for name in ("one", "two", "three"):
        files.keep(name, KEY)
    files.forget("one")
    files.forget("one")
    files.forget_others({"two"})
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["two"]


@pytest.mark.parametrize("bad", ["", " \n", "two words", "a\nb", "schlüssel", "k" * 20_000])
def test_what_no_header_could_carry_is_refused_without_repeating_it(bad: str):
    with pytest.raises(secrets.NoSecret) as refused:
        secrets.check(bad)
    assert not bad.strip() or bad not in refused.value.message + refused.value.hint
    assert secrets.check(f"  {KEY}\r\n") == KEY


@pytest.mark.slow
async def test_a_command_prints_it_and_no_shell_reads_its_words():
    with trio.fail_after(20):
        assert await secrets.printed(a_command(f"print('{KEY}')")) == KEY
        assert await secrets.printed(["/bin/echo", "$HOME;x"]) == "$HOME;x"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (f"import sys; print('{KEY}'); sys.exit(3)", "exit code 3"),
        (f"import sys; sys.stderr.write('{KEY}')", "is empty"),
        (f"print('{KEY}' * 100_000)", "prints more than"),
        ("import sys; sys.exit(len(sys.stdin.read()) + 7)", "exit code 7"),
    ],
)
async def test_a_command_that_prints_none(code: str, said: str):
    with trio.fail_after(20), pytest.raises(secrets.NoSecret, match=said) as refused:
        await secrets.printed(a_command(code))
    assert KEY not in refused.value.message + refused.value.hint


async def ended(pid: int) -> None:
    """Waits until a process that is no child of ours is gone."""
    try:
        found = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(found)
    finally:
        os.close(found)


@pytest.mark.slow
async def test_a_command_that_does_not_end_is_ended_with_its_children(tmp_path: Path):
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    with trio.fail_after(20):
        with pytest.raises(secrets.NoSecret, match="did not end within 2 s"):
            await secrets.printed(a_command(code), command_s_max=2)
        assert await trio.Path(tmp_path / "pid").exists(), "the child never ran"
        await ended(int(await trio.Path(tmp_path / "pid").read_text()))


async def test_a_command_for_which_no_thread_can_be_started(scarce):
    scarce(1)
    with pytest.raises(secrets.NoSecret, match="cannot be run: can't start new thread"):
        await secrets.printed(a_command("print('x')"))


async def test_a_command_that_is_not_there():
    with pytest.raises(secrets.NoSecret, match="cannot be run: No such file"):
        await secrets.printed(["/nowhere/at/all"])


@pytest.mark.slow
def test_memory_is_closed_and_programs_started_from_there_are_not():
    code = (
        "import ctypes, subprocess, sys\n"
        "from dashd.proxy import secrets\n"
        "libc = ctypes.CDLL(None)\n"
        "print(libc.prctl(3), end=' ')\n"
        "secrets.keep_memory_private()\n"
        "print(libc.prctl(3), end=' ', flush=True)\n"
        "subprocess.run([sys.executable, '-S', '-c', 'import ctypes; print(ctypes.CDLL(None).prctl(3))'])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.split() == ["1", "0", "1"]


def test_what_cannot_be_removed_keeps_no_daemon_from_starting(tmp_path: Path):
    """A folder that somebody made there: it stays, and the rest goes."""
    files = secrets.SecretFiles(tmp_path)
    files.keep("one", KEY)
    files.keep("two", KEY)
    (tmp_path / "aside").mkdir()
    files.forget_others({"one"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aside", "one"]
    secrets.SecretFiles(tmp_path / "one").forget_others(())  # a file is in its place
