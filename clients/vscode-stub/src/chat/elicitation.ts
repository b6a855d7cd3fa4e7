/** Questions of MCP servers: a form to fill in, or an address to visit. */

import type { JsonValue } from "../protocol/serde_json/JsonValue.js";
import type { RequestId } from "../protocol/index.js";
import type {
  McpElicitationPrimitiveSchema,
  McpServerElicitationRequestParams,
  McpServerElicitationRequestResponse,
} from "../protocol/v2/index.js";
import type { Answer, Asked, Choice, Field } from "./questions.js";

type Action = McpServerElicitationRequestResponse["action"];

const REFUSE: Choice = { label: "Refuse", isPrimary: false, isRefusal: true };
const DISMISS: Choice = { label: "Dismiss", isPrimary: false, isRefusal: true };

export function askForServer(
  id: RequestId,
  params: McpServerElicitationRequestParams,
): Asked<McpServerElicitationRequestResponse> {
  const { threadId, serverName } = params;
  const title = `The server “${serverName}” asks`;
  const question = { id, threadId, title, subject: null, reason: null, choices: [REFUSE, DISMISS], fields: [] as Field[] };
  const answered = (action: Action, content: JsonValue = null) => ({ action, content, _meta: null });
  const chosen = (actions: readonly Action[], answer: Answer) => answered(("choice" in answer && actions[answer.choice]) || "cancel");

  if (params.mode === "url" && /^https?:\/\//i.test(params.url)) {
    const visit = { label: "Open in the browser", isPrimary: true, isRefusal: false };
    return {
      question: { ...question, subject: params.url, reason: params.message, choices: [visit, REFUSE, DISMISS] },
      respond: (answer) => chosen(["accept", "decline", "cancel"], answer),
      opens: { choice: 0, address: params.url },
    };
  }
  if (params.mode === "form") {
    const { properties, required } = params.requestedSchema;
    const schemas = Object.entries(properties).flatMap(([name, schema]) => (schema ? [[name, schema] as const] : []));
    const fields = schemas.map(([name, schema]) => fieldOf(name, schema, required?.includes(name) ?? false));
    // Without anything to fill in it is a question for yes or no.
    const allow = { label: "Allow", isPrimary: true, isRefusal: false };
    const choices = fields.length > 0 ? [REFUSE, DISMISS] : [allow, REFUSE, DISMISS];
    const actions = choices.length > 2 ? (["accept", "decline", "cancel"] as const) : (["decline", "cancel"] as const);
    return {
      question: { ...question, reason: params.message, choices, fields },
      respond: (answer) => {
        if ("fields" in answer) return answered("accept", contentOf(schemas, answer.fields));
        const given = chosen(actions, answer);
        return given.action === "accept" ? answered("accept", {}) : given;
      },
    };
  }
  const told = "message" in params ? params.message : params.description;
  const reason = `${told}\n(It asks in a way that this extension cannot answer.)`;
  return { question: { ...question, reason }, respond: (answer) => chosen(["decline", "cancel"], answer) };
}

function fieldOf(name: string, schema: McpElicitationPrimitiveSchema, isRequired: boolean): Field {
  const header = schema.title ?? name;
  const options = optionsOf(schema);
  const given = schema.default === null || schema.default === undefined ? [] : [schema.default].flat().map(String);
  const text = options.length > 0 ? null : textOf(schema);
  return { id: name, header, question: schema.description ?? "", options, isMany: schema.type === "array", text, isRequired, given };
}

function optionsOf(schema: McpElicitationPrimitiveSchema): Field["options"] {
  const option = (value: string, label = value) => ({ value, label, description: "" });
  if (schema.type === "boolean") return [option("true", "Yes"), option("false", "No")];
  const from = schema.type === "array" ? schema.items : schema;
  if ("anyOf" in from) return from.anyOf.map((each) => option(each.const, each.title));
  if ("oneOf" in from) return from.oneOf.map((each) => option(each.const, each.title));
  if (!("enum" in from)) return [];
  const names = "enumNames" in from ? (from.enumNames as string[] | null) : null;
  return from.enum.map((value, index) => option(value, names?.[index]));
}

/** The browser sees to what its inputs can check; a date with a time is typed as the schema wants it. */
function textOf(schema: McpElicitationPrimitiveSchema): Record<string, string> {
  const limits = (pairs: Record<string, number | null | undefined>) =>
    Object.fromEntries(Object.entries(pairs).flatMap(([name, limit]) => (typeof limit === "number" ? [[name, String(limit)]] : [])));
  if (schema.type === "number" || schema.type === "integer") {
    const step = schema.type === "integer" ? "1" : "any";
    return { type: "number", step, ...limits({ min: schema.minimum, max: schema.maximum }) };
  }
  if (schema.type !== "string" || !("format" in schema)) return { type: "text" };
  const type = { email: "email", uri: "url", date: "date", "date-time": "text" }[schema.format ?? "date-time"];
  const hint = schema.format === "date-time" ? { placeholder: "2026-01-31T12:00:00Z" } : {};
  return { type, ...hint, ...limits({ minlength: schema.minLength, maxlength: schema.maxLength }) };
}

function contentOf(
  schemas: (readonly [string, McpElicitationPrimitiveSchema])[],
  given: Record<string, string[]>,
): Record<string, JsonValue> {
  const content: Record<string, JsonValue> = {};
  for (const [name, { type }] of schemas) {
    const [first, ...others] = given[name] ?? [];
    if (type === "array") content[name] = first === undefined ? [] : [first, ...others];
    else if (first === undefined) continue;
    else if (type === "boolean") content[name] = first === "true";
    else content[name] = type === "string" ? first : Number(first);
  }
  return content;
}
