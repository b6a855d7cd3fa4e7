// The extension in a real VS Code in a headless browser. VSCODE_DRIVER names a module with `open` (see scripts/test-vscode).
import assert from "node:assert/strict";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import * as http from "node:http";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { pathToFileURL } from "node:url";

const { open } = await import(pathToFileURL(process.env.VSCODE_DRIVER).href);
const { Client } = await import("../out/src/client/client.js");
const { webSocket } = await import("../out/src/client/transports.js");
const { Model } = await import("../out/test/model.js");
const { Daemon, Home, Relay, TURNLOOM } = await import("../out/test/server.js");

const shots = process.env.SCREENSHOTS ?? "";
const vsix = path.resolve(import.meta.dirname, "..", "turnloom-0.1.0.vsix");
const step = (text) => console.log(`- ${text}`);

const THEMES = { dark: "Default Dark Modern", light: "Default Light Modern", contrast: "Default High Contrast" };
const [only] = process.argv.slice(2);
for (const look of Object.keys(THEMES)) {
  if (only !== undefined && only !== look) continue;
  console.log(THEMES[look]);
  const stage = await setStage(look);
  try {
    await conversation(stage);
    // What no theme changes is looked at once.
    if (look === "dark") await everythingElse(stage);
  } catch (error) {
    await stage.report();
    throw error;
  } finally {
    await stage.end();
  }
}

/** A model, a daemon, a workspace, and windows on them. */
async function setStage(look) {
  const workspace = await mkdtemp(path.join(tmpdir(), "turnloom-workspace-"));
  await writeFile(path.join(workspace, "greeting.txt"), "Hello\nsecond line\n");
  await mkdir(path.join(workspace, "lib"));
  await writeFile(path.join(workspace, "lib", "weaving.py"), "print('warp')\n");
  const model = await Model.start();
  const home = await Home.make();
  await writeFile(path.join(home.folder, "config.toml"), `approval_policy = "untrusted"\nsandbox_mode = "workspace-write"\n${model.config}`);
  const daemon = await Daemon.start(home);
  // In a window on another machine, as this one is, the user's own settings do not say where the server is.
  await mkdir(path.join(workspace, ".vscode"));
  await writeFile(path.join(workspace, ".vscode", "settings.json"), JSON.stringify({ "turnloom.url": daemon.url }));
  const stage = {
    look,
    workspace,
    model,
    home,
    daemon,
    windows: [],
    async window() {
      const settings = {
        "workbench.colorTheme": THEMES[look],
        "security.workspace.trust.enabled": false,
        "workbench.startupEditor": "none",
      };
      const window = await open({ extension: vsix, workspace, settings, env: { CODEX_HOME: home.folder } });
      stage.windows.push(window);
      window.chat = async () => {
        await window.waitText("#send", /Send|Steer/);
        return window.frameOf("#text");
      };
      window.say = async (text) => {
        const page = await window.chat();
        await page.locator("#text").fill(text);
        await page.locator("#text").press("Enter");
      };
      window.type = async (text) => {
        const input = window.page.locator('.quick-input-widget:not([style*="display: none"]) .quick-input-box input');
        await input.waitFor();
        await input.fill(text);
        await window.page.keyboard.press("Enter");
      };
      window.choose = async (text) => {
        await window.page.locator(".quick-input-list .monaco-list-row").first().waitFor();
        await window.page.locator('.quick-input-widget:not([style*="display: none"]) .quick-input-box input').fill(text);
        // The list is made anew as it is found out what fits.
        await window.page.locator(".quick-input-list .monaco-list-row.focused", { hasText: text }).waitFor();
        await window.page.keyboard.press("Enter");
      };
      window.openFile = async (name) => {
        await window.runCommand("File: Focus on Files Explorer");
        await window.page.locator(".explorer-folders-view .monaco-list-row", { hasText: name }).first().dblclick();
        await window.waitText(".tab.active .label-name", name);
      };
      window.showThreads = async () => {
        const list = window.page.locator(".pane-header", { hasText: "Threads" });
        if (!(await list.isVisible())) await window.page.locator('.activitybar .action-label[aria-label="Turnloom"]').click();
        await window.page.locator('[id="workbench.parts.sidebar"]', { hasText: "Turnloom: Threads" }).waitFor();
      };
      window.notification = (text) => window.page.locator(".notification-list-item", { hasText: text });
      return window;
    },
    async threadNamed(name) {
      const client = new Client({ connect: webSocket({ url: stage.daemon.url }), clientInfo: { name: "test", version: "0" } });
      await client.start();
      const { data } = await client.request("thread/list", { searchTerm: name });
      client.close();
      return data.find((thread) => thread.forkedFromId === null).id;
    },
    async shot(window, name) {
      if (shots !== "") await window.screenshot(path.join(shots, `${look}-${name}.png`));
    },
    async report() {
      for (const [number, window] of stage.windows.entries()) {
        await stage.shot(window, `failed-${number + 1}`).catch(() => {});
        console.error(await window.textOf(".notification-list-item, #connection, #notes").catch(() => ""));
        console.error(await window.page.locator("#turnloom\\.turnloom\\.turnloom").innerHTML({ timeout: 1000 }).catch(() => ""));
        console.error((await window.log("Turnloom.log").catch(() => "")).slice(-3000));
      }
    },
    async end() {
      for (const window of stage.windows) await window.close();
      await stage.daemon.kill("SIGKILL");
      model.close();
      await home.remove();
      await rm(workspace, { recursive: true, force: true });
    },
  };
  return stage;
}

