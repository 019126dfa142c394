"""Records and names on disk."""

import json
import stat
from pathlib import Path

import pytest

from dashd.workspace import place
from dashd.workspace.errors import OutsideRoot
from dashd.workspace.place import Shared, Workspace
from dashd.workspace.source import Source

GIT = Path("/somewhere/repo/.git")


def workspace(root: Path, agent: str = "7k2m9q-003.1") -> Workspace:
    source = Source(GIT.parent, GIT, GIT, (Path("/x/objects"),), "sha256", shallow=True)
    return Workspace(
        root,
        "repo-dash-7k2m9q-003.1",
        "7k2m9q",
        agent,
        source,
        "1" * 64,
        (Shared(Path("/a"), Path("/b")),),
    )


def test_a_record_comes_back_as_it_was(tmp_path: Path):
    made = workspace(tmp_path / "root")
    assert place.decode(place.encode(made)) == made
    place.write_record(made)
    assert place.read_records(made.root) == [made]
    assert stat.S_IMODE(made.root.stat().st_mode) == 0o700
    place.remove_record(made)
    assert place.read_records(made.root) == []


def test_a_record_of_an_older_dash_says_more(tmp_path: Path):
    made = workspace(tmp_path / "root")
    older = {**json.loads(place.encode(made)), "submodules": ["sub"], "filtered": ["a.bin"]}
    assert place.decode(json.dumps(older).encode()) == made


def test_a_root_that_is_not_there_has_no_records(tmp_path: Path):
    assert place.read_records(tmp_path / "none") == []


def test_a_record_half_written_is_no_record(tmp_path: Path):
    made = workspace(tmp_path)
    place.write_record(made)
    (tmp_path / ".dash/other.json.tmp").write_text("{")
    assert place.read_records(tmp_path) == [made]


def test_names_say_whose_they_are(tmp_path: Path):
    made = workspace(tmp_path)
    assert made.branch == "refs/heads/dash/7k2m9q/7k2m9q-003.1"
    assert (made.base_ref, made.salvage_ref) == (
        "refs/dash/base/7k2m9q-003.1",
        "refs/dash/salvage/7k2m9q-003.1",
    )
    assert place.name_for(made.source, "a1") == "repo-dash-a1"
    bare = Source(None, Path("/x/thing.git"), Path("/x/thing.git"))
    assert place.name_for(bare, "a1") == "thing-dash-a1"


@pytest.mark.parametrize(
    "word", ["", ".", "..", "a..b", "a/b", "-a", "a.lock", "A", "a b", "a\n", "é", "x" * 65]
)
def test_an_id_that_cannot_be_a_name_is_refused(word: str):
    with pytest.raises(OutsideRoot):
        place.check_id(word)


@pytest.mark.parametrize("word", ["7k2m9q", "7k2m9q-003", "7k2m9q-003.1", "result"])
def test_ids_of_dash_are_names(word: str):
    assert place.check_id(word) == word


def test_a_record_that_goes_while_all_are_read_is_left_out(tmp_path):
    """Another agent's, whose workspace is removed just then: it is listed, and not there any more."""
    (tmp_path / ".dash").mkdir()
    (tmp_path / ".dash" / "s1-001.json").symlink_to("gone")
    assert place.read_records(tmp_path) == []
