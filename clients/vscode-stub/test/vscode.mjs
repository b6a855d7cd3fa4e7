// The extension in a real VS Code in a headless browser. VSCODE_DRIVER names a module with `open` (see scripts/test-vscode).
import assert from "node:assert/strict";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { pathToFileURL } from "node:url";

const { open } = await import(pathToFileURL(process.env.VSCODE_DRIVER).href);
const { Model } = await import("../out/test/model.js");
const { Daemon, Home, TURNLOOM } = await import("../out/test/server.js");

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
  await stage.shot(two, "4-second");
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
  await stage.shot(one, "5-plan-and-error");

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
  page = await one.chat();
  await page.locator(".question button", { hasText: "Refuse" }).click();
  await two.waitText("#notes", /answered elsewhere/);
  assert.equal(await (await two.chat()).locator(".question").count(), 0);
  step("who opens the thread later is asked too; a question that was answered elsewhere goes, and says so");

  await one.openFile("made-by-the-agent");
  await two.say("run touch asked-by-notification");
  const toast = one.notification("asked-by-notification");
  await toast.waitFor();
  await stage.shot(one, "6-notification");
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
  stage.daemon = await Daemon.start(stage.home, "--listen", url);
  await (await two.chat()).locator("#connection").waitFor({ state: "hidden" });
  await two.say("Still there?");
  await two.waitText("section.turn:last-of-type .message.agent", /An answer/);
  step("the daemon was killed and came back, and the chat went on");

  await one.page.reload();
  await one.page.locator(".monaco-workbench .part.statusbar").waitFor();
  await one.page.locator(".tab", { hasText: /Hello there|Warp and weft/ }).first().click();
  await one.waitText(".message.user", /Hello there/);
  await one.waitText(".tab.active .label-name", /Warp and weft/);
  step("a tab comes back with its thread when the window is loaded again");

  // Each window would start a server of its own, and a thread is loaded by one server at a time.
  await one.close();
  await stage.daemon.kill("SIGKILL");
  const command = [TURNLOOM, "app-server"];
  await writeFile(path.join(workspace, ".vscode", "settings.json"), JSON.stringify({ "turnloom.command": command }));
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
  assert.match(tree, /button "Model: test-model"/);
  assert.match(tree, /- combobox "Message"/);
}
