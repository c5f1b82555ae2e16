/* Search in a dialog: by the buttons, Ctrl+K or "/". Hits appear while one types; Enter
   leads to the search page, which shows all of them with excerpts. The index and
   Sphinx's search come when the dialog opens for the first time: as scripts, because
   scripts may be loaded from a file, too. */
(() => {
  "use strict";
  // A browser lets no script read a page beside the open file: no excerpts there.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  const SHOWN = 8;
  const FILES = ["_static/language_data.js", "_static/searchtools.js", "searchindex.js"];
  const base = new URL("..", document.currentScript.src).href;
  const dialog = document.getElementById("pst-search-dialog");
  const input = dialog.querySelector("input");
  const field = document.querySelector(".bd-search-container input");  // the search page's
  const apple = /^(Mac|iPhone|iPad)/.test(navigator.platform);

  function toggle(event) {
    event?.preventDefault();  // without this script, the button leads to the search page
    if (field) field.focus();
    else if (dialog.open) dialog.close();
    else dialog.showModal();
  }
  for (const button of document.querySelectorAll(".search-button__button")) {
    button.addEventListener("click", toggle);
  }
  addEventListener("keydown", (event) => {
    const command = apple ? event.metaKey : event.ctrlKey;
    if (!command || event.shiftKey || event.altKey || !/^k$/i.test(event.key)) return;
    toggle(event);
  });
  Documentation.focusSearchBar = () => toggle();  // what Sphinx calls for "/"
  if (apple) {
    for (const key of document.querySelectorAll(".kbd-shortcut__modifier")) {
      key.textContent = "\u2318";
    }
  }

  /* Sphinx's script writes the searched words, or nothing, into each field named q as
     soon as it runs, while someone types. So a field has its name only when it is sent;
     the search page's own field shows what was searched for until a person writes. */
  const box = field ?? input;
  const { name } = box;
  const hide = () => box.removeAttribute("name");
  box.form.addEventListener("submit", () => { box.name = name; });
  if (field) {
    if (!field.value) field.value = new URLSearchParams(location.search).get(name) ?? "";
    hide();
    return;
  }

  const status = Object.assign(document.createElement("p"), { className: "search-status" });
  const list = Object.assign(document.createElement("ul"), { className: "search-hits" });
  status.setAttribute("role", "status");
  dialog.append(status, list);

  const load = (file) => new Promise((done, failed) => {
    document.head.append(Object.assign(document.createElement("script"), {
      src: base + file, onload: done, onerror: failed }));
  });
  let loading = null;
  function ready() {
    if (!loading) hide();
    return loading ??= FILES.reduce(
      (before, file) => before.then(() => load(file)), Promise.resolve(),
    );
  }

  function hit([page, title, anchor], terms) {
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    link.href = `${base}${page}.html${anchor}`;
    link.innerHTML = title;  // from the book's own index, where it is HTML
    link.addEventListener("click", () => {  // the next page marks the words
      try { localStorage.setItem("sphinx_highlight_terms", terms); } catch { /* a frame */ }
      dialog.close();
    });
    return item;
  }

  async function search() {
    await ready();
    const query = input.value.trim();
    const parsed = Search._parseQuery(query);
    localStorage.removeItem("sphinx_highlight_terms");
    const hits = query ? Search._performSearch(...parsed).reverse() : [];
    const terms = [...parsed[3]].join(" ");
    list.replaceChildren(...hits.slice(0, SHOWN).map((found) => hit(found, terms)));
    status.textContent = !query ? "" : !hits.length ? "Nothing found."
      : hits.length <= SHOWN ? `Found ${hits.length}.`
      : `The best ${SHOWN} of ${hits.length}. Enter shows all.`;
  }
  input.addEventListener("focus", ready);
  input.addEventListener("input", search);
})();
