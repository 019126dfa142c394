"""Rulesets as numbers: what an older kernel does not know is left out, and files get no rights of folders."""

import struct

import pytest

from dashd.jail import landlock
from tests.jail import inside


def test_the_version_is_asked_of_the_kernel():
    assert landlock.abi() == inside.walls().landlock_abi or inside.walls().grade == "0"


@pytest.mark.parametrize(
    ("version", "words", "rights"), [(1, 1, 13), (2, 1, 14), (3, 1, 15), (4, 2, 15), (7, 3, 16)]
)
def test_a_kernel_is_asked_for_what_it_knows(version, words, rights):
    rules = landlock.ruleset(version, write=["/w"], ports=[80])
    attributes = struct.unpack(f"={words}Q", bytes.fromhex(rules["attributes"]))
    assert attributes[0] == (1 << rights) - 1
    assert all(given < 1 << rights for _, *each in rules["paths"] for given in each)
    assert bool(rules["ports"]) == (version >= landlock.ABI_NET)


def test_what_may_be_read_cannot_be_written_and_what_may_be_looked_at_not_executed():
    rules = landlock.ruleset(7, read=["/r"], look=["/l"], write=["/w"], devices=["/d"])
    rights = {path: folder for path, folder, _ in rules["paths"]}
    assert rights["/r"] == landlock.EXECUTE | landlock.READ_FILE | landlock.READ_DIR
    assert not rights["/l"] & landlock.EXECUTE
    assert rights["/w"] & landlock.REFER
    assert not rights["/w"] & (landlock.MAKE_CHAR | landlock.MAKE_BLOCK)
    assert all(not of_file & landlock.READ_DIR for _, _, of_file in rules["paths"])


def test_no_port_at_all_is_a_rule_and_none_is_no_rule():
    assert struct.unpack("=3Q", bytes.fromhex(landlock.ruleset(7, ports=[])["attributes"]))[1] == 3
    assert struct.unpack("=3Q", bytes.fromhex(landlock.ruleset(7)["attributes"]))[1] == 0
