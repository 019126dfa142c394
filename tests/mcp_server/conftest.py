"""An MCP client in the test's own loop, against our server, against a scripted dashd."""

import contextlib
import itertools
import json

import mcp
import mcp_types
import pytest

from mcp_server import server
from tests.fakes import daemon as fake


@pytest.fixture(params=["legacy", "auto"], ids=["handshake", "modern"])
def era(request):
    """Both eras of the protocol: the handshake, and an envelope around every request."""
    return request.param


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "dashd.sock")


@pytest.fixture
def connect(path):
    """`async with connect() as (dashd, tools)`: a daemon that lives, and a connected MCP client."""

    @contextlib.asynccontextmanager
    async def connect(era="auto", client_name="test", **options):
        keys = (f"key-{number}" for number in itertools.count(1))
        served = server.build(path, "/where/it/runs", new_key=lambda: next(keys), **options)
        info = mcp_types.Implementation(name=client_name, version="1")
        async with fake.open_daemon(path) as dashd, mcp.Client(served, mode=era, client_info=info) as client:
            yield dashd, Caller(client)

    return connect


class Caller:
    """Calls tools and reads their answers as a model does."""

    def __init__(self, client):
        self.client = client

    async def ok(self, tool, arguments=None, **options):
        """The answer of a call that must succeed; both channels must say the same."""
        result = await self.client.call_tool(tool, arguments or {}, **options)
        text = self._text(result)
        assert not result.is_error, text
        assert text == json.dumps(result.structured_content, separators=(",", ":"), ensure_ascii=False)
        return result.structured_content

    async def refused(self, tool, arguments=None):
        """The text of a call that must be refused."""
        result = await self.client.call_tool(tool, arguments or {})
        assert result.is_error, result
        assert result.structured_content is None
        return self._text(result)

    @staticmethod
    def _text(result):
        (content,) = result.content
        return content.text
