/** A question of the server, with a button for each answer. */

import type { Answer, Choice, Field, Question } from "../chat/questions.js";
import { h } from "./dom.js";

export function renderQuestion(question: Question, answer: (answer: Answer) => void): HTMLElement {
  const title = `question-${question.id}-title`;
  const choices = question.choices.map((choice, index) => button(choice, () => answer({ choice: index })));
  return h(
    "div",
    { class: "question", id: `question-${question.id}`, role: "group", "aria-labelledby": title },
    h(
      "div",
      { role: "alert" },
      h("div", { class: "title", id: title }, question.title),
      question.reason === null ? null : h("div", { class: "reason" }, question.reason),
      question.subject === null ? null : h("pre", { tabindex: "0" }, question.subject),
    ),
    question.fields.length > 0 ? form(question.fields, choices, answer) : h("div", { class: "buttons" }, ...choices),
  );
}

function button({ label, detail, isPrimary }: Choice, onclick: () => void): HTMLElement {
  const said = detail === undefined ? null : h("span", { class: "detail" }, ` ${detail}`);
  return h("button", { type: "button", class: isPrimary ? "primary" : "secondary", onclick }, label, said);
}

function form(fields: Field[], choices: HTMLElement[], answer: (answer: Answer) => void): HTMLElement {
  const send = (event: Event) => {
    event.preventDefault();
    const data = new FormData(event.target as HTMLFormElement);
    const given = fields.map((field, index) => {
      const typed = String(data.get(`${index}.text`) ?? "").trim();
      return [field.id, typed === "" ? data.getAll(`${index}`).map(String) : [typed]] as const;
    });
    answer({ fields: Object.fromEntries(given) });
  };
  const submit = h("button", { type: "submit", class: "primary" }, "Answer");
  return h("form", { onsubmit: send }, ...fields.map(fieldset), h("div", { class: "buttons" }, submit, ...choices));
}

function fieldset(field: Field, number: number): HTMLElement {
  const name = String(number);
  const [header, question] = [field.header, field.question].filter((part) => part !== "");
  const isAlone = field.options.length === 0;
  const label = isAlone ? [header, question].filter((part) => part).join(": ") : "Another answer";
  return h(
    "fieldset",
    {},
    h("legend", {}, h("strong", {}, header ?? ""), question === undefined ? null : ` ${question}`, field.isRequired ? null : " (optional)"),
    ...field.options.map((option) =>
      h(
        "label",
        {},
        h("input", {
          type: field.isMany ? "checkbox" : "radio",
          name,
          value: option.value,
          checked: field.given.includes(option.value),
          required: field.isRequired && !field.isMany && field.text === null,
        }),
        ` ${option.label}`,
        option.description === "" ? null : h("span", { class: "status" }, ` – ${option.description}`),
      ),
    ),
    field.text === null
      ? null
      : h("input", {
          placeholder: isAlone ? "" : "Another answer",
          ...field.text,
          name: `${name}.text`,
          "aria-label": label,
          value: isAlone ? (field.given[0] ?? "") : "",
          required: isAlone && field.isRequired,
          autocomplete: "off",
        }),
  );
}