async function conversation(stage) {
  const { workspace } = stage;
  const one = await stage.window();
  await one.waitText(".statusbar-item", "Turnloom");
  await one.runCommand("Turnloom: New Thread");
  const page = await one.chat();

  await one.say("Hello there");
  await one.waitText(".message.agent", /An answer/);
  await one.waitText("#usage", /1,234/);
  assert.equal(await page.locator(".message.agent pre code").first().textContent(), 'print("hi")');
  assert.equal(await page.locator(".message.agent table td").count(), 2);
  assert.equal(await page.locator("details.reasoning").first().getAttribute("open"), null);
  await page.locator("details.reasoning summary").first().click();
  await one.waitText("details.reasoning[open]", /Thinking about it/);
  step("a thread was started, and its answer streamed, its reasoning folded");
  await stage.shot(one, "1-answer");

  await page.locator("#text").fill("half a thought");
  await page.locator("#text").press("Enter");
  await one.waitText(".message.user", /half a thought/);
  await one.say("run touch made-by-the-agent && echo it-ran");
  await one.waitText(".question", /Run this command/);
  assert.equal(await page.evaluate(() => document.activeElement?.id), "text", "a question must not take the focus");
  await named(page);
  await stage.shot(one, "2-question");
  await page.locator(".question button.primary").click();
  await one.waitText(".item.command pre", /it-ran/);
  await one.waitText(".item.command .status", /exit code 0/);
  step("a command was asked about, allowed, and shows its output and exit code");

  await one.say("make the patch");
  await one.waitText(".item.files", /greeting\.txt/);
  const allow = page.locator(".question button.primary");
  if (await allow.count()) await allow.click();
  await one.waitText(".item.files .head", /completed/);
  assert.equal(await readFile(path.join(workspace, "greeting.txt"), "utf8"), "Hello, world\nsecond line\n");
  await page.locator(".item.files button.link").first().click();
  await one.waitText(".tab .label-name", /greeting\.txt \(changed\)/);
  await one.waitText(".monaco-diff-editor .view-lines", /Hello,\s+world/);
  step("files were changed, and the diff editor shows how");
  await stage.shot(one, "3-diff");

  const mode = page.locator("#mode");
  assert.equal(await mode.getAttribute("aria-pressed"), "false");
  await mode.press("Space");
  await page.locator('#mode[aria-pressed="true"]').waitFor();
  await one.say("propose a cloth");
  await one.waitText(".question", /Which yarn shall it be/);
  await named(page);
  await page.getByRole("radio", { name: /Wool/ }).press("ArrowDown");
  await page.getByRole("textbox", { name: "Another answer" }).last().fill("madder red");
  await stage.shot(one, "4-form");
  await page.getByRole("textbox", { name: "Another answer" }).last().press("Enter");
  await one.waitText(".message.agent", /"yarn":\{"answers":\["Linen"\]\},"colour":\{"answers":\["madder red"\]\}/);
  await one.waitText(".message.plan", /Proposed plan[^]*Warp the loom[^]*Weave it/);
  await page.locator("#implement").waitFor();
  await named(page);
  await stage.shot(one, "5-proposal");
  await page.locator("#text").press("Shift+Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "implement");
  await page.locator("#implement").press("Enter");
  await one.waitText(".message.user", /Implement the plan/);
  await page.locator('#mode[aria-pressed="false"]').waitFor();
  // The effort of plan mode goes with it.
  await page.getByRole("button", { name: "Model: test-model", exact: true }).waitFor();
  await page.locator("#proposal").waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement?.id), "text", "the focus must not be lost with the button");
  step("in plan mode the agent asked, a form answered, a plan was proposed and let be done, by the keyboard alone");

  const two = await stage.window();
  await two.showThreads();
  await two.waitText(".monaco-list-row", /Hello there/);
  await two.page.locator(".monaco-list-row", { hasText: "Hello there" }).first().click();
  await two.waitText(".message.agent", /An answer/);
  await one.say("Hello again");
  await two.waitText(".message.user", /Hello again/);
  await two.say("And from here");
  await one.waitText(".message.user", /And from here/);
  step("a second window sees the same thread, both ways");
  await stage.shot(two, "6-second");
}

