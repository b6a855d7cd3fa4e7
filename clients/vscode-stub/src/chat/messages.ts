/** What the chat's page and the extension tell each other. */

import type { ServerNotification } from "../protocol/index.js";
import type { Surroundings, TurnView } from "./conversation.js";
import type { Answer, Question } from "./questions.js";

/** A file that goes along with a message; with `text`, a selection of it. */
export interface Attachment {
  path: string;
  label: string;
  text?: string;
}

/** What the user sends. */
export interface Message {
  text: string;
  attachments: Attachment[];
  /** Files that the text names, as it names them. */
  mentions: string[];
}

export type ToPage =
  | { kind: "opened"; threadId: string; surroundings: Surroundings; turns: TurnView[]; hasOlder: boolean }
  | { kind: "older"; turns: TurnView[]; hasOlder: boolean }
  | { kind: "event"; event: ServerNotification }
  | { kind: "ask"; question: Question }
  | { kind: "answered"; id: string | number; note: string }
  | { kind: "connection"; text: string | null }
  | { kind: "files"; query: string; paths: string[] }
  | { kind: "attach"; attachment: Attachment }
  | { kind: "refused"; message: Message; reason: string };

export type FromPage =
  | { kind: "ready" }
  | { kind: "send"; message: Message }
  | { kind: "implement" }
  | { kind: "stop" }
  | { kind: "older" }
  | { kind: "answer"; id: string | number; answer: Answer }
  | { kind: "findFiles"; query: string }
  | { kind: "openFile"; path: string }
  | { kind: "openDiff"; turnId: string; itemId: string; path: string }
  | { kind: "command"; command: Command };

/** What the buttons below the message do. */
export type Command = "pickModel" | "pickPermissions" | "switchMode" | "attachFile" | "attachSelection";
