import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { askForServer } from "../src/chat/elicitation.js";
import { askAboutCommand, askAboutPermissions, askTheUser, type Answer, type Question } from "../src/chat/questions.js";
import { Client } from "../src/client/client.js";
import { webSocket } from "../src/client/transports.js";
import type { ServerNotification } from "../src/protocol/index.js";
import type {
  CommandExecutionRequestApprovalParams,
  McpElicitationSchema,
  McpServerElicitationRequestParams,
  PermissionsRequestApprovalParams,
} from "../src/protocol/v2/index.js";
import { Daemon, Home, Relay, Seen } from "./server.js";

let home: Home;
let daemon: Daemon;
let relay: Relay;
before(async () => {
  home = await Home.make();
  daemon = await Daemon.start(home);
  relay = await Relay.to(daemon.url);
});
after(async () => {
  relay.close();
  await daemon.kill();
  await home.remove();
});

const SERVER = { threadId: "t1", turnId: null, serverName: "loom", _meta: null };

function elicitation(params: object): McpServerElicitationRequestParams {
  return { ...SERVER, ...params } as McpServerElicitationRequestParams;
}

function form(properties: object, required: string[] = []): McpServerElicitationRequestParams {
  const requestedSchema = { type: "object", properties, required } as unknown as McpElicitationSchema;
  return elicitation({ mode: "form", message: "Which threads?", requestedSchema });
}

const labels = (question: Question) => question.choices.map((choice) => choice.label);

test("what a user fills in for an MCP server arrives there in the types of its schema; the other client hears of it", async () => {
  const [one, two] = [0, 1].map(() => new Client({ connect: webSocket({ url: relay.url }), clientInfo: { name: "t", version: "0" } }));
  assert(one && two);
  await Promise.all([one.start(), two.start()]);
  const shown = new Seen<Question>();
  const given = { colour: ["red"], count: ["3"], share: ["0.5"], tight: ["true"], sides: ["a", "b"], note: [] };
  one.handle("mcpServer/elicitation/request", async (params, { id }) => {
    const { question, respond } = askForServer(id, params);
    shown.add(question);
    return respond({ fields: given });
  });
  const withdrawn = new Seen<unknown>();
  two.handle("mcpServer/elicitation/request", (_, { signal }) => {
    return new Promise((__, reject) => signal.addEventListener("abort", () => (withdrawn.add(signal.reason), reject(signal.reason as Error))));
  });
  const params = form(
    {
      colour: { type: "string", title: "Colour", oneOf: [{ const: "red", title: "Red" }, { const: "blue", title: "Blue" }], default: "blue" },
      count: { type: "integer", minimum: 1, maximum: 9, description: "How many" },
      share: { type: "number" },
      tight: { type: "boolean", default: false },
      sides: { type: "array", items: { type: "string", enum: ["a", "b", "c"] } },
      note: { type: "string", format: "email", maxLength: 40 },
    },
    ["colour"],
  );
  const answer = await relay.ask("e1", "mcpServer/elicitation/request", params);
  const content = { colour: "red", count: 3, share: 0.5, tight: true, sides: ["a", "b"] };
  assert.deepEqual(answer, { action: "accept", content, _meta: null });
  await withdrawn.until(() => true);
  const { fields, title, reason } = await shown.until(() => true);
  assert.match(`${title} ${reason}`, /loom.*Which threads/);
  assert.deepEqual(fields[0]?.options.map(({ value, label }) => [value, label]), [["red", "Red"], ["blue", "Blue"]]);
  assert.deepEqual(fields.map((field) => field.given), [["blue"], [], [], ["false"], [], []]);
  assert.deepEqual(fields.map((field) => field.isRequired), [true, false, false, false, false, false]);
  assert.deepEqual(fields[1]?.text, { type: "number", step: "1", min: "1", max: "9" });
  assert.deepEqual(fields[5]?.text, { type: "email", maxlength: "40" });
  assert.deepEqual(fields.map((field) => field.isMany), [false, false, false, false, true, false]);
  one.close();
  two.close();
});

test("a form can be refused and dismissed; one without fields can be allowed", () => {
  const { question, respond } = askForServer("e", form({ name: { type: "string" } }));
  assert.deepEqual(labels(question), ["Refuse", "Dismiss"]);
  assert.deepEqual([0, 1, 7].map((choice) => respond({ choice }).action), ["decline", "cancel", "cancel"]);
  const empty = askForServer("e", form({}));
  assert.deepEqual(labels(empty.question), ["Allow", "Refuse", "Dismiss"]);
  assert.deepEqual(empty.respond({ choice: 0 }), { action: "accept", content: {}, _meta: null });
  assert.equal(empty.respond({ choice: 1 }).action, "decline");
});

