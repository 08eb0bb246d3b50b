// Sorts a table by the heading that was pressed. Without scripts the table simply keeps its order.
"use strict";

const valueOf = (row, column) => {
  const cell = row.cells[column];
  return "value" in cell.dataset ? cell.dataset.value : cell.textContent.trim();
};

// Numbers by size, words by the alphabet (layer2 before layer10), and what was not measured always last.
const compare = (a, b, direction) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  const numeric = !Number.isNaN(Number(a)) && !Number.isNaN(Number(b));
  const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
  return direction * order;
};

const sortBy = (heading) => {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].sort((a, b) =>
    compare(valueOf(a, heading.cellIndex), valueOf(b, heading.cellIndex), ascending ? 1 : -1));
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  body.append(...rows);
};

for (const button of document.querySelectorAll("button[data-sort]")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
