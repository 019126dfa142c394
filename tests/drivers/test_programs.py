"""Where programs are: configured ones first, then pinned ones that were installed whole."""

import base64
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dashd.drivers import programs
from dashd.drivers.programs import RECORD, Found, Lack, Programs, pinned


def _install(folder: Path, name: str) -> Path:
    program = pinned("x86_64")[name]
    entry = folder / program.folder / program.entry
    entry.parent.mkdir(parents=True)
    entry.write_text("")
    (folder / program.folder / RECORD).write_text("{}")
    return entry


@pytest.fixture(autouse=True)
def on_a_known_machine(monkeypatch) -> None:
    monkeypatch.setattr(programs.platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_is_pinned_is_pinned_to_the_byte(machine: str) -> None:
    for program in pinned(machine).values():
        assert program.version in {package.version for package in program.packages}
        for package in program.packages:
            kind, _, digest = package.integrity.partition("-")
            assert (kind, len(base64.b64decode(digest))) == ("sha512", 64)
    assert pinned(machine)["pi"].needs == pinned(machine)["openclaw"].needs == ("node",)
    packages = pinned(machine)["openclaw"].packages
    assert len(packages) > 300
    assert len({package.place for package in packages}) == len(packages)
    for package in packages:
        assert package.place.endswith(package.name)
        assert ".." not in package.place
    foreign = {"x86_64": "arm64", "aarch64": "x64"}[machine]
    assert not [package.name for package in packages if foreign in package.name]


def test_a_machine_without_a_node_to_install_still_takes_a_configured_one() -> None:
    assert "node" not in pinned("riscv64")
    assert Programs(None, {"node": "/bin/sh"}).find("node") is not None


def test_an_installed_one(tmp_path: Path) -> None:
    found = Programs(tmp_path)
    assert (found.find("pi"), found.missing("pi")) == (None, "pi")
    entry = _install(tmp_path, "pi")
    pi = found.find("pi")
    assert pi is not None
    assert (pi.path, pi.folder, pi.origin) == (str(entry), str(tmp_path / "pi-1.5.2"), "installed")
    assert found.missing("pi") == "node"
    _install(tmp_path, "node")
    assert found.missing("pi") is None


def test_half_an_installation_is_none(tmp_path: Path) -> None:
    _install(tmp_path, "pi")
    (tmp_path / "pi-1.5.2" / RECORD).unlink()
    assert Programs(tmp_path).find("pi") is None


def test_a_configured_one_goes_first(tmp_path: Path, monkeypatch) -> None:
    _install(tmp_path, "node")
    own = tmp_path / "own" / "node_modules" / "a" / "node_modules" / "b" / "cli.js"
    own.parent.mkdir(parents=True)
    own.write_text("")
    own.chmod(0o755)
    found = Programs(tmp_path, {"node": str(own), "pi": ""}).find("node")
    assert found is not None
    assert (found.path, found.origin, found.folder) == (
        str(own),
        "configured",
        str(tmp_path / "own/node_modules"),
    )
    monkeypatch.setenv("PATH", str(own.parent))
    by_name = Programs(None, {"node": "cli.js"}).find("node")
    assert by_name is not None
    assert by_name.path == str(own)


@pytest.mark.parametrize("name", ["openclaws", "openclaw", "openclawd"])
def test_some_are_looked_for_on_the_path_last(tmp_path: Path, name: str) -> None:
    file = tmp_path / "bin" / name
    file.parent.mkdir()
    file.write_text("")
    file.chmod(0o755)
    path = f"/nonexistent:{file.parent}"
    found = Programs(tmp_path, path=path).find("openclaw")
    assert found is not None
    assert (found.path, found.origin) == (str(file), "on PATH")
    assert Programs(tmp_path).find("openclaw") is None
    assert Programs(tmp_path, {"openclaw": "/nowhere"}, path).find("openclaw") is None
    assert Programs(tmp_path, path=path).find("pi") is None
    entry = _install(tmp_path, "openclaw")
    found = Programs(tmp_path, path=path).find("openclaw")
    assert found is not None
    assert (found.path, found.origin) == (str(entry), "installed")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("", "every agent would read all that is there"),
        (".openclaw", "every agent would read all that is there"),
        ("drop", "everybody may write there"),
        ("tools", ""),
        (".nvm/versions/node/bin", ""),
        ("node_modules/openclaw", ""),
    ],
)
def test_a_folder_of_somebodys_own_is_not_given_to_agents(
    tmp_path: Path, monkeypatch, place: str, why: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / place / "node"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    if place == "drop":
        file.parent.chmod(0o777)
    programs_ = Programs(None, {"node": str(file)})
    found = programs_.look("node")
    if not why:
        assert isinstance(found, Found)
        return
    assert isinstance(found, Lack)
    assert why in found.text
    assert f"programs.node is set to '{file}'" in found.text
    assert (programs_.find("node"), found.here) == (None, True)


def test_what_is_here_and_what_it_needs_are_told_apart(tmp_path: Path) -> None:
    _install(tmp_path, "pi")
    lack = Programs(tmp_path).lack("pi")
    assert lack is not None
    assert lack.text == "pi is here, and needs node: node is neither installed nor configured"
    assert lack.hint.startswith("dashctl program install node")
    lack = Programs(None, {"pi": "/no/cli.js"}).lack("pi")
    assert lack is not None
    assert lack.text == "programs.pi is set to '/no/cli.js', which is no program"


@pytest.mark.parametrize("path", ["/nowhere/node", "no-such-program-at-all"])
def test_a_configured_one_that_is_not_there_is_not_replaced_in_silence(tmp_path: Path, path: str) -> None:
    _install(tmp_path, "node")
    assert Programs(tmp_path, {"node": path}).find("node") is None


def test_a_link_that_is_replaced_just_then_leads_to_no_program(monkeypatch) -> None:
    def raced(_path: str) -> str:
        raise OSError(22, "Invalid argument")  # readlink(2) of what is no link any more

    monkeypatch.setattr(programs.os.path, "realpath", raced)
    found = programs.named("pi", "/opt/pi/cli.js", "configured", "programs.pi is set")
    assert isinstance(found, Lack)


@pytest.fixture
def refused(monkeypatch) -> Callable[[Path, int], None]:
    """From now on whoever looks at a path, or below it, is refused so."""

    def refuse(place: Path, number: int) -> None:
        real = os.stat

        def stat(path, *arguments, **options):
            if str(path) == str(place) or str(path).startswith(f"{place}/"):
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, "stat", stat)

    return refuse


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_an_installed_one_that_cannot_be_looked_at_lacks_and_says_why(
    tmp_path: Path, refused, number: int
) -> None:
    on_path = tmp_path / "bin" / "openclaw"
    on_path.parent.mkdir()
    on_path.write_text("")
    on_path.chmod(0o755)
    _install(tmp_path, "openclaw")
    refused(tmp_path / pinned()["openclaw"].folder, number)
    found = Programs(tmp_path, path=str(on_path.parent))
    lack = found.look("openclaw")
    assert isinstance(lack, Lack)
    assert lack.text.startswith(f"openclaw cannot be looked for: {tmp_path}/openclaw-")
    assert lack.text.endswith(os.strerror(number))
    assert (lack.here, found.find("openclaw"), found.missing("openclaw")) == (True, None, "openclaw")
    assert found.lack("openclaw") == lack


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_configured_one_that_cannot_be_looked_at_lacks_and_says_why(
    tmp_path: Path, refused, number: int
) -> None:
    file = tmp_path / "node_modules" / "pi" / "cli.js"
    refused(tmp_path / "node_modules", number)
    found = programs.named("pi", str(file), "configured", "programs.pi is set")
    assert isinstance(found, Lack)
    assert found.text == f"programs.pi is set, which cannot be looked at: {file}: {os.strerror(number)}"


def test_one_whose_folder_is_replaced_just_then_is_no_program(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "node_modules" / "pi" / "cli.js"
    file.parent.mkdir(parents=True)
    file.write_text("")
    asked = programs.view.why_private

    def after_it_has_gone(folder: str) -> str:
        os.rename(tmp_path / "node_modules", tmp_path / "old")
        return asked(folder)

    monkeypatch.setattr(programs.view, "why_private", after_it_has_gone)
    found = programs.named("pi", str(file), "configured", "programs.pi is set")
    assert isinstance(found, Lack)
    assert found.text == "programs.pi is set, which is no program"
