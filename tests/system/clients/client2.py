"""An MCP client over the Python SDK (2.x), which speaks both eras, driven by lines of JSON.

The first line says where to connect, with "mode": "legacy" or "auto"; each line after it is one
command. Each line is answered with one line: {"ok": …} or {"error": …}. With "capable": true in
the first line the client answers sampling, elicitation and roots, and says so to the server.
"""

import asyncio
import warnings

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from driver import Person, answer, lines, plain, serve

warnings.simplefilter("ignore")
MODERN = "2026-07-28"


def transport(connection):
    headers = connection.get("headers")
    if connection["transport"] == "sse":
        return sse_client(connection["url"], headers=headers)
    http = httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=300))
    return streamable_http_client(connection["url"], http_client=http)


async def pages(list_page, items):
    found, cursor = [], None
    while True:
        page = await list_page(cursor=cursor)
        found += getattr(page, items)
        cursor = page.next_cursor
        if not cursor:
            return found


class Commands:
    def __init__(self, client, person):
        self.client = client
        self.person = person

    def is_modern(self):
        return self.client.protocol_version >= MODERN

    async def version(self, _):
        return self.client.protocol_version

    async def asked(self, _):
        return self.person.asked

    async def list_tools(self, _):
        return [tool.name for tool in await pages(self.client.list_tools, "tools")]

    async def list_resources(self, _):
        return [str(one.uri) for one in await pages(self.client.list_resources, "resources")]

    async def list_templates(self, _):
        found = await pages(self.client.list_resource_templates, "resource_templates")
        return [template.uri_template for template in found]

    async def list_prompts(self, _):
        return [prompt.name for prompt in await pages(self.client.list_prompts, "prompts")]

    async def call(self, command):
        return plain(await self.client.call_tool(command["name"], command.get("arguments")))

    async def progress(self, command):
        seen = []

        async def note(progress, total, message):
            seen.append({"progress": progress, "total": total, "message": message})

        result = await self.client.call_tool(
            command["name"], command.get("arguments"), progress_callback=note
        )
        return {"progress": seen, "result": plain(result)}

    async def cancel(self, command):
        """Calls, and gives the call up as soon as its first progress arrives."""
        started = asyncio.Event()

        async def note(*_):
            started.set()

        call = asyncio.create_task(
            self.client.call_tool(
                command["name"], command.get("arguments"), progress_callback=note
            )
        )
        await started.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return {}

    async def log(self, command):
        """Sets the level, calls, and gives the messages as soon as there is one."""
        if self.is_modern():
            meta = {"io.modelcontextprotocol/logLevel": command["level"]}
            await self.client.call_tool(command["name"], command.get("arguments"), meta=meta)
        else:
            await self.client.set_logging_level(command["level"])
            await self.call(command)
        await self.person.wait_for(lambda: self.person.logs)
        return self.person.logs

    async def subscribe(self, command):
        """Subscribes, calls what changes the resource, and waits to be told."""
        uri = command["uri"]
        if self.is_modern():
            async with self.client.listen(resource_subscriptions=[uri]) as events:
                await self.call(command)
                event = await asyncio.wait_for(anext(aiter(events)), 20)
                return [str(event.uri)]
        await self.client.subscribe_resource(uri)
        await self.call(command)
        await self.person.wait_for(lambda: uri in self.person.updated)
        await self.client.unsubscribe_resource(uri)
        return self.person.updated

    async def complete(self, command):
        ref = command["ref"]
        kind = types.PromptReference if ref["type"] == "ref/prompt" else (
            types.ResourceTemplateReference
        )
        result = await self.client.complete(kind(**ref), command["argument"])
        return result.completion.values

    async def read(self, command):
        return plain(await self.client.read_resource(command["uri"]))

    async def prompt(self, command):
        return plain(await self.client.get_prompt(command["name"], command.get("arguments")))


async def main():
    given = lines()
    connection = await anext(given)
    person = Person(types)
    try:
        client = Client(
            transport(connection),
            mode=connection["mode"],
            cache=None,
            client_info=types.Implementation(name="system-test", version="1"),
            **person.callbacks(connection.get("capable", False)),
        )
        async with client:
            answer({"ok": {"protocolVersion": client.protocol_version}})
            await serve(Commands(client, person), given)
    except BaseException as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        raise
    answer({"ok": None})


asyncio.run(main())
