/** Both sides of a change, from the unified diff that the server tells and one of the sides. */

/** A diff does not fit the text that it is said to be about. */
export class PatchMismatch extends Error {}

interface Hunk {
  /** Where the new text of the hunk begins, counted from 0. */
  start: number;
  before: string[];
  after: string[];
}

/** The text as it was before `diff` made it into `after`. Throws PatchMismatch. */
export function textBefore(after: string, diff: string): string {
  const lines = after.split("\n");
  // From the end, so that the numbers of the hunks before stay true.
  for (const hunk of hunksOf(diff).reverse()) {
    const place = lines.slice(hunk.start, hunk.start + hunk.after.length);
    if (place.join("\n") !== hunk.after.join("\n")) {
      throw new PatchMismatch(`the text at line ${hunk.start + 1} is not what the change has made`);
    }
    lines.splice(hunk.start, hunk.after.length, ...hunk.before);
  }
  return lines.join("\n");
}

function hunksOf(diff: string): Hunk[] {
  const hunks: Hunk[] = [];
  for (const line of diff.split("\n")) {
    const header = /^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@/.exec(line);
    const hunk = hunks.at(-1);
    if (header !== null) {
      const first = Number(header[1]);
      // A hunk without new lines names the line that it comes after.
      hunks.push({ start: header[2] === "0" ? first : first - 1, before: [], after: [] });
    } else if (hunk === undefined || line.startsWith("\\")) continue;
    else if (line.startsWith("-")) hunk.before.push(line.slice(1));
    else if (line.startsWith("+")) hunk.after.push(line.slice(1));
    else if (line.startsWith(" ")) {
      hunk.before.push(line.slice(1));
      hunk.after.push(line.slice(1));
    }
  }
  return hunks;
}
