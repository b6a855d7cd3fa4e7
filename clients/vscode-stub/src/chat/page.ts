/** The frame of the chat's page. */

import { randomBytes } from "node:crypto";

import * as vscode from "vscode";

/** The page may run the one script and use the one sheet that are ours, and nothing else: no network, no inline code. */
export function pageOf(webview: vscode.Webview, media: vscode.Uri): string {
  const nonce = randomBytes(16).toString("base64");
  const script = webview.asWebviewUri(vscode.Uri.joinPath(media, "chat.js")).toString();
  const style = webview.asWebviewUri(vscode.Uri.joinPath(media, "chat.css")).toString();
  const policy = `default-src 'none'; style-src ${webview.cspSource}; script-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="UTF-8">
  <meta http-equiv="Content-Security-Policy" content="${policy}">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="stylesheet" href="${style}">
  <title>Turnloom</title>
</head>
<body>
  <div id="connection" role="status" hidden></div>
  <div id="spoken" class="hidden" aria-live="polite"></div>
  <main id="log" role="log" aria-live="off" aria-label="Conversation" tabindex="0">
    <button id="older" class="secondary" hidden>Show older turns</button>
  </main>
  <div id="questions"></div>
  <div id="composer">
    <ul id="completions" role="listbox" aria-label="Files" hidden></ul>
    <div id="attachments"></div>
    <textarea id="text" role="combobox" aria-label="Message" aria-controls="completions" aria-autocomplete="list"
      aria-expanded="false" rows="3"></textarea>
    <div id="bar">
      <button class="quiet" data-command="attachFile" title="Attach the current file">+ File</button>
      <button class="quiet" data-command="attachSelection" title="Attach the selection">+ Selection</button>
      <button class="quiet" id="model" data-command="pickModel" title="Choose the model"></button>
      <button class="quiet" id="permissions" data-command="pickPermissions" title="Choose the permissions"></button>
      <span id="notes" role="status"></span>
      <span class="space"></span>
      <span id="usage" aria-label="Token usage"></span>
      <button id="stop" class="secondary" hidden>Stop</button>
      <button id="send" class="primary">Send</button>
    </div>
  </div>
  <script nonce="${nonce}" src="${script}"></script>
</body>
</html>`;
}
