
"use strict";
(() => {
  const status = document.getElementById("status");
  const words = new Intl.Collator("en", {numeric: true});
  const next = {none: "ascending", ascending: "descending", descending: "none"};
  const value = (row, column) => {
    const cell = row.cells[column], by = cell.dataset.by, text = cell.textContent.trim();
    if (by !== undefined) return by === "" ? null : Number(by);
    return text === "" || text === "n/a" ? null : text;
  };
  const order = (one, two) => typeof one === "number" && typeof two === "number" ? one - two : words.compare(one, two);
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    if (rows.length < 2) continue;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const way = next[head.getAttribute("aria-sort")], sign = way === "descending" ? -1 : 1;
        heads.forEach((other) => other.setAttribute("aria-sort", other === head ? way : "none"));
        const keyed = rows.map((row) => [value(row, column), row]);
        if (way !== "none") keyed.sort(([one], [two]) => one === null || two === null ? (one === null) - (two === null) : sign * order(one, two));
        body.append(...keyed.map(([, row]) => row));
        status.textContent = way === "none" ? "The table is in its first order." : "Sorted by " + button.textContent + ", " + way + ".";
      });
    });
  }
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));
})();
