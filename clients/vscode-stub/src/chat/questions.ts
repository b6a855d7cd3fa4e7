/** Questions of the server to the user, in the form in which they are shown: a text and the answers to choose from. */

import type { RequestId } from "../protocol/index.js";
import type {
  CommandExecutionApprovalDecision,
  CommandExecutionRequestApprovalParams,
  FileChangeApprovalDecision,
  FileChangeRequestApprovalParams,
  PermissionsRequestApprovalParams,
  PermissionsRequestApprovalResponse,
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
  itemId: string;
  title: string;
  /** What it is about, to be shown as code: a command, a host, paths. */
  subject: string | null;
  reason: string | null;
  choices: Choice[];
  /** Fields to fill in, for questions of the agent that have no fixed answers alone. */
  fields: Field[];
}

export interface Field {
  id: string;
  header: string;
  question: string;
  options: { label: string; description: string }[];
  /** Whether the user may type an answer of his own. */
  takesText: boolean;
  isSecret: boolean;
}

/** What the user has answered: the index of a choice, or the texts of the fields by id. */
export type Answer = { choice: number } | { fields: Record<string, string> };

interface Asked<R> {
  question: Question;
  respond(answer: Answer): R;
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
      itemId: params.itemId,
      title,
      subject: host ? `${host.protocol}://${host.host}` : params.command,
      reason: params.reason,
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
      itemId: params.itemId,
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
      itemId: params.itemId,
      title: "Grant these permissions?",
      subject: JSON.stringify(params.permissions, null, 2),
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
      itemId: params.itemId,
      title: "The agent asks",
      subject: null,
      reason: null,
      choices: [],
      fields: params.questions.map((each) => ({
        id: each.id,
        header: each.header,
        question: each.question,
        options: each.options ?? [],
        takesText: each.isOther || each.options === null,
        isSecret: each.isSecret,
      })),
    },
    respond: (answer) => {
      const texts = "fields" in answer ? Object.entries(answer.fields) : [];
      return { answers: Object.fromEntries(texts.map(([field, text]) => [field, { answers: [text] }])) };
    },
  };
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
