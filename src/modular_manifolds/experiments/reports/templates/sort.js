"use strict";
// A table is sorted by a click on a heading: upwards, downwards, and back to how it was. Missing cells stay last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  if (original.length < 2) continue;

  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.classList.contains("missing")) return null;
    if (!headings[column].classList.contains("number")) return cell.textContent;
    return "key" in cell.dataset ? Number(cell.dataset.key) : null;
  };
  const compare = (a, b) =>
    typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true, sensitivity: "base" });

  const sort = (column, direction) => {
    const keyed = original.map((row) => [row, key(row, column)]);
    const present = keyed.filter(([, value]) => value !== null);
    const missing = keyed.filter(([, value]) => value === null);
    present.sort(([, a], [, b]) => (direction === "descending" ? compare(b, a) : compare(a, b)));
    body.append(...[...present, ...missing].map(([row]) => row));
  };

  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    heading.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")];
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", next);
      if (next === "none") body.append(...original);
      else sort(column, next);
    });
  });
}
