/** Choosing what the next turns run with. */

import * as vscode from "vscode";

import type { Client } from "../client/client.js";
import type { AskForApproval, ReasoningEffortOption } from "../protocol/v2/index.js";
import type { Surroundings } from "./conversation.js";

/** What stands behind a name in a list. */
function marks(isCurrent: boolean, isDefault: boolean): string {
  return [isCurrent ? "current" : "", isDefault ? "default" : ""].filter((mark) => mark !== "").join(", ");
}

export async function pickModel(client: Client, threadId: string, now: Surroundings): Promise<void> {
  const { data } = await client.request("model/list", {});
  const models = data.map((model) => ({
    label: model.displayName,
    description: marks(model.model === now.model, model.isDefault),
    detail: model.description,
    model,
  }));
  const chosen = await vscode.window.showQuickPick(models, { title: "Model", matchOnDetail: true });
  if (chosen === undefined) return;
  const efforts = chosen.model.supportedReasoningEfforts.map((option: ReasoningEffortOption) => ({
    label: option.reasoningEffort,
    description: marks(
      chosen.model.model === now.model && option.reasoningEffort === now.effort,
      option.reasoningEffort === chosen.model.defaultReasoningEffort,
    ),
    detail: option.description,
  }));
  const effort = efforts.length < 2 ? efforts[0] : await vscode.window.showQuickPick(efforts, { title: "Reasoning effort" });
  if (efforts.length > 1 && effort === undefined) return;
  await client.request("thread/settings/update", { threadId, model: chosen.model.model, effort: effort?.label ?? null });
}

const POLICIES: { label: string; detail: string; policy: AskForApproval }[] = [
  { label: "Ask when needed", detail: "Commands run in the sandbox; what needs more asks first", policy: "on-request" },
  { label: "Ask about everything unknown", detail: "Only commands that are known to be harmless run unasked", policy: "untrusted" },
  { label: "Never ask", detail: "What the sandbox does not allow fails", policy: "never" },
];

export async function pickPermissions(client: Client, threadId: string, now: Surroundings): Promise<void> {
  const { data } = await client.request("permissionProfile/list", { cwd: now.cwd });
  const profiles = data
    .filter((profile) => profile.allowed)
    .map((profile) => ({ label: profile.id, description: marks(profile.id === now.permissions, false), detail: profile.description ?? "", id: profile.id }));
  const chosen = await vscode.window.showQuickPick(profiles, { title: "What may commands do?" });
  if (chosen === undefined) return;
  const policies = POLICIES.map((each) => ({ ...each, description: marks(each.policy === now.approvals, false) }));
  const policy = await vscode.window.showQuickPick(policies, { title: "When should it ask?" });
  if (policy === undefined) return;
  await client.request("thread/settings/update", { threadId, permissions: chosen.id, approvalPolicy: policy.policy });
}
