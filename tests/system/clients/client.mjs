// An MCP client over the TypeScript SDK (1.x), driven by lines of JSON.
//
// The argument is the folder with the packages. The first line says where to connect; each line
// after it is one command. Each line is answered with one line: {"ok": …} or {"error": …}.

import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const sdk = (path) =>
  import(pathToFileURL(join(process.argv[2], "@modelcontextprotocol/sdk/dist/esm", path)));
const { Client } = await sdk("client/index.js");
const { SSEClientTransport } = await sdk("client/sse.js");
const { StdioClientTransport } = await sdk("client/stdio.js");
const { StreamableHTTPClientTransport } = await sdk("client/streamableHttp.js");

function transport(connection) {
  const kind = connection.transport ?? connection.type ?? "stdio";
  const options = { requestInit: { headers: connection.headers } };
  if (kind === "sse") return new SSEClientTransport(new URL(connection.url), options);
  if (kind === "http" || kind === "streamableHttp") {
    return new StreamableHTTPClientTransport(new URL(connection.url), options);
  }
  const { command, args, env } = connection;
  return new StdioClientTransport({ command, args, env });
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

const client = new Client({ name: "system-test", version: "1" }, { capabilities: {} });

// Called plainly: the SDK's own validation of structured content is part of the test.
const callTool = (command, options) =>
  client.callTool({ name: command.name, arguments: command.arguments }, undefined, options);

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
};

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const failed = (error) => answer({ error: String(error) });

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const first = await lines.next();
try {
  await client.connect(transport(JSON.parse(first.value)));
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
