"""An installation that was changed, or was made from something else, is found out."""

import dataclasses
from pathlib import Path

import pytest

from dashd.drivers.program_record import faults
from dashd.drivers.programs import RECORD

from .test_program_install import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "node_modules/@x/one/lib/a.js").write_bytes(b"2"),
        lambda place: (place / "node_modules/new.js").write_bytes(b""),
        lambda place: (place / "node_modules/@x/one/run").unlink(),
        lambda place: (place / "node_modules/@x/one/run").chmod(0o644),
        lambda place: (place / "node_modules/link").symlink_to("/etc/passwd"),
    ],
)
def test_a_changed_installation_is_found_out(shop: Shop, change) -> None:
    place = shop.install()
    change(place)
    assert faults(place, shop.program) == ["its files are not those that were installed"]


def test_another_pin_is_found_out(shop: Shop) -> None:
    place = shop.install()
    other = dataclasses.replace(shop.program, packages=())
    assert faults(place, other) == ["it was made from other packages than this version pins"]
    (place / RECORD).write_text("{")
    assert "its record cannot be read" in faults(place, shop.program)[0]
