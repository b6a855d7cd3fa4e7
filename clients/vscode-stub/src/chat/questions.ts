/** Questions of the server to the user, in the form in which they are shown: a text and the answers to choose from. */

import type { RequestId } from "../protocol/index.js";
import type {
  CommandExecutionApprovalDecision,
  CommandExecutionRequestApprovalParams,
  FileChangeApprovalDecision,
  FileChangeRequestApprovalParams,
  FileSystemPath,
  PermissionsRequestApprovalParams,
  PermissionsRequestApprovalResponse,
  RequestPermissionProfile,
  ToolRequestUserInputParams,
} from "../protocol/v2/index.js";

/** One answer. `isPrimary` is what the agent asks for; `isRefusal` what ends or denies it. */
export interface Choice {
  label: string;
  detail?: string;
  isPrimary: boolean;
  isRefusal: boolean;
}

export interface Question {
  id: RequestId;
  threadId: string;
  title: string;
  /** What it is about, to be shown as code: a command, a host, paths. */
  subject: string | null;
  reason: string | null;
  choices: Choice[];
  /** Fields to fill in, for questions that have no fixed answers alone. */
  fields: Field[];
}

export interface Field {
  id: string;
  header: string;
  question: string;
  options: { value: string; label: string; description: string }[];
  /** Whether more than one option may be chosen. */
  isMany: boolean;
  /** How an answer of the user's own is typed: attributes of an input; null where only the options count. */
  text: Record<string, string> | null;
  isRequired: boolean;
  /** The answers that are there before the user has given any. */
  given: string[];
}

/** What the user has answered: the index of a choice, or what was given for the fields by id. */
export type Answer = { choice: number } | { fields: Record<string, string[]> };

/** A question in the form in which it is shown, and what is told to the server for its answer. */
export interface Asked<R> {
  question: Question;
  respond(answer: Answer): R;
  /** An address to be opened in a browser when the answer is this choice. */
  opens?: { choice: number; address: string };
}

const REFUSALS = new Set<unknown>(["decline", "cancel"]);

export function askAboutCommand(
  id: RequestId,
  params: CommandExecutionRequestApprovalParams,
): Asked<{ decision: CommandExecutionApprovalDecision }> {
  const host = params.networkApprovalContext;
  const decisions = params.availableDecisions ?? ["accept", "decline", "cancel"];
  const title = host ? `Allow access to ${host.host}?` : params.kind === "writeStdin" ? "Type this into the terminal?" : "Run this command?";
  return {
    question: {
      id,
      threadId: params.threadId,
      title,
      subject: host ? `${host.protocol}://${host.host}` : params.command,
      reason: [params.reason, params.cwd && !host ? `In ${params.cwd}` : null].filter((part) => part).join(" · ") || null,
      choices: decisions.map((decision) => ({ ...describe(decision), ...tone(decision) })),
      fields: [],
    },
    respond: (answer) => ({ decision: pick(decisions, answer) ?? "decline" }),
  };
}

const FILE_DECISIONS: FileChangeApprovalDecision[] = ["accept", "acceptForSession", "decline", "cancel"];

export function askAboutFiles(
  id: RequestId,
  params: FileChangeRequestApprovalParams,
): Asked<{ decision: FileChangeApprovalDecision }> {
  return {
    question: {
      id,
      threadId: params.threadId,
      title: "Make these changes to files?",
      subject: params.grantRoot,
      reason: params.reason,
      choices: FILE_DECISIONS.map((decision) => ({ ...describe(decision), ...tone(decision) })),
      fields: [],
    },
    respond: (answer) => ({ decision: pick(FILE_DECISIONS, answer) ?? "decline" }),
  };
}

export function askAboutPermissions(
  id: RequestId,
  params: PermissionsRequestApprovalParams,
): Asked<PermissionsRequestApprovalResponse> {
  const { fileSystem, network } = params.permissions;
  const granted = { ...(fileSystem && { fileSystem }), ...(network && { network }) };
  const answers: PermissionsRequestApprovalResponse[] = [
    { permissions: granted, scope: "turn" },
    { permissions: granted, scope: "session" },
    { permissions: {} },
  ];
  const choice = (label: string, isPrimary: boolean, isRefusal: boolean) => ({ label, isPrimary, isRefusal });
  return {
    question: {
      id,
      threadId: params.threadId,
      title: "Grant these permissions?",
      subject: described(params.permissions),
      reason: params.reason,
      choices: [
        choice("Grant for this turn", true, false),
        choice("Grant for this session", false, false),
        choice("Refuse", false, true),
      ],
      fields: [],
    },
    respond: (answer) => pick(answers, answer) ?? { permissions: {} },
  };
}

export function askTheUser(
  id: RequestId,
  params: ToolRequestUserInputParams,
): Asked<{ answers: Record<string, { answers: string[] }> }> {
  return {
    question: {
      id,
      threadId: params.threadId,
      title: "The agent asks",
      subject: null,
      reason: null,
      choices: [],
      fields: params.questions.map((each) => ({
        id: each.id,
        header: each.header,
        question: each.question,
        options: (each.options ?? []).map((option) => ({ value: option.label, ...option })),
        isMany: false,
        text: each.isOther || !each.options ? { type: each.isSecret ? "password" : "text" } : null,
        isRequired: true,
        given: each.options?.slice(0, 1).map((option) => option.label) ?? [],
      })),
    },
    respond: (answer) => {
      const given = "fields" in answer ? Object.entries(answer.fields) : [];
      return { answers: Object.fromEntries(given.map(([field, answers]) => [field, { answers }])) };
    },
  };
}

/** One line for each thing that is asked for. */
function described({ fileSystem, network }: RequestPermissionProfile): string {
  const lines = [
    ...(network?.enabled ? ["access to the network"] : []),
    ...(fileSystem?.read ?? []).map((path) => `read ${path}`),
    ...(fileSystem?.write ?? []).map((path) => `write ${path}`),
    ...(fileSystem?.entries ?? []).map(({ access, path }) => `${access} ${placeOf(path)}`),
  ];
  return lines.join("\n");
}

function placeOf(place: FileSystemPath): string {
  switch (place.type) {
    case "path":
      return place.path;
    case "glob_pattern":
      return place.pattern;
    default:
      return JSON.stringify(place.value);
  }
}

function pick<T>(from: readonly T[], answer: Answer): T | undefined {
  return "choice" in answer ? from[answer.choice] : undefined;
}

function tone(decision: unknown): { isPrimary: boolean; isRefusal: boolean } {
  return { isPrimary: decision === "accept", isRefusal: REFUSALS.has(decision) };
}

function describe(decision: CommandExecutionApprovalDecision): { label: string; detail?: string } {
  if (typeof decision === "string") {
    const label = {
      accept: "Allow once",
      acceptForSession: "Allow for the session",
      decline: "Refuse",
      cancel: "Refuse and stop",
    }[decision];
    return { label };
  }
  if ("acceptWithExecpolicyAmendment" in decision) {
    const prefix = decision.acceptWithExecpolicyAmendment.execpolicy_amendment.join(" ");
    return { label: "Always allow", detail: `for commands that begin with \`${prefix}\`` };
  }
  const { host, action } = decision.applyNetworkPolicyAmendment.network_policy_amendment;
  return { label: action === "allow" ? "Always allow host" : "Never allow host", detail: host };
}
