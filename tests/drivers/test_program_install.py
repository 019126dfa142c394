"""Installing: whole or not at all, exactly what was pinned, by an npm of the test's own."""

import base64
import dataclasses
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from dashd.drivers import program_install
from dashd.drivers.program_install import InstallFailed, install
from dashd.drivers.program_record import faults
from dashd.drivers.programs import RECORD, UNFINISHED, Package, Program

NPM = """#!/bin/sh
test -z "$ANTHROPIC_API_KEY" || exit 9
echo "$@" >> {log}
while [ "$1" != --pack-destination ]; do shift; done
place=$2; shift 2; number=0; comma=''
printf '['
for spec; do
  case $spec in
    missing@*) echo "npm error 404 no such package" >&2; exit 1 ;;
    silent@*) continue ;;
  esac
  number=$((number + 1))
  cp {archive} "$place/$number.tgz"
  printf '%s{{"name": "%s", "version": "%s", "filename": "%s.tgz"}}' \
    "$comma" "${{spec%@*}}" "${{spec##*@}}" $number
  comma=', '
done
printf ']'
"""


def _archive(path: Path, files: dict[str, bytes], *, link: bool = False) -> str:
    """Its integrity."""
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.endswith("run") else 0o644
            packed.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo("package/link")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(member)
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


