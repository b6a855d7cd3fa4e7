// Bundles the extension and the chat's page into dist/.
import { cp, readFile, rm, writeFile } from "node:fs/promises";

import { build } from "esbuild";

await rm("dist", { recursive: true, force: true });
const shared = { bundle: true, minify: true, sourcemap: false, logLevel: "warning", outdir: "dist" };
await build({
  ...shared,
  entryPoints: ["src/extension.ts"],
  platform: "node",
  format: "cjs",
  target: "node20",
  // ws works without these two, and no server of ours needs what they speed up.
  external: ["vscode", "bufferutil", "utf-8-validate"],
});
await build({ ...shared, entryPoints: { chat: "src/webview/main.ts" }, platform: "browser", format: "iife", target: "es2022" });
await cp("src/webview/chat.css", "dist/chat.css");
// A tab's icon is shown as it is: in the themes' own colours of icons.
const icon = await readFile("media/turnloom.svg", "utf8");
for (const [theme, colour] of [["light", "#424242"], ["dark", "#c5c5c5"]]) {
  await writeFile(`dist/${theme}.svg`, icon.replace("#000", colour));
}
