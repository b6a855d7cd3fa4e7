/** The frame of the chat's page. */

import { randomBytes } from "node:crypto";

import * as vscode from "vscode";

/** What a tab shows that waits for a server: why, and what can be done about it. It runs nothing. */
export function waitingPage(webview: vscode.Webview, media: vscode.Uri, why: string): string {
  const style = webview.asWebviewUri(vscode.Uri.joinPath(media, "chat.css")).toString();
  const text = why.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="UTF-8">
  <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src ${webview.cspSource}">
  <link rel="stylesheet" href="${style}">
  <title>Turnloom</title>
</head>
<body>
  <main id="waiting">
    <p role="status">${text}</p>
    <p>The thread is shown here as soon as a server has it.</p>
    <p><a href="command:turnloom.restart">Try again</a> · <a href="command:turnloom.attach">Attach to a running daemon</a></p>
  </main>
</body>
</html>`;
}

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
    <div id="proposal" role="group" aria-label="Proposed plan" hidden>
      <button id="implement" class="primary">Implement the plan</button>
      <span class="status">or write what should be different</span>
    </div>
    <ul id="completions" role="listbox" aria-label="Files" hidden></ul>
    <div id="attachments"></div>
    <textarea id="text" role="combobox" aria-label="Message" aria-controls="completions" aria-autocomplete="list"
      aria-expanded="false" rows="3"></textarea>
    <div id="bar">
      <button class="quiet" data-command="attachFile" title="Attach the current file">+ File</button>
      <button class="quiet" data-command="attachSelection" title="Attach the selection">+ Selection</button>
      <button class="quiet" id="model" data-command="pickModel" title="Choose the model"></button>
      <button class="quiet" id="permissions" data-command="pickPermissions" title="Choose the permissions"></button>
      <button class="quiet" id="mode" data-command="switchMode" aria-pressed="false"
        title="Plan mode: the agent asks and proposes a plan, and changes nothing">Plan</button>
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
