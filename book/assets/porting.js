/* The filter of the porting page: rows that do not have all typed words are hidden, with
   the sections that have none left. Without this script the page shows all rows. */
(() => {
  "use strict";
  const rows = [...document.querySelectorAll(".tag_porting tbody tr")].map((row) => ({
    row,
    text: [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase(),
  }));
  const sections = [...new Set(rows.map(({ row }) => row.closest("section")))];
  const box = document.createElement("p");
  box.className = "row-filter";
  box.innerHTML = '<label for="row-filter">Show only rows with</label> '
    + '<input id="row-filter" type="search" class="form-control" autocomplete="off" '
    + 'autocapitalize="off" spellcheck="false" placeholder="Dense, or nn.Linear"> '
    + '<span role="status"></span>';
  document.getElementById("look-it-up").append(box);
  const input = box.querySelector("input");
  const status = box.querySelector("span");

  input.addEventListener("input", () => {
    // Where nobody writes mx.nd.dot, dot will do.
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean).map((word) =>
      rows.some(({ text }) => text.includes(word)) ? word : word.split(".").at(-1));
    for (const { row, text } of rows) row.hidden = !words.every((w) => text.includes(w));
    for (const section of sections) {
      section.hidden = !section.querySelector(".tag_porting tbody tr:not([hidden])");
      const link = document.querySelector(`.page-sections a[href="#${section.id}"]`);
      if (link) link.parentElement.hidden = section.hidden;
    }
    const left = rows.filter(({ row }) => !row.hidden).length;
    status.textContent = !words.length ? ""
      : left ? `${left} of ${rows.length} rows` : "No row has it.";
  });
})();