class Shop:
    """One archive and an npm that sells it whatever it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "programs"
        self.archive, self.log = folder / "one.tgz", folder / "log"
        (folder / "bin").mkdir()
        npm = folder / "bin" / "npm"
        npm.write_text(NPM.format(log=self.log, archive=self.archive))
        npm.chmod(0o755)
        self.environ = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "ANTHROPIC_API_KEY": "canary"}
        self.said: list[str] = []
        self.stocks({"package/run": b"#!/bin/sh\n", "package/lib/a.js": b"1"})

    def stocks(self, files: dict[str, bytes], *, link: bool = False) -> None:
        integrity = _archive(self.archive, files, link=link)
        self.program = Program(
            "one", "1.0", (Package("@x/one", "1.0", integrity),), "node_modules/@x/one/run"
        )

    def install(self, **changes) -> Path:
        program = dataclasses.replace(self.program, **changes)
        return install(self.place, program, self.said.append, self.environ)

    def leftovers(self) -> list[Path]:
        return list(self.place.glob(f"{UNFINISHED}*"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_it_is_there_whole_and_says_what_it_did(shop: Shop) -> None:
    place = shop.install()
    assert place == shop.place / "one-1.0"
    assert os.access(place / "node_modules/@x/one/run", os.X_OK)
    assert (place / "node_modules/@x/one/lib/a.js").read_bytes() == b"1"
    assert faults(place, shop.program) == []
    assert shop.leftovers() == []
    assert shop.said[:2] == ["one: fetching @x/one@1.0", "one: unpacked 1 of 1"]
    assert "pack" in shop.log.read_text()


def test_what_is_there_is_not_fetched_again(shop: Shop) -> None:
    shop.install()
    shop.log.unlink()
    shop.install()
    assert not shop.log.exists()


def test_other_bytes_than_those_pinned_are_refused(shop: Shop) -> None:
    pinned = shop.program
    shop.stocks({"package/run": b"evil"})
    with pytest.raises(InstallFailed, match="not what Dash was tested with") as failed:
        shop.install(packages=pinned.packages)
    assert "nothing was installed" in failed.value.hint
    assert not (shop.place / "one-1.0").exists()
    assert shop.leftovers() == []


def test_a_file_that_comes_twice_is_as_it_came_last(shop: Shop) -> None:
    shop.stocks({"package/run": b"", "package/./lib/a.js": b"1", "package/lib/a.js": b"2"})
    assert (shop.install() / "node_modules/@x/one/lib/a.js").read_bytes() == b"2"


@pytest.mark.parametrize("files", [{"package/../../../out": b"x"}, {"package/a/../../../x": b"x"}])
def test_nothing_lands_outside(shop: Shop, files: dict[str, bytes]) -> None:
    shop.stocks(files)
    with pytest.raises(InstallFailed, match="no plain file"):
        shop.install()
    assert not (shop.folder / "out").exists()


def test_links_are_refused(shop: Shop) -> None:
    shop.stocks({"package/run": b""}, link=True)
    with pytest.raises(InstallFailed, match="no plain file"):
        shop.install()


def test_an_archive_without_the_program_is_none(shop: Shop) -> None:
    shop.stocks({"package/other": b""})
    with pytest.raises(InstallFailed, match="has no node_modules"):
        shop.install()


def test_many_packages_are_fetched_together_each_to_its_place(shop: Shop) -> None:
    (one,) = shop.program.packages
    names = [f"p{number}" for number in range(program_install.BATCH_MAX + 1)]
    more = [Package(name, "2.0", one.integrity) for name in names]
    inner = dataclasses.replace(one, place="p3/node_modules/@x/one")
    place = shop.install(packages=(one, *more, inner))
    assert len(shop.log.read_text().splitlines()) == 2
    assert all((place / f"node_modules/{name}/run").is_file() for name in [*names, inner.place, one.name])
    assert len(list(place.rglob("run"))) == len(names) + 2


def test_a_package_that_npm_passes_over_is_named(shop: Shop) -> None:
    (one,) = shop.program.packages
    with pytest.raises(InstallFailed, match=r"could not fetch silent@1\.0: exit code 0"):
        shop.install(packages=(one, Package("silent", "1.0", one.integrity)))
    assert not (shop.place / "one-1.0").exists()
    assert shop.leftovers() == []


def test_what_is_left_out_is_not_there(shop: Shop) -> None:
    place = shop.install(left_out="node_modules/@x/one/lib/a.js")
    assert not (place / "node_modules/@x/one/lib/a.js").exists()
    assert faults(place, shop.program) == []


def test_npm_says_why(shop: Shop) -> None:
    missing = (Package("missing", "1.0", "sha512-"),)
    with pytest.raises(InstallFailed, match=r"could not fetch missing@1\.0: npm error 404") as failed:
        shop.install(packages=missing)
    assert "npm view missing@1.0 version" in failed.value.hint


def test_without_npm_it_says_what_else_can_be_done(shop: Shop) -> None:
    shop.environ["PATH"] = "/nonexistent"
    with pytest.raises(InstallFailed, match="no npm") as failed:
        shop.install()
    assert "section programs" in failed.value.hint


def test_what_was_interrupted_is_cleaned_up_and_replaced(shop: Shop) -> None:
    half = shop.place / "one-1.0" / "node_modules"
    half.mkdir(parents=True)
    (shop.place / f"{UNFINISHED}abc" / "made").mkdir(parents=True)
    place = shop.install()
    assert shop.leftovers() == []
    assert faults(place, shop.program) == []


def test_a_full_disk_or_a_wrong_folder_is_named(shop: Shop) -> None:
    shop.place.write_text("a file")
    with pytest.raises(InstallFailed, match="programs"):
        shop.install()


def test_as_a_program_it_speaks_json_lines(shop: Shop, monkeypatch, capsys) -> None:
    monkeypatch.setattr(program_install, "pinned", lambda: {"one": shop.program})
    monkeypatch.setattr(os, "environ", shop.environ)
    monkeypatch.setattr(program_install.install, "__defaults__", (shop.environ,))
    assert program_install.main(shop.place, ["one"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == '{"done": true}'
    shop.environ["PATH"] = "/nonexistent"
    (shop.place / "one-1.0" / RECORD).unlink()
    assert program_install.main(shop.place, ["one"]) == program_install.NOT_FETCHED
    assert '"hint":' in capsys.readouterr().out.splitlines()[-1]
