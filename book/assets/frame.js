/* The page's frame: colour mode, dialogs, the contents, menus, the way back to the top.
   It does what the scripts of the theme and of Bootstrap, 100 kB, did for this book. */
(() => {
  "use strict";
  const root = document.documentElement;
  const find = (selector) => document.querySelector(selector);

  /* Colour mode. The one that was kept is applied in the page's head. */
  const dark = matchMedia("(prefers-color-scheme: dark)");
  function paint(mode) {
    root.dataset.mode = mode;
    root.dataset.theme = mode !== "auto" ? mode : dark.matches ? "dark" : "light";
  }
  const button = find(".theme-switch-button");
  button.title = button.getAttribute("aria-label");
  button.addEventListener("click", () => {  // the first change is one to be seen
    const modes = dark.matches ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
    paint(modes[(modes.indexOf(root.dataset.mode) + 1) % modes.length]);
    try { localStorage.setItem("mode", root.dataset.mode); } catch { /* a frame */ }
  });
  dark.addEventListener("change", () => paint(root.dataset.mode));

  /* Paper is white, and nobody can open a fold on it; answers stay folded. */
  const folds = "details:not([open], .hide, #exercises details)";
  let opened = [];
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    opened = [...document.querySelectorAll(folds)];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    paint(root.dataset.mode);
    for (const fold of opened) fold.open = false;
  });

  /* Searched words are marked after this script, in one piece only. */
  try {
    if (localStorage.getItem("sphinx_highlight_terms")) {
      const breaks = [...document.querySelectorAll("td wbr")];
      const words = new Set(breaks.map((mark) => mark.parentElement));
      for (const mark of breaks) mark.remove();
      for (const word of words) word.normalize();
    }
  } catch { /* a frame */ }

  /* Dialogs close by a click beside them and by Escape, from wherever it is pressed. */
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", ({ target, clientX: x, clientY: y }) => {
      const { left, right, top, bottom } = dialog.getBoundingClientRect();
      const inside = left <= x && x <= right && top <= y && y <= bottom;
      if (target === dialog && !inside) dialog.close();
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Escape") dialog.close();
    });
  }

  /* The contents: a column that can be put away; on a phone a drawer. */
  const column = find("#pst-primary-sidebar");
  const drawer = find("#pst-primary-sidebar-modal");
  function move(from, to) {
    to.append(...from.childNodes);
    to.classList.add(...from.classList);
    from.className = "";
  }
  find(".primary-toggle")?.addEventListener("click", () => {
    if (matchMedia("(min-width: 992px)").matches) {
      column.classList.toggle("pst-sidebar-hidden");
    } else {
      move(column, drawer);
      drawer.showModal();
    }
  });
  drawer.addEventListener("close", () => move(drawer, column));
  drawer.addEventListener("click", ({ target }) => {
    if (target.closest("a")) drawer.close();
  });

  /* Menus in the header. */
  for (const opener of document.querySelectorAll('[data-bs-toggle="dropdown"]')) {
    const box = opener.parentElement;
    const menu = opener.nextElementSibling;
    const open = (yes) => {
      menu.classList.toggle("show", yes);
      opener.setAttribute("aria-expanded", yes);
    };
    opener.addEventListener("click", () => open(!menu.classList.contains("show")));
    addEventListener("click", ({ target }) => box.contains(target) || open(false));
    box.addEventListener("focusout", ({ relatedTarget: next }) => {
      if (next && !box.contains(next)) open(false);
    });
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      open(false);
      opener.focus();
    });
  }

  /* A shadow below the header; the way back, as soon as one scrolls towards it. */
  const back = find("#pst-back-to-top");
  let before = 0;
  addEventListener("scroll", () => {
    document.body.classList.toggle("scrolled", scrollY > 0);
    back.style.display = scrollY > 200 && scrollY < before ? "block" : "none";
    before = scrollY;
  }, { passive: true });
  back.addEventListener("click", () => scrollTo({ top: 0 }));
})();
