"""What the clients share whichever SDK they are over: the lines of JSON by which a test drives
them, and the person who sits before them.
"""

import asyncio
import json
import sys


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def filled(schema):
    """An answer to a form: each property by its type, an enumeration by its first value."""
    values = {"integer": 7, "number": 7, "boolean": True, "array": []}
    return {
        name: (rule.get("enum") or [values.get(rule.get("type"), "Ada")])[0]
        for name, rule in (schema.get("properties") or {}).items()
    }


class Person:
    """Who sits before the client: answers what servers ask, and remembers what they said."""

    def __init__(self, types):
        """`types` are the SDK's, whose module has another name in each generation."""
        self.types = types
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
        return self.types.CreateMessageResult(
            role="assistant",
            content=self.types.TextContent(type="text", text=f"sampled: {text}"),
            model="test-model",
        )

    async def elicitation(self, _, params):
        params = plain(params)
        await self.note(self.asked, {"method": "elicitation/create", "params": params})
        content = filled(params.get("requestedSchema", {}))
        return self.types.ElicitResult(action="accept", content=content)

    async def roots(self, _):
        await self.note(self.asked, {"method": "roots/list", "params": {}})
        return self.types.ListRootsResult(roots=[self.types.Root(uri="file:///work", name="work")])

    async def log(self, params):
        await self.note(self.logs, plain(params))

    async def message(self, message):
        message = getattr(message, "root", message)
        if isinstance(message, self.types.ResourceUpdatedNotification):
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
