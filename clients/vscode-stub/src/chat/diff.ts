/** Changes in the editor's own diff view: how a file was, and how it is. */

import * as path from "node:path";

import * as vscode from "vscode";

import type { Client } from "../client/client.js";
import type { FileUpdateChange, ThreadItemsListResponse } from "../protocol/v2/index.js";
import { PatchMismatch, textBefore } from "./patch.js";

const SCHEME = "turnloom";

/** Texts for diff views. A text lives as long as its tab is open. */
export class Texts implements vscode.TextDocumentContentProvider {
  private static readonly texts = new Map<string, string>();
  private static number = 0;

  static register(): vscode.Disposable {
    const closed = vscode.workspace.onDidCloseTextDocument((document) => Texts.texts.delete(document.uri.toString()));
    return vscode.Disposable.from(closed, vscode.workspace.registerTextDocumentContentProvider(SCHEME, new Texts()));
  }

  static add(file: string, text: string): vscode.Uri {
    const uri = vscode.Uri.from({ scheme: SCHEME, path: file, query: String(Texts.number++) });
    Texts.texts.set(uri.toString(), text);
    return uri;
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return Texts.texts.get(uri.toString()) ?? "";
  }
}

export async function showDiff(
  client: Client,
  threadId: string,
  where: { turnId: string; itemId: string; path: string },
): Promise<void> {
  const item = await itemOf(client, threadId, where);
  const change = item?.changes.find((each) => each.path === where.path);
  if (item === undefined || change === undefined) throw new Error(`the change of ${where.path} is not known any more`);
  const [before, after] = await sidesOf(client, change, item.status);
  const name = path.basename(where.path);
  const title = `${name} (${item.status === "completed" ? "changed" : item.status === "inProgress" ? "proposed" : item.status})`;
  await vscode.commands.executeCommand("vscode.diff", Texts.add(where.path, before), Texts.add(where.path, after), title, {
    viewColumn: vscode.ViewColumn.Beside,
  });
}

async function itemOf(client: Client, threadId: string, where: { turnId: string; itemId: string }) {
  let cursor: string | null = null;
  do {
    const page: ThreadItemsListResponse = await client.request("thread/items/list", { threadId, turnId: where.turnId, cursor });
    const found = page.data.find(({ item }) => item.id === where.itemId)?.item;
    if (found?.type === "fileChange") return found;
    cursor = page.nextCursor;
  } while (cursor !== null);
  return undefined;
}

/** What the file was before and is after. A file that has changed since is shown by the diff's own lines. */
async function sidesOf(client: Client, change: FileUpdateChange, status: string): Promise<[string, string]> {
  const { kind, diff } = change;
  if (kind.type === "add") return ["", diff];
  if (kind.type === "delete") return [diff, ""];
  const isMade = status === "completed";
  try {
    const file = isMade && kind.move_path !== null ? kind.move_path : change.path;
    const { dataBase64 } = await client.request("fs/readFile", { path: file });
    const text = Buffer.from(dataBase64, "base64").toString("utf8");
    return isMade ? [textBefore(text, diff), text] : [text, textBefore(text, mirrored(diff))];
  } catch (error) {
    if (!(error instanceof PatchMismatch || (error as Error).name === "RpcError")) throw error;
    const side = (sign: string) =>
      diff
        .split("\n")
        .filter((line) => line.startsWith(sign) || line.startsWith(" "))
        .map((line) => line.slice(1))
        .join("\n");
    return [side("-"), side("+")];
  }
}

/** The diff of the way back. */
function mirrored(diff: string): string {
  return diff
    .split("\n")
    .map((line) => {
      const header = /^@@ -(\S+) \+(\S+) @@(.*)$/.exec(line);
      if (header !== null) return `@@ -${header[2]} +${header[1]} @@${header[3]}`;
      if (line.startsWith("+")) return `-${line.slice(1)}`;
      return line.startsWith("-") ? `+${line.slice(1)}` : line;
    })
    .join("\n");
}