async function everythingElse(stage) {
  const { model, workspace, windows } = stage;
  const [one, two] = windows;
  let page = await one.chat();

  await page.locator("#text").fill("look at @weav");
  await one.waitText("#completions [role=option]", /lib\/weaving\.py/);
  await page.locator("#text").press("Enter");
  assert.equal(await page.locator("#text").inputValue(), "look at @lib/weaving.py ");
  await page.locator("#text").fill("");
  step("a file is mentioned by a part of its name");

  await one.say("hold on");
  await one.waitText(".message.agent", /Holding the thread/);
  await one.waitText("#send", /Steer/);
  await one.say("rather this way");
  await one.waitText(".message.user", /rather this way/);
  model.release();
  await one.waitText("#send", /Send/);
  const turns = page.locator("section.turn");
  assert.equal(await turns.last().locator(".message.user").count(), 2);
  await one.say("hold it");
  await one.waitText("section.turn:last-of-type .message.agent", /Holding the thread/);
  await page.locator("#stop").click();
  await one.waitText("section.turn:last-of-type .outcome", /Stopped/);
  await one.waitText("#send", /Send/);
  step("a running turn was steered, and another one stopped");

  await one.say("show the steps");
  await one.waitText(".plan-steps .completed", /Look at the loom/);
  await one.waitText(".plan-steps .inProgress", /Weave/);
  await one.say("fail now");
  await one.waitText("section.turn:last-of-type .outcome.failed", /the loom is broken/);
  step("a plan and an error are shown");
  await stage.shot(one, "7-plan-and-error");

  await page.locator("#text").fill("a draft");
  await one.runCommand("Developer: Reload Webviews");
  await one.waitText(".plan-steps .inProgress", /Weave/);
  await one.waitText("section.turn:last-of-type .outcome.failed", /the loom is broken/);
  page = await one.chat();
  assert.equal(await page.locator("#text").inputValue(), "a draft");
  await page.locator("#text").fill("");
  step("a page that is loaded anew shows all of the thread, its steps and the draft");

  await page.locator("#model").click();
  await one.choose("test-model");
  await one.choose("high");
  await one.waitText("#model", /test-model/);
  await page.locator("#permissions").click();
  await one.choose(":read-only");
  await one.choose("Ask about everything unknown");
  await one.waitText("#permissions", /:read-only/);
  await two.waitText("#permissions", /:read-only/);
  step("model and permissions were chosen, and the other window shows them");

  await one.openFile("new.txt");
  await one.page.locator(".monaco-editor .view-lines", { hasText: "A new file" }).first().click();
  await one.page.keyboard.press("Control+Home");
  await one.page.keyboard.press("Shift+End");
  await one.runCommand("Turnloom: Attach Selection to the Chat");
  await one.waitText("#attachments .chip", /new\.txt:1-1/);
  await one.say("What is this?");
  await one.waitText("section.turn:last-of-type .message.agent", /You have attached: What is this\?[^]*A new file/);
  step("a selection went along with a message");

  await one.openFile("made-by-the-agent");
  await one.runCommand("View: Close Other Editors in Group");
  await two.say("run touch asked-by-notification");
  await two.waitText(".question", /Run this command/);
  step("a question is asked while the chat of the first window is closed");
  await one.showThreads();
  await one.page.locator(".monaco-list-row", { hasText: "Hello there" }).first().click();
  await one.waitText(".question", /Run this command/);
  await one.waitText(".plan-steps .inProgress", /Weave/);
  page = await one.chat();
  await page.locator(".question button", { hasText: "Refuse" }).click();
  await two.waitText("#notes", /answered elsewhere/);
  assert.equal(await (await two.chat()).locator(".question").count(), 0);
  step("who opens the thread later is asked too; a question that was answered elsewhere goes, and says so");

  await one.openFile("made-by-the-agent");
  await two.say("run touch asked-by-notification");
  const toast = one.notification("asked-by-notification");
  await toast.waitFor();
  await toast.hover();
  await stage.shot(one, "8-notification");
  await toast.locator(".monaco-button", { hasText: "Allow once" }).click();
  const again = one.notification("outside the sandbox");
  await again.locator(".monaco-button", { hasText: "Refuse" }).click();
  await two.waitText("section.turn:last-of-type .item.command .status", /exit code|declined/);
  assert.equal(await (await two.chat()).locator(".question").count(), 0);
  step("a notification asks where the chat is not in sight, and its button answers");

  await one.showThreads();
  await two.runCommand("Turnloom: Rename Thread");
  await two.type("Warp and weft");
  await one.waitText(".monaco-list-row", /Warp and weft/);
  await one.runCommand("Turnloom: Search Threads");
  await one.type("no thread has this");
  await one.waitText(".pane-body .message", /no thread has this/);
  await one.page.locator(".monaco-list-row", { hasText: "Warp and weft" }).waitFor({ state: "detached" });
  await one.runCommand("Turnloom: Search Threads");
  await one.type("weft");
  await one.waitText(".monaco-list-row", /Warp and weft/);
  await one.runCommand("Turnloom: Search Threads");
  await one.type("rather this");
  await one.waitText(".monaco-list-row", /Warp and weft.*rather this way/s);
  await one.runCommand("Turnloom: Search Threads");
  await one.type("");
  await two.runCommand("Turnloom: Fork Thread");
  await two.page.waitForFunction(() => document.querySelectorAll(".tabs-container .tab").length === 2);
  await one.runCommand("Turnloom: Refresh Threads");
  await one.page.waitForFunction(() => document.querySelectorAll(".pane-body .monaco-list-row").length >= 2);
  await two.runCommand("Turnloom: Archive Thread");
  await two.notification("is archived").locator(".monaco-button", { hasText: "Undo" }).waitFor();
  await one.page.waitForFunction(() => document.querySelectorAll(".pane-body .monaco-list-row").length === 1);
  await two.notification("is archived").locator(".monaco-button", { hasText: "Undo" }).click();
  await one.page.waitForFunction(() => document.querySelectorAll(".pane-body .monaco-list-row").length === 2);
  step("a thread was renamed, searched for, forked and archived, and the list of the other window follows");

  const { url } = stage.daemon;
  await stage.daemon.kill("SIGKILL");
  await two.waitText("#connection", /No connection|Connecting/);
  await one.page.reload();
  await one.page.locator(".monaco-workbench .part.statusbar").waitFor();
  await one.page.locator(".tab", { hasText: /Hello there|Warp and weft/ }).first().click();
  await one.waitText("#waiting", /no connection to a server[^]*Try again/);
  stage.daemon = await Daemon.start(stage.home, "--listen", url);
  await (await two.chat()).locator("#connection").waitFor({ state: "hidden" });
  await two.say("Still there?");
  await two.waitText("section.turn:last-of-type .message.agent", /An answer/);
  step("the daemon was killed and came back, and the chat went on");

  await one.waitText(".message.user", /Hello there/);
  await one.waitText(".tab.active .label-name", /Warp and weft/);
  await one.waitText(".plan-steps .inProgress", /Weave/);
  await one.waitText(".message.plan", /Warp the loom/);
  await one.waitText("#usage", /[1-9]/);
  step("a tab of a window that was loaded again waited for the server, and came back with its thread");

  const settle = (settings) => writeFile(path.join(workspace, ".vscode", "settings.json"), JSON.stringify(settings));
  const statusBar = (window, text) => window.page.locator(`[aria-label^="Turnloom: ${text}"]`).first().waitFor();
  const relay = await Relay.to(url);
  try {
    await settle({ "turnloom.url": relay.url });
    for (const window of windows) await statusBar(window, `connected to ${relay.url}`);
    const threadId = await stage.threadNamed("Warp and weft");
    const properties = {
      warp: { type: "integer", title: "Warp threads", minimum: 1, maximum: 99 },
      edge: { type: "string", title: "Edge", oneOf: [{ const: "s", title: "Selvedge" }, { const: "f", title: "Fringe" }] },
      sides: { type: "array", title: "Sides", items: { type: "string", enum: ["left", "right"] } },
      tight: { type: "boolean", title: "Tight", default: false },
    };
    const requestedSchema = { type: "object", properties, required: ["warp", "edge"] };
    const params = { threadId, turnId: null, serverName: "loom", mode: "form", message: "How shall the cloth be?", requestedSchema };
    const answer = relay.ask("e1", "mcpServer/elicitation/request", params);
    await one.waitText(".question", /The server “loom” asks[^]*How shall the cloth be/);
    page = await one.chat();
    await named(page);
    const submit = page.getByRole("button", { name: "Answer", exact: true });
    await page.getByRole("spinbutton", { name: "Warp threads" }).fill("100");
    await page.getByRole("radio", { name: "Fringe" }).check();
    await submit.click();
    assert.equal(await page.locator(".question input:invalid").count(), 1, "more threads than the server takes");
    await page.getByRole("spinbutton", { name: "Warp threads" }).fill("42");
    await page.getByRole("checkbox", { name: "right" }).check();
    await stage.shot(one, "9-elicitation");
    await submit.click();
    assert.deepEqual((await answer).content, { warp: 42, edge: "f", sides: ["right"], tight: false });
    await page.locator(".question").waitFor({ state: "detached" });
    step("the form of an MCP server was checked and filled in");
  } finally {
    relay.close();
  }

  // Each window would start a server of its own, and a thread is loaded by one server at a time.
  await one.close();
  await stage.daemon.kill("SIGKILL");
  await settle({ "turnloom.command": ["/no/such/turnloom"] });
  await two.waitText('[id="workbench.parts.sidebar"]', /The server's program was not found/);
  await two.waitText("#connection", /no such program/);
  await two.runCommand("Turnloom: New Thread");
  await two.notification("there is no such program").locator(".monaco-button", { hasText: "Open Settings" }).hover();
  await stage.shot(two, "10-no-program");
  const gate = http.createServer().on("upgrade", (_, socket) => socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n"));
  await new Promise((resolve) => gate.listen(0, "127.0.0.1", resolve));
  await settle({ "turnloom.url": `ws://127.0.0.1:${gate.address().port}` });
  await two.waitText('[id="workbench.parts.sidebar"]', /The server asks for a token/);
  await two.page.locator(".monaco-button", { hasText: "Set the token" }).click();
  await two.type("a-token");
  await two.waitText("#connection", /refuses the token/);
  gate.close();
  step("without a program, and without the right token, the window says so and what can be done");

  const command = [TURNLOOM, "app-server"];
  await settle({ "turnloom.command": command });
  await two.page.locator(`[aria-label="Turnloom: connected to ${command.join(" ")}"]`).first().waitFor();
  await two.say("And over stdio?");
  await two.waitText(".message.user", /And over stdio/);
  await two.waitText("section.turn:last-of-type .message.agent", /An answer/);
  step("the settings have changed, and the chat went on with a server that the window has started");
}

/** Everything that can be used has a name for those who cannot see it. */
async function named(page) {
  const tree = await page.locator("body").ariaSnapshot();
  const nameless = tree.split("\n").filter((line) => /^\s*- (button|textbox|combobox|checkbox|radio|link)(:| \[|$)/.test(line));
  assert.deepEqual(nameless, [], tree);
  assert.match(tree, /- button "(Send|Steer)"/);
  assert.match(tree, /button "Model: test-model/);
  assert.match(tree, /- combobox "Message"/);
}
