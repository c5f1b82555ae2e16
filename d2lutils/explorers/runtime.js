// The code that all explorers share: drawing helpers, then the controls.
//
// Python joins these parts into one function for each figure, see base.py:
//   const config     the opening settings, controls and tables of one figure, as JSON
//   this file
//   <figure>.js      defines compute(settings) and view(result)
//   start()          below
//
// compute(settings) returns all results for the settings, equal to Python's compute.
// view(result) returns what to show:
//   svg, width, height   the picture and its view box; it is drawn 300 to 480 pixels
//                        wide, so with a width of about 400 text stays readable
//   ok                   whether the puzzle is solved
//   verdict, summary     plain text, equal to Python's words
//   detail               HTML below the controls
//   limits               optional: current upper limits of sliders, by name; a slider
//                        at its limit stands for the highest value, so it stays at the
//                        end when the limit changes

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" };

// Text escaped for HTML content or an attribute value.
function esc(words) {
  return String(words).replace(/[&<>"']/g, (c) => ENTITIES[c]);
}

// A number with at most two decimals.
function num(value) {
  return String(Math.floor(value * 100 + 0.5) / 100);
}

function commas(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

function plural(n, thing) {
  return n === 1 ? `${n} ${thing}` : `${n} ${thing}s`;
}

// [f(0), ..., f(n - 1)]
function times(n, f) {
  return Array.from({ length: n }, (_, i) => f(i));
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function rect(style, x, y, width, height, radius = 0) {
  return `<rect class="${style}" x="${num(x)}" y="${num(y)}" width="${num(width)}" ` +
    `height="${num(height)}" rx="${num(radius)}"/>`;
}

// Class x-end right-aligns the text, x-mid centres it.
function text(style, x, y, words) {
  return `<text class="${style}" x="${num(x)}" y="${num(y)}">${esc(words)}</text>`;
}

// `width` and `dash` are those of the stroke. An empty path draws nothing.
function path(style, d, width = 0, dash = "") {
  if (!d) return "";
  const stroke = width ? ` stroke-width="${num(width)}"` : "";
  const dashes = dash ? ` stroke-dasharray="${dash}"` : "";
  return `<path class="${style}" d="${d}"${stroke}${dashes}/>`;
}

// A part of the picture that sets the control `name` to `value` when it is clicked, or
// when Enter or Space is pressed while it has the focus. For a pressed part, `value` is
// the one that releases it. Labels are unique within a picture. Paths drawn after the
// parts do not catch clicks; text drawn right after an x-pin rectangle is readable.
function part(name, value, label, pressed, body) {
  return `<g data-set="${esc(name)}" data-to="${num(value)}"${pressed ? " data-on" : ""} ` +
    `aria-label="${esc(label)}">${body}</g>`;
}

// One labelled input; a slider of more than 100 steps gets its own row.
function inputOf({ name, label, kind, low, high, step, options }) {
  const common = `name="${esc(name)}" autocomplete="off"`;
  if (kind === "hidden") return `<input type="hidden" ${common}>`;
  if (kind === "checkbox") {
    return '<label class="x-switch">' +
      `<input type="checkbox" ${common}> <span>${esc(label)}</span></label>`;
  }
  if (kind === "select") {
    const choices = options.map(([value, words]) =>
      `<option value="${esc(value)}">${esc(words)}</option>`);
    return `<label><span>${esc(label)}</span>` +
      `<select ${common}>${choices.join("")}</select></label>`;
  }
  const range = kind === "range";
  const wide = range && high - low > 100 * step ? ' class="x-wide"' : "";
  return `<label${wide}><span>${esc(label)}${range ? ' <b aria-hidden="true"></b>' : ""}</span>` +
    `<input type="${kind}" ${common} min="${low}" max="${high}" step="${step}"></label>`;
}

function markup(title) {
  return '<svg role="img"></svg><div class="x-side">' +
    '<p class="x-verdict" role="status"></p>' +
    `<fieldset><legend>${esc(title)}: settings</legend>` +
    config.controls.map(inputOf).join("") +
    '<div class="x-row"><button type="button">Start over</button>' +
    '<span class="x-count"></span></div></fieldset>' +
    '<div class="x-detail"></div></div>';
}

// Replaces the plain text by the picture and the controls.
function wake(root) {
  const columns = document.createElement("div");
  columns.className = "x-columns";
  columns.innerHTML = markup(root.getAttribute("aria-label"));
  // A page that was saved while running already has them.
  root.querySelector(".x-columns")?.remove();
  root.append(columns);
  root.querySelector(".x-plain").hidden = true;

  const find = (selector) => columns.querySelector(selector);
  const svg = find("svg");
  const fieldset = find("fieldset");
  const inputs = [...fieldset.querySelectorAll("[name]")];
  const inputNamed = (name) => inputs.find((input) => input.name === name);
  const parts = () => [...svg.querySelectorAll("[data-set]")];
  const highest = {}; // of the sliders whose ends move
  // For each slider, the value that it shows and the setting that it stands for.
  const wanted = new Map();

  root.compute = (settings) => compute({ ...config.defaults, ...settings });

  function say(element, words) {
    if (element.textContent !== words) element.textContent = words;
  }

  function showNumber(input) {
    if (input.type === "range") say(input.parentNode.querySelector("b"), num(input.value));
  }

  function put(input, value) {
    if (input.type === "checkbox") input.checked = value;
    else input.value = value;
    wanted.set(input, [input.value, value]);
    showNumber(input);
  }

  function valueOf(input) {
    if (input.type === "checkbox") return input.checked;
    if (input.tagName === "SELECT") return input.value;
    if (input.name in highest) {
      const [shown, meant] = wanted.get(input);
      if (input.value === shown) return meant;
      if (input.value === input.max) return highest[input.name];
    }
    return Number(input.value);
  }

  // The parts of a picture are a single stop of the Tab key.
  function stopAt(stop) {
    for (const part of parts()) {
      part.setAttribute("role", "button");
      part.setAttribute("aria-pressed", "on" in part.dataset);
      part.setAttribute("tabindex", part === stop ? 0 : -1);
    }
  }

  function go(part) {
    stopAt(part);
    part.focus({ preventScroll: true });
  }

  function press(part) {
    inputNamed(part.dataset.set).value = part.dataset.to;
    update();
  }

  // The settings in the inputs; if a number is out of range, says so and returns null.
  function read() {
    const settings = { ...config.start };
    let wrong = null;
    for (const input of inputs) {
      const empty = input.type === "number" && input.value === "";
      if (empty || !input.checkValidity()) {
        input.setAttribute("aria-invalid", "true");
        wrong ??= input;
      } else {
        input.removeAttribute("aria-invalid");
        settings[input.name] = valueOf(input);
      }
      showNumber(input);
    }
    if (!wrong) return settings;
    root.dataset.ok = "no";
    const decimals = wrong.step === "1" ? ", without decimals" : "";
    say(find(".x-verdict"), `✗ ${wrong.parentNode.textContent.trim()}: ` +
      `a number from ${wrong.min} to ${wrong.max}${decimals}`);
    return null;
  }

  // Redraws, and keeps the focus on the part with the same label.
  function redraw(shown) {
    const before = parts();
    const at = before.indexOf(document.activeElement);
    svg.setAttribute("viewBox", `0 0 ${shown.width} ${shown.height}`);
    svg.setAttribute("aria-label", shown.summary);
    svg.innerHTML = shown.svg;
    const now = parts();
    if (!now.length) return;
    svg.setAttribute("role", "group"); // an image cannot hold buttons
    if (at < 0) {
      stopAt(svg.querySelector("[data-on]") ?? now.at(-1));
    } else {
      const label = before[at].getAttribute("aria-label");
      const same = now.find((part) => part.getAttribute("aria-label") === label);
      go(same ?? now[at] ?? now[0]);
    }
  }

  function update() {
    const settings = read();
    if (!settings) return;
    const shown = view(root.compute(settings));
    for (const [name, limit] of Object.entries(shown.limits ?? {})) {
      const input = inputNamed(name);
      highest[name] ??= config.controls.find((control) => control.name === name).high;
      input.max = limit;
      put(input, settings[name]);
    }
    redraw(shown);
    root.dataset.ok = shown.ok ? "yes" : "no";
    say(find(".x-verdict"), shown.verdict);
    const open = find(".x-detail details[open]");
    find(".x-detail").innerHTML = shown.detail;
    if (open) find(".x-detail details")?.setAttribute("open", "");
    const changed = inputs.filter(
      (input) => settings[input.name] !== config.start[input.name]).length;
    say(find(".x-count"), !changed ? "Nothing changed yet."
      : shown.ok ? `Solved with ${plural(changed, "change")}.`
      : `${plural(changed, "setting")} changed.`);
  }

  function startOver() {
    for (const input of inputs) put(input, config.start[input.name]);
    update();
  }

  // JupyterLab disables its shortcuts only if the focused element has this attribute;
  // without it an arrow key on a slider selects the next cell.
  root.addEventListener("focusin", (event) => {
    event.target.dataset.lmSuppressShortcuts = true;
  });
  // Not on "change", which fires when a click leaves a number field: the clicked part
  // would be redrawn between pressing and releasing the mouse button.
  fieldset.addEventListener("input", update);
  find("button").addEventListener("click", startOver);
  svg.addEventListener("click", (event) => {
    const part = event.target.closest("[data-set]");
    if (part) press(part);
  });
  svg.addEventListener("keydown", (event) => {
    const part = event.target.closest("[data-set]");
    if (!part || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = parts();
    const at = all.indexOf(part);
    const last = all.length - 1;
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1,
      ArrowDown: at + 1, Home: 0, End: last }[event.key];
    if (event.key === "Enter" || event.key === " ") press(part);
    else if (to === undefined) return;
    else go(all[Math.max(0, Math.min(last, to))]);
    event.preventDefault();
  });
  startOver();
}

// Wakes all roots with this figure's id that are not awake yet. The script may run
// before its root exists (Colab), so it retries for five seconds. If a figure is twice
// on a page, the second gets another id.
function start(tries = 100) {
  const all = [...document.querySelectorAll(`[id="${config.id}"]`)];
  const asleep = all.filter((root) => !root.compute && root.querySelector(".x-plain"));
  for (const root of asleep) {
    for (let k = 2; document.querySelectorAll(`[id="${root.id}"]`).length > 1; k++) {
      root.id = `${config.id}-${k}`;
    }
    wake(root);
  }
  if (!all.some((root) => root.compute) && tries) setTimeout(start, 50, tries - 1);
}
