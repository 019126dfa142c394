"""The names a program may be found under, and the words for why it was not started."""

import errno
import os

import pytest

from dashd.jail import agent_exec


@pytest.mark.parametrize(
    ("name", "env", "files"),
    [
        ("/bin/x", {"PATH": "/a"}, ["/bin/x"]),
        ("./x", {"PATH": "/a"}, ["./x"]),
        ("x", {"PATH": "/a:/b"}, ["/a/x", "/b/x"]),
        ("x", {"PATH": ":/b"}, ["./x", "/b/x"]),
        ("x", {}, [f"{folder}/x" for folder in os.defpath.split(":")]),
    ],
)
def test_the_agent_s_own_path_is_searched(name: str, env: dict[str, str], files: list[str]):
    assert agent_exec.programs(name, env) == files


def test_failures_name_errno_step_and_path():
    error = OSError(errno.ENOENT, "whatever")
    assert agent_exec.failure_text(error, "exec", "/x") == "ENOENT: No such file or directory: exec '/x'"
    assert agent_exec.failure_text(ValueError("odd"), "exec", "/x") == "EINVAL: odd: exec '/x'"


def test_a_file_that_may_not_be_run_says_more_than_one_that_is_missing(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_text("")
    files = [f"{tmp_path}/{folder}/x" for folder in "abc"]
    with pytest.raises(PermissionError):
        agent_exec._exec_first(files, ["x"], {})
    with pytest.raises(FileNotFoundError):
        agent_exec._exec_first([files[0], files[2]], ["x"], {})
