// An MCP client over the TypeScript SDK, driven by lines of JSON: the package of 1.x, or with a
// "mode" in the first line that of 2.x, which speaks both eras ("legacy" or "auto").
//
// The argument is the folder with the packages. The first line says where to connect; each line
// after it is one command. Each line is answered with one line: {"ok": …} or {"error": …}. With
// "capable": true in the first line the client answers sampling, elicitation and roots, and says
// so to the server.

import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const load = (path) =>
  import(pathToFileURL(join(process.argv[2], "@modelcontextprotocol", path)));

// The parts of the SDK of either generation, under the same names.
async function generation(isNew) {
  if (isNew) {
    const sdk = await load("client/dist/index.mjs");
    const on = (client, method, handle) => client.setRequestHandler(method, handle);
    const hear = (client, method, handle) => client.setNotificationHandler(method, handle);
    return { ...sdk, on, hear };
  }
  const old = (path) => load(join("sdk/dist/esm", path));
  const types = await old("types.js");
  const schemas = {
    "sampling/createMessage": types.CreateMessageRequestSchema,
    "elicitation/create": types.ElicitRequestSchema,
    "roots/list": types.ListRootsRequestSchema,
    "notifications/message": types.LoggingMessageNotificationSchema,
    "notifications/resources/updated": types.ResourceUpdatedNotificationSchema,
  };
  return {
    ...(await old("client/index.js")),
    ...(await old("client/sse.js")),
    ...(await old("client/stdio.js")),
    ...(await old("client/streamableHttp.js")),
    on: (client, method, handle) => client.setRequestHandler(schemas[method], handle),
    hear: (client, method, handle) => client.setNotificationHandler(schemas[method], handle),
  };
}

function transport(sdk, connection) {
  const kind = connection.transport ?? connection.type ?? "stdio";
  const options = { requestInit: { headers: connection.headers } };
  if (kind === "sse") return new sdk.SSEClientTransport(new URL(connection.url), options);
  if (kind === "http" || kind === "streamableHttp") {
    return new sdk.StreamableHTTPClientTransport(new URL(connection.url), options);
  }
  const { command, args, env } = connection;
  return new sdk.StdioClientTransport({ command, args, env });
}

async function pages(list, items) {
  const found = [];
  let cursor;
  do {
    const page = await list(cursor ? { cursor } : {});
    found.push(...page[items]);
    cursor = page.nextCursor;
  } while (cursor);
  return found;
}

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const failed = (error) => answer({ error: String(error) });

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const connection = JSON.parse((await lines.next()).value);
const sdk = await generation(connection.mode !== undefined);
const capabilities = connection.capable
  ? { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } }
  : {};
const negotiation = connection.mode ? { versionNegotiation: { mode: connection.mode } } : {};
const client = new sdk.Client(
  { name: "system-test", version: "1" },
  { capabilities, ...negotiation },
);
const version = () => client.getNegotiatedProtocolVersion?.();
const isModern = () => version() >= "2026-07-28";

// Who sits before the client: answers what servers ask, and remembers what they said.
const [asked, logs, updated] = [[], [], []];
let wake = [];
const note = (where, what) => {
  where.push(what);
  wake.splice(0).forEach((go) => go());
};
async function until(holds) {
  const timeout = AbortSignal.timeout(20_000);
  while (!holds()) {
    await new Promise((go, fail) => {
      wake.push(go);
      timeout.addEventListener("abort", () => fail(new Error("nothing came in 20 s")));
    });
  }
}
// An answer to a form: each property by its type, an enumeration by its first value.
const filled = (schema) =>
  Object.fromEntries(
    Object.entries(schema?.properties ?? {}).map(([name, rule]) => {
      const values = { integer: 7, number: 7, boolean: true, array: [] };
      return [name, rule.enum?.[0] ?? values[rule.type] ?? "Ada"];
    }),
  );
