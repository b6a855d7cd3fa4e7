/** What the chat's page and the extension tell each other. */

import type { ServerNotification } from "../protocol/index.js";
import type { Thread, Turn } from "../protocol/v2/index.js";
import type { Surroundings } from "./conversation.js";
import type { Answer, Question } from "./questions.js";

/** A file that goes along with a message; with `text`, a selection of it. */
export interface Attachment {
  path: string;
  label: string;
  text?: string;
}

export type ToPage =
  | { kind: "opened"; thread: Thread; surroundings: Surroundings; hasOlder: boolean }
  | { kind: "older"; turns: Turn[]; hasOlder: boolean }
  | { kind: "event"; event: ServerNotification }
  | { kind: "ask"; question: Question }
  | { kind: "answered"; id: string | number; note: string }
  | { kind: "connection"; text: string | null }
  | { kind: "files"; query: string; paths: string[] }
  | { kind: "attach"; attachment: Attachment }
  | { kind: "refused"; text: string; reason: string };

export type FromPage =
  | { kind: "ready" }
  | { kind: "send"; text: string; attachments: Attachment[]; mentions: string[] }
  | { kind: "stop" }
  | { kind: "older" }
  | { kind: "answer"; id: string | number; answer: Answer }
  | { kind: "findFiles"; query: string }
  | { kind: "openFile"; path: string }
  | { kind: "openDiff"; turnId: string; itemId: string; path: string }
  | { kind: "command"; command: "pickModel" | "pickPermissions" | "attachFile" | "attachSelection" };
