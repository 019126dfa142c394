"""The starter: it writes what it was told, for its owner alone, and becomes the program."""

import json
import subprocess
import sys

from dashd.drivers import openclaw_gateway, openclaw_gateway_start

SHOW = (
    "import json, os, sys; path = os.environ['OPENCLAW_CONFIG_PATH'];"
    " print(json.dumps([json.load(open(path)), oct(os.stat(path).st_mode & 0o777), sys.stdin.read(),"
    " os.environ['A'], os.environ['OPENCLAW_STATE_DIR'], os.environ['HOME'] != '/h']))"
)


def test_the_program_finds_its_configuration_and_nothing_on_its_standard_input(tmp_path) -> None:
    told = {"argv": [sys.executable, "-c", SHOW], "env": {"A": "b"}, "config": {"keys": ["dk_1"]}}
    told["state"] = str(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(openclaw_gateway.STARTER)],
        input=json.dumps(told).encode(),
        env={"TMPDIR": str(tmp_path), "HOME": "/h"},
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert json.loads(ran.stdout) == [{"keys": ["dk_1"]}, "0o600", "", "b", str(tmp_path), True]
    assert openclaw_gateway.STARTER.name == openclaw_gateway_start.__name__.rpartition(".")[2] + ".py"
