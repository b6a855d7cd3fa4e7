import assert from "node:assert/strict";
import { chmod, writeFile } from "node:fs/promises";
import * as path from "node:path";
import { after, before, describe, test } from "node:test";

import { Client, type ConnectionState } from "../src/client/client.js";
import { ConnectionLost, RequestTimeout, RpcError } from "../src/client/peer.js";
import { program, webSocket, type Connect } from "../src/client/transports.js";
import type { ServerNotification } from "../src/protocol/index.js";
import type { ThreadResumeResponse } from "../src/protocol/v2/index.js";
import { Daemon, Home, Seen, TURNLOOM, Wire } from "./server.js";

const CLIENT_INFO = { name: "turnloom_client_test", title: "Test", version: "0.1.0" };

let home: Home;
before(async () => void (home = await Home.make()));
after(() => home.remove());

function client(connect: Connect): Client {
  return new Client({ connect, clientInfo: CLIENT_INFO, backoffMs: [20] });
}

function notifications(of: Client): Seen<ServerNotification> {
  const seen = new Seen<ServerNotification>();
  of.onAny(seen.add);
  return seen;
}

async function startThread(of: Client, approvalPolicy: "never" | "untrusted" = "never"): Promise<string> {
  const started = await of.request("thread/start", { cwd: home.folder, approvalPolicy, sandbox: "read-only" });
  return started.thread.id;
}

function say(of: Client, threadId: string, text: string) {
  return of.request("turn/start", { threadId, input: [{ type: "text", text, text_elements: [] }] });
}

function answerIn(seen: Seen<ServerNotification>): string {
  return seen.all.map((each) => (each.method === "item/agentMessage/delta" ? each.params.delta : "")).join("");
}

const completed = (threadId: string) => (each: ServerNotification) =>
  each.method === "turn/completed" && each.params.threadId === threadId;

