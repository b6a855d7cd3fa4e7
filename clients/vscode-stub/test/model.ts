/** A server of models that does what the user's text says, over real HTTP and server-sent events. */

import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";

interface Body {
  input: { type: string; role?: string; content?: { text?: string }[]; output?: unknown }[];
}

const PATCH = `apply_patch <<'EOF'
*** Begin Patch
*** Update File: greeting.txt
@@
-Hello
+Hello, world
*** Add File: new.txt
+A new file
*** End Patch
EOF`;

const STEPS = [
  { step: "Look at the loom", status: "completed" },
  { step: "Weave", status: "in_progress" },
];

const QUESTIONS = [
  {
    id: "yarn",
    header: "Yarn",
    question: "Which yarn shall it be?",
    options: [
      { label: "Wool", description: "Warm, and it forgives mistakes" },
      { label: "Linen", description: "Cool, and it wears well" },
    ],
  },
  { id: "colour", header: "Colour", question: "In which colour?", options: [{ label: "Undyed", description: "As it is" }] },
];

const PROPOSAL = `Then this is how.

<proposed_plan>
# A cloth

1. Warp the loom
2. Weave it
</proposed_plan>
`;

/**
 * `propose` asks the user (in plan mode) and proposes a plan, `patch` changes files, `run COMMAND` runs one, `steps` shows a plan, `hold` answers when it is let go, `fail` is
 * refused; all else is answered with Markdown.
 */
export class Model {
  private number = 0;
  private letGo = () => {};

  private constructor(
    private readonly server: http.Server,
    readonly url: string,
  ) {}

  static async start(): Promise<Model> {
    const server = http.createServer((request, response) => void model.answer(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const model: Model = new Model(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`);
    return model;
  }

  /** What belongs into config.toml for a daemon that uses this model. */
  get config(): string {
    return `model = "test-model"
model_provider = "test"
[model_providers.test]
name = "test"
base_url = "${this.url}"
wire_api = "responses"
`;
  }

  /** Lets the answer that is on hold come to its end. */
  release(): void {
    this.letGo();
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.method !== "POST") return void response.writeHead(404).end();
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Body;
    const text = said(body);
    if (text.startsWith("fail")) {
      const error = { message: "the loom is broken", type: "invalid_request_error" };
      return void response.writeHead(400, { "Content-Type": "application/json" }).end(JSON.stringify({ error }));
    }
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const send = (type: string, members: object) =>
      response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`);
    send("response.created", { response: { id: "r" } });
    for (const item of this.itemsFor(body)) {
      const deltas = item.type === "message" ? item.content[0].text.split(/(?<=\s)/) : [];
      send("response.output_item.added", { item: { ...item, ...(deltas.length > 0 ? { content: [] } : {}) } });
      for (const delta of deltas) {
        send("response.output_text.delta", { item_id: item.id, delta });
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (text.startsWith("hold")) await new Promise<void>((resolve) => (this.letGo = resolve));
      send("response.output_item.done", { item });
    }
    const usage = { input_tokens: 1200, output_tokens: 34, total_tokens: 1234 };
    send("response.completed", { response: { id: "r", usage } });
    response.end();
  }

  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the items of a provider's API have no type of ours
  private itemsFor(body: Body): any[] {
    const id = `i${this.number++}`;
    const say = (text: string) => ({ type: "message", role: "assistant", id, content: [{ type: "output_text", text }] });
    const call = (name: string, given: object) => ({
      type: "function_call",
      id,
      call_id: id,
      name,
      arguments: JSON.stringify(given),
    });
    const run = (cmd: string) => call("exec_command", { cmd });
    const text = said(body);
    const output = body.input.at(-1)?.type.endsWith("_output") ? JSON.stringify(body.input.at(-1)?.output) : undefined;
    if (text.startsWith("propose")) {
      if (output === undefined) return [call("request_user_input", { questions: QUESTIONS })];
      return [say(`You have answered ${output.replaceAll("\\", "")}. ${PROPOSAL}`)];
    }
    if (output !== undefined) return [say("Done.")];
    const command = /\brun (.+)/.exec(text)?.[1];
    if (command !== undefined) return [run(command)];
    if (text.includes("patch")) return [run(PATCH)];
    if (text.includes("steps")) return [call("update_plan", { plan: STEPS })];
    if (text.startsWith("hold")) return [say("Holding the thread")];
    if (text.includes("From new.txt")) return [say(`You have attached: ${text}`)];
    const thoughts = { type: "reasoning", id: `${id}r`, summary: [{ type: "summary_text", text: "**Thinking** about it" }] };
    const table = "| name | value |\n| --- | --- |\n| one | 1 |";
    return [thoughts, say(`# An answer\n\nSome **bold** text and \`code\`:\n\n\`\`\`python\nprint("hi")\n\`\`\`\n\n- first\n- second\n\n${table}\n`)];
  }
}

/** What the user has said last. */
function said(body: Body): string {
  const message = body.input.filter((item) => item.role === "user").at(-1);
  return message?.content?.map((part) => part.text ?? "").join(" ") ?? "";
}
