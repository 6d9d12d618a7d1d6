"""An MCP client over the Python SDK (1.x), driven by lines of JSON.

The first line says where to connect; each line after it is one command. Each line is answered
with one line: {"ok": …} or {"error": …}. With "capable": true in the first line the client
answers sampling, elicitation and roots, and says so to the server.
"""

import asyncio
from contextlib import asynccontextmanager

from mcp import ClientSession, types
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamablehttp_client

from driver import Person, answer, lines, plain, serve


@asynccontextmanager
async def streams(connection):
    """The transport of a connection, or of an entry of a client's configuration file."""
    kind = connection.get("transport") or connection.get("type") or "stdio"
    if kind == "sse":
        # `timeout` of a configuration entry is in seconds, as the SDK's own.
        timeout = connection.get("timeout", 5)
        async with sse_client(
            connection["url"], headers=connection.get("headers"), timeout=timeout
        ) as (read, write):
            yield read, write
    elif kind in ("http", "streamableHttp"):
        async with streamablehttp_client(
            connection["url"], headers=connection.get("headers")
        ) as (read, write, _):
            yield read, write
    else:
        parameters = StdioServerParameters(
            command=connection["command"],
            args=connection.get("args", []),
            env=connection.get("env"),
        )
        async with stdio_client(parameters) as (read, write):
            yield read, write


async def pages(list_page, items):
    found, cursor = [], None
    while True:
        page = await list_page(cursor)
        found += getattr(page, items)
        cursor = page.nextCursor
        if not cursor:
            return found


class Commands:
    def __init__(self, session, person):
        self.session = session
        self.person = person

    async def version(self, _):
        return self.session_version

    async def asked(self, _):
        return self.person.asked

    async def list_templates(self, _):
        found = await pages(self.session.list_resource_templates, "resourceTemplates")
        return [template.uriTemplate for template in found]

    async def log(self, command):
        """Sets the level, calls, and gives the messages as soon as there is one."""
        await self.session.set_logging_level(command["level"])
        await self.call(command)
        await self.person.wait_for(lambda: self.person.logs)
        return self.person.logs

    async def subscribe(self, command):
        """Subscribes, calls what changes the resource, and waits to be told."""
        await self.session.subscribe_resource(command["uri"])
        await self.call(command)
        await self.person.wait_for(lambda: command["uri"] in self.person.updated)
        await self.session.unsubscribe_resource(command["uri"])
        return self.person.updated

    async def complete(self, command):
        ref = command["ref"]
        kind = types.PromptReference if ref["type"] == "ref/prompt" else (
            types.ResourceTemplateReference
        )
        result = await self.session.complete(kind(**ref), command["argument"])
        return result.completion.values

    async def list_tools(self, _):
        return [tool.name for tool in await pages(self.session.list_tools, "tools")]

    async def list_resources(self, _):
        found = await pages(self.session.list_resources, "resources")
        return [str(resource.uri) for resource in found]

    async def list_prompts(self, _):
        return [prompt.name for prompt in await pages(self.session.list_prompts, "prompts")]

    async def call(self, command):
        return plain(await self.session.call_tool(command["name"], command.get("arguments")))

    async def call_many(self, command):
        calls = [
            self.session.call_tool(call["name"], call.get("arguments"))
            for call in command["calls"]
        ]
        return [plain(result) for result in await asyncio.gather(*calls)]

    async def progress(self, command):
        seen = []

        async def note(progress, total, message):
            seen.append({"progress": progress, "total": total, "message": message})

        result = await self.session.call_tool(
            command["name"], command.get("arguments"), progress_callback=note
        )
        return {"progress": seen, "result": plain(result)}

    async def cancel(self, command):
        """Calls, and cancels the call as soon as its first progress arrives."""
        started = asyncio.Event()

        async def note(*_):
            started.set()

        request_id = self.session._request_id
        call = asyncio.create_task(
            self.session.call_tool(
                command["name"], command.get("arguments"), progress_callback=note
            )
        )
        await started.wait()
        await self.session.send_notification(
            types.ClientNotification(
                types.CancelledNotification(
                    params=types.CancelledNotificationParams(
                        requestId=request_id, reason="no longer needed"
                    )
                )
            )
        )
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return {"request_id": request_id}

    async def read(self, command):
        return plain(await self.session.read_resource(command["uri"]))

    async def prompt(self, command):
        return plain(await self.session.get_prompt(command["name"], command.get("arguments")))


async def main():
    given = lines()
    connection = await anext(given)
    try:
        async with streams(connection) as (read, write):
            person = Person(types)
            callbacks = person.callbacks(connection.get("capable", False))
            async with ClientSession(read, write, **callbacks) as session:
                initialized = await session.initialize()
                answer({"ok": plain(initialized)})
                commands = Commands(session, person)
                commands.session_version = initialized.protocolVersion
                await serve(commands, given)
    except BaseException as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        raise
    answer({"ok": None})


asyncio.run(main())
