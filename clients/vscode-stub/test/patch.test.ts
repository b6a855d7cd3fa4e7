import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { test } from "node:test";

import { PatchMismatch, textBefore } from "../src/chat/patch.js";

function diffOf(before: string, after: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), "turnloom-diff-"));
  try {
    const files = [before, after].map((text, index) => {
      const file = path.join(folder, String(index));
      writeFileSync(file, text);
      return file;
    });
    return execFileSync("sh", ["-c", 'diff -u "$0" "$1" || [ $? = 1 ]', ...files]).toString();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const LONG = Array.from({ length: 40 }, (_, number) => `line ${number}`).join("\n") + "\n";

for (const [what, before, after] of [
  ["a changed line", "a\nb\nc\n", "a\nB\nc\n"],
  ["lines that were added", "a\nz\n", "a\nb\nc\nz\n"],
  ["lines that were removed", "a\nb\nc\nz\n", "a\nz\n"],
  ["the first line", "a\nb\n", "b\n"],
  ["the last line", "a\nb\n", "a\n"],
  ["several places", LONG, LONG.replace("line 3\n", "").replace("line 20", "twenty").replace("line 38", "x\ny")],
  ["everything", "a\nb\n", "c\n"],
] as const) {
  test(`the text before is found again: ${what}`, () => {
    assert.equal(textBefore(after, diffOf(before, after)), before);
  });
}

test("a text that has changed since is not taken for what the diff has made", () => {
  assert.throws(() => textBefore("something else\n", diffOf("a\n", "b\n")), PatchMismatch);
});
