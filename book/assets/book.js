/* The switch of frameworks, its key, and two small aids for reading. The choice itself
   is applied in the page's head (book/ext/templates/layout.html), before painting. */
(() => {
  "use strict";
  const root = document.documentElement;
  const radios = [...document.querySelectorAll('input[name="framework"]')];
  const main = document.querySelector(".bd-article");

  /* Show one framework, keep the choice, and keep the reader's place on the page. */
  function choose(framework) {
    const place = main && [...main.querySelectorAll("p, h2, h3, .pair")].find(
      (element) => element.getBoundingClientRect().bottom > 60);
    const before = place ? place.getBoundingClientRect().top : 0;
    root.dataset.framework = framework;
    for (const radio of radios) radio.checked = radio.value === framework;
    try { localStorage.setItem("framework", framework); } catch (error) { /* a frame */ }
    if (place && place.offsetParent) {
      window.scrollBy({ top: place.getBoundingClientRect().top - before,
                        behavior: "instant" });
    }
  }

  /* What has to be scrolled sideways can be reached by keyboard, the rest is no stop,
     and it fades where it goes on (data-more). An observer is called after layout, when
     asking for sizes costs nothing. */
  function fade({ target: box }) {
    const left = box.scrollLeft > 1;
    const right = box.scrollLeft + box.clientWidth < box.scrollWidth - 1;
    box.dataset.more = `${left ? "left " : ""}${right ? "right" : ""}`;
  }
  const scrollable = new ResizeObserver((entries) => {
    const wide = entries.map(({ target: box }) => box.scrollWidth > box.clientWidth
      && getComputedStyle(box).overflowX !== "visible");  // what sticks out is no scroller
    entries.forEach((entry, i) => {
      if (wide[i]) {
        entry.target.tabIndex = 0;
        fade(entry);
      } else {
        entry.target.removeAttribute("tabindex");
        delete entry.target.dataset.more;
      }
    });
  });

  /* The section that is being read is marked in the contents. */
  function followReading() {
    const links = [...document.querySelectorAll(".page-sections > li > a")];
    const sections = links.map((link) => document.querySelector(link.hash));
    const mark = () => {
      const at = sections.findLastIndex(
        (s) => s?.checkVisibility() && s.getBoundingClientRect().top < 120);
      links.forEach((link, i) => link.classList.toggle("reading", i === at));
    };
    addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });
    requestAnimationFrame(() => setTimeout(mark));  // after the first layout
  }

  for (const radio of radios) {
    radio.addEventListener("change", () => choose(radio.value));
    if (radio.checked && radio.value !== root.dataset.framework) choose(radio.value);
  }
  addEventListener("keydown", (event) => {
    if (!radios.length || !event.altKey || !event.shiftKey || event.code !== "KeyF") return;
    event.preventDefault();
    const at = radios.findIndex((radio) => radio.checked);
    choose(radios[(at + 1) % radios.length].value);
  });
  const boxes = "pre, .pst-scrollable-table-container, .cell_output, .text_html, .math";
  for (const box of main ? main.querySelectorAll(boxes) : []) {
    scrollable.observe(box);
    box.addEventListener("scroll", fade, { passive: true });
  }
  followReading();
})();