for (const way of ["stdio", "websocket", "unix socket"] as const) {
  describe(`over ${way}`, () => {
    let daemon: Daemon | undefined;
    let connect: Connect;

    before(async () => {
      if (way === "stdio") {
        connect = program({ command: [TURNLOOM, "app-server"], env: home.environment });
      } else {
        const listen = way === "websocket" ? "ws://127.0.0.1:0" : `unix://${path.join(home.folder, "a.sock")}`;
        daemon = await Daemon.start(home, "--listen", listen);
        connect = webSocket({ url: daemon.url });
      }
    });
    after(() => daemon?.kill());

    test("a turn streams its answer, and ends", async () => {
      const one = client(connect);
      const server = await one.start();
      assert.match(server.userAgent, /^turnloom_client_test\//);
      const seen = notifications(one);
      const threadId = await startThread(one);
      const { turn } = await say(one, threadId, "Hello");
      assert.equal(turn.status, "inProgress");
      await seen.until(completed(threadId));
      assert.match(answerIn(seen), /offline demo/);
      one.close();
      assert.equal(one.state.kind, "closed");
    });

    test("errors come with their code, and take nothing else along", async () => {
      const one = client(connect);
      await one.start();
      const missing = "01234567-89ab-7def-8123-456789abcdef";
      await assert.rejects(one.request("thread/read", { threadId: missing }), (error) => {
        assert(error instanceof RpcError);
        assert.equal(error.code, -32600);
        assert.match(error.message, new RegExp(missing));
        return true;
      });
      await assert.rejects(one.request("no/such/method" as "thread/list", {}), (error) => {
        return error instanceof RpcError && error.unknown === "no/such/method";
      });
      assert.deepEqual((await one.request("thread/loaded/list", {})).nextCursor, null);
      one.close();
    });
  });
}

describe("a request", () => {
  test("that nobody answers is given up after its time, and one that is aborted at once", async () => {
    const one = client(program({ command: ["cat"] }));
    void one.start().catch(() => {});
    await assert.rejects(one.request("model/list", {}, { timeoutMs: 30 }), ConnectionLost);
    one.close();

    const silent = client(program({ command: [TURNLOOM, "app-server"], env: home.environment }));
    await silent.start();
    const slow = { command: ["sleep", "60"], timeoutMs: 60_000 };
    await assert.rejects(silent.request("command/exec", slow, { timeoutMs: 50 }), RequestTimeout);
    const controller = new AbortController();
    const running = silent.request("command/exec", slow, { signal: controller.signal });
    controller.abort(new Error("changed my mind"));
    await assert.rejects(running, /changed my mind/);
    silent.close();
  });

  test("is refused while nothing can be reached, and says why", async () => {
    const nobody = new Client({ connect: webSocket({ url: "ws://127.0.0.1:9" }), clientInfo: CLIENT_INFO, backoffMs: [] });
    await assert.rejects(nobody.start(), /ECONNREFUSED/);
    const missing = new Client({ connect: program({ command: ["/no/such/turnloom"] }), clientInfo: CLIENT_INFO, backoffMs: [] });
    await assert.rejects(missing.start(), /cannot be started: there is no such program/);
    const nowhere = program({ command: [TURNLOOM, "app-server"], cwd: "/no/such/folder" });
    await assert.rejects(new Client({ connect: nowhere, clientInfo: CLIENT_INFO, backoffMs: [] }).start(), /no folder \/no\/such\/folder/);
    const dying = program({ command: ["node", "-e", "console.error('nothing\\nworks'); process.exitCode = 3"] });
    const ended = new Client({ connect: dying, clientInfo: CLIENT_INFO, backoffMs: [] });
    await assert.rejects(ended.start(), /has ended with status 3: works/);
  });

  test("is tried again at once when the user does not want to wait", async () => {
    let file = "/no/such/turnloom";
    const connect: Connect = () => program({ command: [file, "app-server"], env: home.environment })();
    const patient = new Client({ connect, clientInfo: CLIENT_INFO, backoffMs: [3_600_000] });
    const states = new Seen<ConnectionState>();
    patient.onState(states.add);
    const started = patient.start();
    const waiting = await states.until((state) => state.kind === "waiting");
    assert(waiting.kind === "waiting" && waiting.why === "noProgram");
    file = TURNLOOM;
    patient.hurry();
    await started;
    patient.hurry();
    assert.equal(patient.state.kind, "connected");
    patient.close();
  });

  test("is answered before what comes right behind the answer is told", async () => {
    const said = [
      { id: 1, result: { userAgent: "x" } },
      { method: "warning", params: { threadId: null, message: "first" } },
      { method: "warning", params: { threadId: null, message: "second" } },
    ];
    const server = `process.stdin.once("data", () => process.stdout.write(${JSON.stringify(said.map((each) => JSON.stringify(each) + "\n").join(""))}))`;
    const one = new Client({ connect: program({ command: ["node", "-e", server] }), clientInfo: CLIENT_INFO, backoffMs: [] });
    await one.start();
    const heard = new Seen<string>();
    one.on("warning", ({ message }) => heard.add(message));
    await heard.until((message) => message === "second");
    assert.deepEqual(heard.all, ["first", "second"]);
    one.close();
  });
});

describe("a token", () => {
  test("opens the door, and without it nobody comes in", async () => {
    const file = path.join(home.folder, "token");
    await writeFile(file, "a-token-that-is-long-enough-to-be-one\n");
    await chmod(file, 0o600);
    const daemon = await Daemon.start(home, "--ws-auth", "capability-token", "--ws-token-file", file);
    const stranger = new Client({ connect: webSocket({ url: daemon.url }), clientInfo: CLIENT_INFO, backoffMs: [] });
    await assert.rejects(stranger.start(), /asks for a token/);
    const wrong = client(webSocket({ url: daemon.url, token: "another-token-that-is-long-enough-too" }));
    const states = new Seen<ConnectionState>();
    wrong.onState(states.add);
    void wrong.start().catch(() => {});
    const refused = await states.until((state) => state.kind === "waiting");
    assert(refused.kind === "waiting" && refused.why === "token");
    assert.match(refused.reason, /refuses the token/);
    wrong.close();
    const friend = client(webSocket({ url: daemon.url, token: "a-token-that-is-long-enough-to-be-one" }));
    await friend.start();
    friend.close();
    await daemon.kill();
  });
});

describe("a lost connection", () => {
  test("is made again while a turn streams, and the thread is taken up where it is", async () => {
    const daemon = await Daemon.start(home);
    const wire = await Wire.to(daemon.url);
    const one = client(webSocket({ url: wire.url }));
    await one.start();
    const states = new Seen<ConnectionState>();
    one.onState(states.add);
    const seen = notifications(one);
    const resumed = new Seen<ThreadResumeResponse>();
    const threadId = await startThread(one);
    one.keep(threadId, { resumed: resumed.add });
    await say(one, threadId, "run: sleep 2\nrun: echo and so on");
    await seen.until((each) => each.method === "item/started" && each.params.item.type === "commandExecution");
    wire.cut();
    await states.until((state) => state.kind === "waiting");
    const { thread } = await resumed.until(() => true);
    assert.equal(thread.turns.at(-1)?.status, "inProgress");
    await seen.until(completed(threadId));
    const read = await one.request("thread/read", { threadId, includeTurns: true });
    assert.equal(read.thread.turns.at(-1)?.status, "completed");
    one.close();
    wire.close();
    await daemon.kill();
  });

  test("fails what was asked and not answered, and lets later requests wait for the next connection", async () => {
    const daemon = await Daemon.start(home);
    const wire = await Wire.to(daemon.url);
    const one = client(webSocket({ url: wire.url }));
    await one.start();
    const asked = one.request("command/exec", { command: ["sleep", "60"], timeoutMs: 60_000 });
    const lost = assert.rejects(asked, ConnectionLost);
    const states = new Seen<ConnectionState>();
    one.onState(states.add);
    wire.cut();
    await states.until((state) => state.kind === "waiting");
    const later = one.request("thread/loaded/list", {});
    await lost;
    assert.deepEqual((await later).data, []);
    one.close();
    wire.close();
    await daemon.kill();
  });

  test("to a server that was killed comes back when the server does, with what it had kept", async () => {
    const socket = path.join(home.folder, "again.sock");
    const daemon = await Daemon.start(home, "--listen", `unix://${socket}`);
    const one = client(webSocket({ url: `unix://${socket}` }));
    await one.start();
    const seen = notifications(one);
    const resumed = new Seen<ThreadResumeResponse>();
    const threadId = await startThread(one);
    one.keep(threadId, { resumed: resumed.add });
    await say(one, threadId, "Hello");
    await seen.until(completed(threadId));
    await daemon.kill("SIGKILL");
    const next = await Daemon.start(home, "--listen", `unix://${socket}`);
    const { thread } = await resumed.until(() => true);
    assert.equal(thread.turns.length, 1);
    one.close();
    await next.kill();
  });
});

describe("another server", () => {
  test("is taken when the address has changed; threads that it does not have are told", async () => {
    const daemon = await Daemon.start(home);
    let url = daemon.url;
    const one = client(() => webSocket({ url })());
    await one.start();
    const gone = new Seen<Error>();
    const ended = new Seen<ConnectionState>();
    const threadId = await startThread(one);
    one.keep(threadId, { resumed: () => assert.fail("the other server has the thread"), gone: gone.add });
    one.onState(ended.add);
    const otherHome = await Home.make();
    const other = await Daemon.start(otherHome);
    url = other.url;
    const pending = assert.rejects(one.request("command/exec", { command: ["sleep", "60"] }), ConnectionLost);
    const server = await one.reconnect();
    assert.equal(server.codexHome, otherHome.folder);
    await pending;
    assert.match((await gone.until(() => true)).message, /thread|rollout/);
    assert.deepEqual(
      ended.all.map((state) => state.kind),
      ["closed", "connecting", "connected"],
    );
    one.close();
    await Promise.all([daemon.kill(), other.kill()]);
    await otherHome.remove();
  });
});

describe("two clients", () => {
  test("are asked the same question; the first answer counts, and the other hears of it", async () => {
    const daemon = await Daemon.start(home);
    const [first, second] = [client(webSocket({ url: daemon.url })), client(webSocket({ url: daemon.url }))];
    await Promise.all([first.start(), second.start()]);
    const seen = notifications(second);
    const asked = new Seen<string>();
    const withdrawn = new Seen<string>();
    const threadId = await startThread(first, "untrusted");
    await second.follow(threadId, { resumed() {} });

    let answer!: () => void;
    const wait = new Promise<void>((resolve) => (answer = resolve));
    first.handle("item/commandExecution/requestApproval", async ({ itemId }) => {
      asked.add(`first ${itemId}`);
      await wait;
      return { decision: "accept" };
    });
    second.handle("item/commandExecution/requestApproval", ({ itemId }, { signal }) => {
      asked.add(`second ${itemId}`);
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          withdrawn.add(itemId);
          reject(signal.reason as Error);
        });
      });
    });
    await say(first, threadId, "run: touch /tmp/never && echo yes-it-ran");
    await asked.until((who) => who.startsWith("first"));
    const item = (await asked.until((who) => who.startsWith("second"))).slice("second ".length);
    assert.deepEqual(withdrawn.all, []);
    answer();
    assert.equal(await withdrawn.until(() => true), item);
    await seen.until(completed(threadId));
    assert(seen.all.some((each) => each.method === "item/completed" && each.params.item.id === item));
    first.close();
    second.close();
    await daemon.kill();
  });

  test("see one thread: what the first says streams to the second", async () => {
    const daemon = await Daemon.start(home);
    const [first, second] = [client(webSocket({ url: daemon.url })), client(webSocket({ url: daemon.url }))];
    await Promise.all([first.start(), second.start()]);
    const [here, there] = [notifications(first), notifications(second)];
    const threadId = await startThread(first);
    await second.follow(threadId, { resumed() {} });
    await say(first, threadId, "Hello");
    await Promise.all([here.until(completed(threadId)), there.until(completed(threadId))]);
    assert.equal(answerIn(there), answerIn(here));
    assert.notEqual(answerIn(here), "");
    first.close();
    second.close();
    await daemon.kill();
  });
});