if (connection.capable) {
  sdk.on(client, "sampling/createMessage", ({ params }) => {
    note(asked, { method: "sampling/createMessage", params });
    const last = params.messages.at(-1).content;
    const { text } = Array.isArray(last) ? last[0] : last;
    const content = { type: "text", text: `sampled: ${text}` };
    return { role: "assistant", content, model: "test-model" };
  });
  sdk.on(client, "elicitation/create", ({ params }) => {
    note(asked, { method: "elicitation/create", params });
    return { action: "accept", content: filled(params.requestedSchema) };
  });
  sdk.on(client, "roots/list", () => {
    note(asked, { method: "roots/list", params: {} });
    return { roots: [{ uri: "file:///work", name: "work" }] };
  });
}
sdk.hear(client, "notifications/message", ({ params }) => note(logs, params));
sdk.hear(client, "notifications/resources/updated", ({ params }) => note(updated, params.uri));

// Called plainly: the SDK's own validation of structured content is part of the test.
const callTool = (command, options) => {
  const params = { name: command.name, arguments: command.arguments, ...command.extra };
  return connection.mode
    ? client.callTool(params, options)
    : client.callTool(params, undefined, options);
};

const commands = {
  list_tools: async () =>
    (await pages((page) => client.listTools(page), "tools")).map((tool) => tool.name),
  list_resources: async () =>
    (await pages((page) => client.listResources(page), "resources")).map(({ uri }) => uri),
  list_prompts: async () =>
    (await pages((page) => client.listPrompts(page), "prompts")).map(({ name }) => name),
  call: (command) => callTool(command),
  call_many: ({ calls }) => Promise.all(calls.map((call) => callTool(call))),
  progress: async (command) => {
    const progress = [];
    const result = await callTool(command, { onprogress: (note) => progress.push(note) });
    return { progress, result };
  },
  // Calls, and cancels the call as soon as its first progress arrives.
  cancel: async (command) => {
    const abort = new AbortController();
    const call = callTool(command, {
      onprogress: () => abort.abort("no longer needed"),
      signal: abort.signal,
    });
    return call.then(
      () => Promise.reject(new Error("the call was not cancelled")),
      (error) => ({ cancelled: String(error) }),
    );
  },
  read: ({ uri }) => client.readResource({ uri }),
  prompt: (command) => client.getPrompt({ name: command.name, arguments: command.arguments }),
  version,
  asked: () => asked,
  list_templates: async () =>
    (await pages((page) => client.listResourceTemplates(page), "resourceTemplates")).map(
      ({ uriTemplate }) => uriTemplate,
    ),
  // Sets the level, calls, and gives the messages as soon as there is one.
  log: async (command) => {
    const _meta = { "io.modelcontextprotocol/logLevel": command.level };
    if (isModern()) {
      await callTool({ ...command, extra: { _meta } });
    } else {
      await client.setLoggingLevel(command.level);
      await callTool(command);
    }
    await until(() => logs.length > 0);
    return logs;
  },
  // Subscribes, calls what changes the resource, and waits to be told.
  subscribe: async (command) => {
    const { uri } = command;
    const listening = isModern()
      ? await client.listen({ resourceSubscriptions: [uri] })
      : await client.subscribeResource({ uri });
    await callTool(command);
    await until(() => updated.includes(uri));
    await (isModern() ? listening.close() : client.unsubscribeResource({ uri }));
    return updated;
  },
  complete: async ({ ref, argument }) =>
    (await client.complete({ ref, argument })).completion.values,
};

try {
  await client.connect(transport(sdk, connection));
  answer({ ok: client.getServerVersion() ?? {} });
} catch (error) {
  failed(error);
  process.exit(1);
}
for await (const line of lines) {
  const command = JSON.parse(line);
  if (command.op === "close") break;
  try {
    answer({ ok: (await commands[command.op](command)) ?? null });
  } catch (error) {
    failed(error);
  }
}
await client.close();
answer({ ok: null });
process.exit(0);
