"""Folders by inode: no link below the root is followed, and a swap before the start shows nothing else."""

import os
import threading

import pytest

from dashd.jail import agent_jail, launch
from dashd.jail.agent_jail import AgentJail, BadFolder, open_folder
from tests.jail import inside

SWAPS = 1_000


def same(fd: int, path) -> bool:
    try:
        seen, meant = os.fstat(fd), os.stat(path)
        return (seen.st_dev, seen.st_ino) == (meant.st_dev, meant.st_ino)
    finally:
        os.close(fd)


def test_a_folder_is_found_beneath_its_root(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert same(open_folder(str(tmp_path), "a/b", "x"), tmp_path / "a" / "b")
    assert same(open_folder(str(tmp_path), "", "x"), tmp_path)


@pytest.mark.parametrize("path", ["link", "link/inside", "../outside", "a/../../outside", "/etc"])
def test_no_way_leads_out(path, tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "outside" / "inside").mkdir(parents=True)
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BadFolder, match="a link is in the way"):
        open_folder(str(tmp_path / "root"), path, "shown")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(BadFolder, match=f"No such file or directory: opening /shown beneath {tmp_path}"):
        open_folder(str(tmp_path), "gone", "/shown")
    with pytest.raises(BadFolder, match=f"opening {tmp_path}/gone"):
        open_folder(str(tmp_path / "gone"), "", "/shown")


def test_a_link_on_the_way_to_the_root_is_not_followed_either(tmp_path):
    """Another agent may have made it, in a folder around this one."""
    (tmp_path / "secret" / "sub").mkdir(parents=True)
    project = tmp_path / "project"
    project.symlink_to("secret")
    for root, path in ((project, ""), (project / "sub", ""), (project, "sub")):
        with pytest.raises(BadFolder, match="a link is in the way"):
            open_folder(str(root), path, "shown")


def test_a_thousand_swaps_never_show_another_folder(tmp_path):
    """Somebody exchanges the scope for a link to a secret while it is opened."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "scope").mkdir(parents=True)
    secret.mkdir()
    os.symlink(secret, root / "evil")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "scope", root / "aside")
            os.rename(root / "evil", root / "scope")
            os.rename(root / "scope", root / "evil")
            os.rename(root / "aside", root / "scope")

    meant = os.stat(root / "scope").st_ino
    swapping = threading.Thread(target=swap)
    swapping.start()
    refused = 0
    try:
        for _ in range(SWAPS):
            try:
                fd = open_folder(str(root), "scope", "scope")
            except BadFolder:
                refused += 1
                continue
            assert os.fstat(fd).st_ino == meant
            os.close(fd)
    finally:
        stop.set()
        swapping.join()
    assert refused < SWAPS


def test_what_was_opened_is_closed_even_after_a_failure(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    binds = [[str(tmp_path), str(tmp_path), "", True], ["/gone", "/gone", "", False]]
    jail = AgentJail(
        {"bwrap": "bwrap", "options": [], "binds": binds, "finish": [], "stage": ["p"], "policy": {}}
    )
    with pytest.raises(BadFolder):
        jail.prepare(["x"], ["x"], {})
    jail.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_options_are_in_memory_and_not_in_argv(tmp_path):
    binds = [[str(tmp_path), str(tmp_path), "", False]]
    plan = {"bwrap": "/b", "options": ["--x"], "binds": binds, "finish": ["--y"], "stage": ["p"]}
    jail = AgentJail({**plan, "policy": {}})
    jail.prepare(["agent", "--token=s3cret"], ["agent"], {"KEY": "s3cret"})
    try:
        assert "s3cret" not in " ".join(jail.command(9))
        options = os.pread(jail._options, 4096, 0).split(b"\0")
        assert options == [
            b"--seccomp",
            str(jail.fds[-2]).encode(),
            b"--x",
            b"--ro-bind",
            f"/proc/self/fd/{jail.fds[0]}".encode(),
            os.fsencode(tmp_path),
            b"--y",
            b"",
        ]
    finally:
        jail.close()


def test_the_stage_comes_compiled(tmp_path, monkeypatch):
    """It is not looked for inside, where nothing that was compiled could be kept."""
    monkeypatch.setattr(launch, "_STAGE", launch._STAGE.replace(launch.CODE, "/nowhere"))
    ended = inside.enter("B", tmp_path, "echo began")
    assert (ended.output, ended.news[-1]) == ("began\n", b"ready")


@pytest.mark.parametrize("grade", inside.GRADES)
def test_a_python_that_cannot_read_what_was_compiled_compiles_it(grade, tmp_path, monkeypatch):
    agent_jail._stage_modules.cache_clear()
    monkeypatch.setattr(agent_jail._frozen_importlib_external, "MAGIC_NUMBER", b"abc\n")
    try:
        ended = inside.enter(grade, tmp_path, "echo began")
    finally:
        agent_jail._stage_modules.cache_clear()
    assert (ended.output, ended.news[-1]) == ("began\n", b"ready")
