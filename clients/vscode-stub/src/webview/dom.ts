/** Elements without markup: text is always text, so nothing that a model writes becomes HTML. */

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | boolean | ((event: Event) => void) | undefined>;

/** An element with attributes (`onclick` and the like are listeners, `false` leaves one out) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (typeof value === "string") element.setAttribute(name, value);
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return element;
}

const FOCUSABLE = "a, button, input, summary, [tabindex]";

/** Puts what was drawn anew in the place of `old`, with the focus and the scrolled place that the reader had in it. */
export function replaceKeeping(old: HTMLElement, drawn: HTMLElement): void {
  const focused = [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement as Element);
  const scrolled = [...old.querySelectorAll("pre")].map(({ scrollTop, scrollHeight, clientHeight }) => {
    // Who looks at the end wants to go on doing so as it grows.
    return scrollHeight - scrollTop - clientHeight < 8 ? Infinity : scrollTop;
  });
  old.replaceWith(drawn);
  if (focused >= 0) drawn.querySelectorAll<HTMLElement>(FOCUSABLE)[focused]?.focus({ preventScroll: true });
  for (const [index, pre] of [...drawn.querySelectorAll("pre")].entries()) {
    const place = scrolled[index] ?? 0;
    pre.scrollTop = place === Infinity ? pre.scrollHeight : place;
  }
}

export function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}
