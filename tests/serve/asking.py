"""An application asked without a network, as a client asks it."""

import asyncio
import contextlib
import os
import subprocess
import sys

from optional import lazily

httpx = lazily("httpx")


class Asked:
    """A client of an application: each call is one request, answered in this process."""

    def __init__(self, app, **headers):
        self._app, self._headers = app, headers

    async def send(self, method, path, **options):
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=self._headers
        ) as client:
            return await client.request(method, path, **options)

    def get(self, path, **options):
        return asyncio.run(self.send("GET", path, **options))

    def post(self, path, json=None, **options):
        return asyncio.run(self.send("POST", path, json=json, **options))

    def together(self, path, bodies):
        """Answers to bodies that are sent at the same time."""

        async def all_of_them():
            return await asyncio.gather(*(self.send("POST", path, json=body) for body in bodies))

        return asyncio.run(all_of_them())


@contextlib.contextmanager
def closing(app):
    """Let go of an application's threads and indexes in the end."""
    try:
        yield app
    finally:
        app.state.service.close()


@contextlib.contextmanager
def serving(*options, **variables):
    """The command, and where it serves."""
    command = [sys.executable, "-m", "setwise", "serve", "--port", "0", *map(str, options)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables})
    try:
        told = server.stderr.readline()
        assert told.startswith("serving http://127.0.0.1:"), told + server.stderr.read()
        yield server, told.split()[1]
    finally:
        server.kill()
        server.communicate()
