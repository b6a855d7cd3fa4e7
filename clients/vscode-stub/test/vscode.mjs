// The extension in a real VS Code in a headless browser. VSCODE_DRIVER names a module with `open` (see scripts/test-vscode).
import assert from "node:assert/strict";
import { mkdtemp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { pathToFileURL } from "node:url";

const { open } = await import(pathToFileURL(process.env.VSCODE_DRIVER).href);
const { Model } = await import("../out/test/model.js");
const { Daemon, Home } = await import("../out/test/server.js");

const shots = process.env.SCREENSHOTS ?? "";
const vsix = path.resolve(import.meta.dirname, "..", "turnloom-0.1.0.vsix");
const shot = async (vs, name) => {
  if (shots !== "") await vs.screenshot(path.join(shots, `${name}.png`));
};
const step = (text) => console.log(`- ${text}`);

for (const theme of ["Default Dark Modern", "Default Light Modern", "Default High Contrast"]) {
  console.log(theme);
  await tour(theme);
}

async function tour(theme) {
  const look = theme.split(" ")[1].toLowerCase();
  const workspace = await mkdtemp(path.join(tmpdir(), "turnloom-workspace-"));
  await writeFile(path.join(workspace, "greeting.txt"), "Hello\nsecond line\n");
  await mkdir(path.join(workspace, "lib"));
  await writeFile(path.join(workspace, "lib", "weaving.py"), "print('warp')\n");
  const model = await Model.start();
  const home = await Home.make();
  await writeFile(path.join(home.folder, "config.toml"), `approval_policy = "untrusted"\nsandbox_mode = "workspace-write"\n${model.config}`);
  const daemon = await Daemon.start(home);
  const settings = {
    "turnloom.url": daemon.url,
    "workbench.colorTheme": theme,
    "security.workspace.trust.enabled": false,
    "workbench.startupEditor": "none",
  };
  const windows = [];
  try {
    const one = await open({ extension: vsix, workspace, settings });
    windows.push(one);
    await one.runCommand("Turnloom: New Thread");
    await one.waitText(".statusbar-item", "Turnloom");
    await one.waitText("#send", "Send");
    const page = await one.frameOf("#text");
    const say = async (text) => {
      await page.locator("#text").fill(text);
      await page.locator("#text").press("Enter");
    };

    await say("Hello there");
    await one.waitText(".message.agent", /An answer/);
    await one.waitText("#usage", /1,234/);
    assert.equal(await page.locator(".message.agent pre code").first().textContent(), 'print("hi")');
    assert.equal(await page.locator(".message.agent table td").count(), 2);
    step("a thread was started, and its answer streamed");
    await shot(one, `${look}-1-answer`);

    await say("run touch made-by-the-agent && echo it-ran");
    await one.waitText(".question", /Run this command/);
    await shot(one, `${look}-2-question`);
    await page.locator(".question button.primary").click();
    await one.waitText(".item.command pre", /it-ran/);
    await one.waitText(".item.command .status", /exit code 0/);
    step("a command was asked about, allowed, and shows its output and exit code");

    await say("make the patch");
    await one.waitText(".item.files", /greeting\.txt/);
    const patched = page.locator(".question button.primary");
    if (await patched.count()) await patched.click();
    await one.waitText(".item.files .head", /completed/);
    assert.equal(await readFile(path.join(workspace, "greeting.txt"), "utf8"), "Hello, world\nsecond line\n");
    await page.locator(".item.files button.link").first().click();
    await one.waitText(".tab .label-name", /greeting\.txt \(changed\)/);
    await one.waitText(".monaco-diff-editor .view-lines", /Hello,\s+world/);
    step("files were changed, and the diff editor shows how");
    await shot(one, `${look}-3-diff`);

    await page.locator("#text").fill("look at @weav");
    await one.waitText("#completions [role=option]", /lib\/weaving\.py/);
    await page.locator("#text").press("Enter");
    assert.equal(await page.locator("#text").inputValue(), "look at @lib/weaving.py ");
    step("a file is mentioned by a part of its name");

    const two = await open({ extension: vsix, workspace, settings });
    windows.push(two);
    await two.runCommand("Turnloom: Focus on Threads View");
    await two.waitText(".monaco-list-row", /Hello there/);
    await two.page.locator(".monaco-list-row", { hasText: "Hello there" }).first().click();
    await two.waitText(".message.agent", /An answer/);
    await say("Hello again");
    await two.waitText(".message.user", /Hello again/);
    const there = await two.frameOf("#text");
    await there.locator("#text").fill("And from here");
    await there.locator("#text").press("Enter");
    await one.waitText(".message.user", /And from here/);
    step("a second window sees the same thread, both ways");
    await shot(two, `${look}-4-second`);
  } finally {
    for (const window of windows) await window.close();
    await daemon.kill("SIGKILL");
    model.close();
    await home.remove();
    await rm(workspace, { recursive: true, force: true });
  }
}
