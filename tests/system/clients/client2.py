"""An MCP client over the Python SDK (2.x), which speaks both eras, driven by lines of JSON.

The first line says where to connect, with "mode": "legacy" or "auto"; each line after it is one
command. Each line is answered with one line: {"ok": …} or {"error": …}. With "capable": true in
the first line the client answers sampling, elicitation and roots, and says so to the server.
"""

import asyncio
import json
import sys
import warnings

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

warnings.simplefilter("ignore")
MODERN = "2026-07-28"


def transport(connection):
    headers = connection.get("headers")
    if connection["transport"] == "sse":
        return sse_client(connection["url"], headers=headers)
    http = httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=300))
    return streamable_http_client(connection["url"], http_client=http)


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def pages(list_page, items):
    found, cursor = [], None
    while True:
        page = await list_page(cursor=cursor)
        found += getattr(page, items)
        cursor = page.next_cursor
        if not cursor:
            return found


def filled(schema):
    """An answer to a form: each property by its type, an enumeration by its first value."""
    values = {"integer": 7, "number": 7, "boolean": True, "array": []}
    return {
        name: (rule.get("enum") or [values.get(rule.get("type"), "Ada")])[0]
        for name, rule in (schema.get("properties") or {}).items()
    }


class Person:
    """Who sits before the client: answers what servers ask, and remembers what they said."""

    def __init__(self):
        self.asked, self.logs, self.updated = [], [], []
        self.changed = asyncio.Condition()

    async def note(self, where, what):
        async with self.changed:
            where.append(what)
            self.changed.notify_all()

    async def wait_for(self, predicate):
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(predicate), 20)

    async def sampling(self, _, params):
        await self.note(self.asked, {"method": "sampling/createMessage", "params": plain(params)})
        content = params.messages[-1].content
        text = (content[0] if isinstance(content, list) else content).text
        return types.CreateMessageResult(
            role="assistant",
            content=types.TextContent(type="text", text=f"sampled: {text}"),
            model="test-model",
        )

    async def elicitation(self, _, params):
        params = plain(params)
        await self.note(self.asked, {"method": "elicitation/create", "params": params})
        content = filled(params.get("requestedSchema", {}))
        return types.ElicitResult(action="accept", content=content)

    async def roots(self, _):
        await self.note(self.asked, {"method": "roots/list", "params": {}})
        return types.ListRootsResult(roots=[types.Root(uri="file:///work", name="work")])

    async def log(self, params):
        await self.note(self.logs, plain(params))

    async def message(self, message):
        message = getattr(message, "root", message)
        if isinstance(message, types.ResourceUpdatedNotification):
            await self.note(self.updated, str(message.params.uri))

    def callbacks(self, capable):
        heard = {"logging_callback": self.log, "message_handler": self.message}
        if not capable:
            return heard
        return heard | {
            "sampling_callback": self.sampling,
            "elicitation_callback": self.elicitation,
            "list_roots_callback": self.roots,
        }


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


def answer(value):
    print(json.dumps(value), flush=True)


async def lines():
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        yield json.loads(line)


async def serve(commands, given):
    async for command in given:
        if command["op"] == "close":
            return
        try:
            answer({"ok": await getattr(commands, command["op"])(command)})
        except Exception as error:  # Told to the test, which decides.
            answer({"error": f"{type(error).__name__}: {error}"})


async def main():
    given = lines()
    connection = await anext(given)
    person = Person()
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