test("an address is shown as it is before it is opened, and only one of the web can be", () => {
  const asked = askForServer("e", elicitation({ mode: "url", message: "Sign in", url: "https://example.org/in", elicitationId: "x" }));
  assert.equal(asked.question.subject, "https://example.org/in");
  assert.deepEqual(asked.opens, { choice: 0, address: "https://example.org/in" });
  assert.equal(asked.respond({ choice: 0 }).action, "accept");
  const command = askForServer("e", elicitation({ mode: "url", message: "Run", url: "command:evil", elicitationId: "x" }));
  assert.equal(command.opens, undefined);
  assert.deepEqual(labels(command.question), ["Refuse", "Dismiss"]);
});

test("a question that has no form here can still be refused, and says why", () => {
  const { question, respond } = askForServer("e", elicitation({ mode: "openai/userVerification", description: "Who?", title: "T", challenge: "c" }));
  assert.match(question.reason ?? "", /Who\?.*cannot answer/s);
  assert.equal(respond({ choice: 0 }).action, "decline");
});

test("the user's answers go back by question, chosen or typed", () => {
  const each = { header: "Yarn", question: "Which?", isOther: true, isSecret: false };
  const options = [{ label: "Wool", description: "warm" }, { label: "Linen", description: "" }];
  const questions = [{ ...each, id: "yarn", options }, { ...each, id: "key", isSecret: true, options: null }];
  const params = { threadId: "t1", turnId: "u1", itemId: "i1", isBlocking: true, autoResolutionMs: null, questions };
  const { question, respond } = askTheUser(1, params);
  assert.deepEqual(question.fields.map((field) => [field.given, field.text]), [[["Wool"], { type: "text" }], [[], { type: "password" }]]);
  assert.deepEqual(respond({ fields: { yarn: ["Linen"], key: ["x"] } }), { answers: { yarn: { answers: ["Linen"] }, key: { answers: ["x"] } } });
  assert.deepEqual(respond({ choice: 0 }), { answers: {} });
});

test("who is asked about a command sees where it runs, and for what 'always' stands", () => {
  const amendment = { acceptWithExecpolicyAmendment: { execpolicy_amendment: ["git", "push"] } };
  const params = { threadId: "t1", command: "git push", cwd: "/w", reason: "to share it", availableDecisions: ["accept", amendment, "cancel"] };
  const { question, respond } = askAboutCommand(1, params as unknown as CommandExecutionRequestApprovalParams);
  assert.deepEqual([question.subject, question.reason], ["git push", "to share it · In /w"]);
  assert.match(question.choices[1]?.detail ?? "", /git push/);
  assert.deepEqual(respond({ choice: 1 }), { decision: amendment });
  const strange: Answer = { choice: 9 };
  assert.deepEqual(respond(strange), { decision: "decline" });
});

test("permissions that are asked for stand there line by line", () => {
  const fileSystem = { read: ["/a"], write: ["/b"], entries: [{ access: "write", path: { type: "glob_pattern", pattern: "*.py" } }] };
  const params = { threadId: "t1", permissions: { fileSystem, network: { enabled: true } }, reason: null };
  const { question, respond } = askAboutPermissions(1, params as unknown as PermissionsRequestApprovalParams);
  assert.equal(question.subject, "access to the network\nread /a\nwrite /b\nwrite *.py");
  assert.deepEqual(respond({ choice: 2 }), { permissions: {} });
});

test("what comes right behind an answer reaches who begins to listen when the answer is there", async () => {
  const one = new Client({ connect: webSocket({ url: daemon.url }), clientInfo: { name: "t", version: "0" } });
  await one.start();
  const { thread } = await one.request("thread/start", { cwd: home.folder });
  const input = [{ type: "text" as const, text: "Hello", text_elements: [] }];
  const done = new Promise<void>((resolve) => one.on("turn/completed", () => resolve()));
  await one.request("turn/start", { threadId: thread.id, input });
  await done;
  await one.unfollow(thread.id);
  await one.request("thread/unsubscribe", { threadId: thread.id });
  await one.follow(thread.id, { resumed() {} });
  const seen = new Seen<ServerNotification>();
  one.onAny(seen.add);
  await seen.until((event) => event.method === "thread/tokenUsage/updated");
  one.close();
});
