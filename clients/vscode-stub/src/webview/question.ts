/** A question of the server, with a button for each answer. */

import type { Answer, Field, Question } from "../chat/questions.js";
import { h } from "./dom.js";

export function renderQuestion(question: Question, answer: (answer: Answer) => void): HTMLElement {
  const title = `question-${question.id}-title`;
  return h(
    "div",
    { class: "question", id: `question-${question.id}`, role: "group", "aria-labelledby": title },
    h("div", { class: "title", id: title, role: "alert" }, question.title),
    question.reason === null ? null : h("div", { class: "reason" }, question.reason),
    question.subject === null ? null : h("pre", { tabindex: "0" }, question.subject),
    question.fields.length > 0 ? form(question.fields, answer) : buttons(question, answer),
  );
}

function buttons(question: Question, answer: (answer: Answer) => void): HTMLElement {
  const row = question.choices.map((choice, index) =>
    h(
      "button",
      {
        class: choice.isPrimary ? "primary" : "secondary",
        title: choice.detail,
        onclick: () => answer({ choice: index }),
      },
      choice.label,
    ),
  );
  return h("div", { class: "buttons" }, ...row);
}

function form(fields: Field[], answer: (answer: Answer) => void): HTMLElement {
  const send = (event: Event) => {
    event.preventDefault();
    const given = new FormData(event.target as HTMLFormElement);
    const typed = (field: Field) => String(given.get(`${field.id}.text`) ?? "").trim();
    const texts = fields.map((field) => [field.id, typed(field) || String(given.get(field.id) ?? "")] as const);
    answer({ fields: Object.fromEntries(texts) });
  };
  return h(
    "form",
    { onsubmit: send },
    ...fields.map((field) =>
      h(
        "fieldset",
        {},
        h("legend", {}, field.question),
        ...field.options.map((option, index) =>
          h(
            "label",
            {},
            h("input", { type: "radio", name: field.id, value: option.label, checked: index === 0 }),
            ` ${option.label}`,
            option.description === "" ? null : h("span", { class: "status" }, ` ${option.description}`),
          ),
        ),
        field.takesText
          ? h("input", {
              type: field.isSecret ? "password" : "text",
              name: `${field.id}.text`,
              "aria-label": field.options.length > 0 ? "Another answer" : field.question,
              placeholder: field.options.length > 0 ? "Another answer" : "",
            })
          : null,
      ),
    ),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Answer")),
  );
}
