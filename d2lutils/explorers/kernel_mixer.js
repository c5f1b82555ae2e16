// Numbers are integers (images in quarters, kernels in sixteenths, routing values in
// tenths) and divided once, at the end, as in Python.
const { image: IMAGE, experts: EXPERTS } = config.tables;
const NAMES = Object.keys(EXPERTS);
const KERNELS = Object.values(EXPERTS);
const SIZE = IMAGE.length;
const K = KERNELS.length;
const TAPS = 9;

const WAYS = {
  outside: "✓ Equal, way 1 of 3: the ReLU waits until all is summed",
  one: "✓ Equal, way 2 of 3: one expert alone, nothing to mix",
  signs: "✓ Equal, way 3 of 3: no two experts differ in sign, anywhere",
};
const WHY = {
  outside: "A convolution is linear in its kernel: sum before or after it, the result " +
    "is the same, whatever the routing.",
  one: "No routing value is negative, so ReLU(r·a) = r·ReLU(a). The other experts are " +
    "silent.",
  signs: "Where all answers have one sign, ReLU keeps them all or drops them all. This " +
    "depends on the image: one negative pixel can end it.",
};

const relu = (value) => Math.max(0, value);
const map = (f, rows) => rows.map((row) => row.map(f));
const divided = (values, unit) => values.map((value) => value / unit);

// The image, zero-padded, convolved with a kernel; in units of 1/64.
function convolved(kernel) {
  return times(SIZE, (y) => times(SIZE, (x) =>
    sum(kernel.map((weight, i) => {
      const pixel = IMAGE[y + Math.floor(i / 3) - 1]?.[x + (i % 3) - 1];
      return weight * Number(pixel ?? 0);
    }))));
}

function compute(settings) {
  const { inside, side, solo } = settings;
  const routing = NAMES.map((name, k) =>
    (solo === -1 || solo === k ? Math.round(10 * settings[name]) : 0));
  const answers = KERNELS.map(convolved);
  const kernel = times(TAPS, (i) => sum(routing.map((r, k) => r * KERNELS[k][i])));
  // A convolution with the mixed kernel, not the sum of the answers.
  const mixed = map(relu, convolved(kernel));
  const summed = times(SIZE, (y) => times(SIZE, (x) => {
    const terms = answers.map((answer, k) =>
      routing[k] * (inside ? relu(answer[y][x]) : answer[y][x]));
    return relu(sum(terms));
  }));
  let largest = 0;
  let unequal = 0;
  let pixel = null;
  mixed.forEach((row, y) => row.forEach((value, x) => {
    const gap = Math.abs(summed[y][x] - value);
    if (gap) unequal++;
    if (gap > largest) [largest, pixel] = [gap, [y, x]];
  }));
  const on = routing.filter(Boolean).length;
  const ok = on > 0 && !unequal;
  const way = !inside ? "outside" : on === 1 ? "one" : "signs";
  return {
    settings,
    routing: divided(routing, 10),
    kernel: divided(kernel, 160),
    answers: answers.map((answer) => map((v) => v / 64, answer)),
    mixed: map((v) => v / 640, mixed),
    summed: map((v) => v / 640, summed),
    largest: largest / 640,
    unequal,
    pixel,
    on,
    cost: [(K + side * side) * TAPS, K * side * side * (TAPS + 1)],
    way: ok ? way : "",
    ok,
  };
}

// -8 to 8, of which 8 is reached at 8 / steps.
function shadeOf(value, steps) {
  return Math.min(8, Math.ceil(steps * Math.abs(value))) * (value > 0 ? 1 : -1);
}

// A path in one of the eight shades of a colour, or of amber below 0.
function tinted(shade, d, colour = "var(--focus)") {
  if (!shade || !d) return "";
  const opacity = num(Math.abs(shade) / 8);
  return `<path stroke="${shade < 0 ? "#d08a10" : colour}" opacity="${opacity}" d="${d}"/>`;
}

// Numbers as colours, eight shades up to 2; a path for each shade.
function cells(x, y, cell, rows, colour) {
  const n = rows.length;
  const paths = new Map();
  rows.forEach((row, i) => {
    const shades = row.map((value) => shadeOf(value, 4));
    for (let j = 0, end; j < n; j = end) {
      for (end = j + 1; end < n && shades[end] === shades[j];) end++;
      paths.set(shades[j], `${paths.get(shades[j]) ?? ""}M${j} ${i}h${end - j}`);
    }
  });
  const body = times(17, (k) => tinted(k - 8, paths.get(k - 8), colour)).join("");
  return rect("x-box", x - 1, y - 1, n * cell + 2, n * cell + 2) +
    `<g transform="translate(${num(x)} ${num(y + cell / 2)}) scale(${cell})" ` +
    `stroke-width=".9" stroke-dasharray=".9 .1" stroke-miterlimit="1">${body}</g>`;
}

// A square around the pixel.
function frame(x, y, cell, pixel) {
  if (!pixel) return "";
  const corner = `M${num(x + pixel[1] * cell)} ${num(y + pixel[0] * cell)}`;
  return path("x-wire-bad", `${corner}h${cell}v${cell}h-${cell}z`);
}

function view(result) {
  return {
    svg: drawExperts(result) + drawMixedKernel(result) + drawAnswers(result) +
      drawBoth(result) + drawCost(result),
    width: 400,
    height: 474,
    ok: result.ok,
    verdict: verdictOf(result),
    summary: summaryOf(result),
    detail: detailOf(result),
  };
}

function drawExperts({ settings: s, routing }) {
  const image = map((v) => Number(v) / 2, IMAGE.map((row) => [...row]));
  let svg = text("x-bold", 6, 14, "image") + cells(6, 24, 8, image, "var(--ink)") +
    text("x-bold", 92, 14, "experts") + text("x-soft", 152, 14, "click one: it plays solo");
  KERNELS.forEach((kernel, k) => {
    const x = 88 + 78 * k;
    const alone = s.solo === k;
    const rows = [0, 3, 6].map((i) => divided(kernel.slice(i, i + 3), 8));
    const body = cells(x + 15, 24, 16, rows) +
      rect(alone ? "x-pin" : "x-box", x, 78, 76, 22, 4) + text("x-mid", x + 38, 93, NAMES[k]);
    svg += part("solo", alone ? -1 : k, `${NAMES[k]}, only this expert`, alone, body) +
      text(`x-mid ${routing[k] ? "x-bold" : "x-soft"}`, x + 38, 117, `× ${num(routing[k])}`);
  });
  return svg;
}

// Left: one kernel mixed from four, with each number on its colour.
function drawMixedKernel({ kernel }) {
  const blocks = kernel.map((value, i) => {
    const x = 6 + 58 * (i % 3);
    const y = 152 + 26 * Math.floor(i / 3);
    const ground = tinted(shadeOf(value, 8), `M${x} ${y + 13}h58`);
    return rect("x-box", x, y, 58, 26) + `<g stroke-width="26">${ground}</g>` +
      rect("x-box", x + 6, y + 4, 46, 18, 3) + text("x-mid", x + 29, y + 17.5, num(value));
  });
  return text("x-bold", 6, 142, "mix kernels") + text("x-bold", 206, 142, "mix answers") +
    blocks.join("") + text("x-soft", 6, 248, "↓ convolve once, then ReLU");
}

// Right: four answers.
function drawAnswers({ settings: s, routing, answers, pixel }) {
  const drawn = answers.map((answer, k) => {
    const x = 206 + 49 * k;
    const on = routing[k] > 0;
    const shown = cells(x, 153, 5, s.inside ? map(relu, answer) : answer);
    return (on ? shown : `<g opacity=".3">${shown}</g>`) + frame(x, 153, 5, on && pixel) +
      text(on ? "x-mid" : "x-mid x-soft", x + 20, 210, `× ${num(routing[k])}`);
  });
  return drawn.join("") +
    text("x-soft", 206, 228, s.inside ? "each after its own ReLU" : "before any ReLU") +
    text("x-soft", 206, 248, s.inside ? "↓ sum" : "↓ sum, then ReLU");
}

// Below: both results and their difference.
function drawBoth({ mixed, summed, largest, pixel, ok }) {
  const gaps = mixed.map((row, y) => row.map((value, x) => Math.abs(summed[y][x] - value)));
  const maps = [[14, mixed], [152, gaps, "var(--bad)"], [290, summed]].map(
    ([x, rows, colour]) => cells(x, 256, 12, rows, colour) + frame(x, 256, 12, pixel));
  const words = pixel
    ? text("x-mid", 62, 370, `framed: ${num(mixed[pixel[0]][pixel[1]])}`) +
      text("x-mid", 338, 370, `framed: ${num(summed[pixel[0]][pixel[1]])}`) +
      text("x-bad x-mid x-bold", 200, 370, `differ by ${num(largest)}`)
    : text(`${ok ? "x-ok" : "x-bad"} x-mid x-bold`, 200, 370, "equal");
  return maps.join("") + text("x-big x-mid", 131, 309, "↔") +
    text("x-big x-mid", 269, 309, "↔") + words +
    text("x-soft", 6, 394, "blue: above 0, amber: below 0, red: how far apart");
}

function drawCost({ settings: s, cost }) {
  const bars = ["mix kernels", "mix answers"].map((words, i) => {
    const y = 444 + 22 * i;
    const length = num((226 * cost[i]) / Math.max(...cost));
    return text("", 6, y, words) + text("x-end", 394, y, commas(cost[i])) +
      path("x-bar", `M92 ${y - 4}h${length}`, 12);
  });
  return text("x-bold", 6, 424, `multiply-adds, ${s.side} × ${s.side} map, one channel`) +
    bars.join("");
}

function verdictOf({ largest, unequal, on, way, ok }) {
  if (ok) return WAYS[way];
  if (!on) return "✗ Equal, but only because every expert is off";
  return `✗ Up to ${num(largest)} apart in ${unequal} of ${SIZE * SIZE} pixels: ` +
    "each ReLU cuts too soon";
}

function summaryOf({ settings: s, routing, kernel, largest, cost }) {
  const values = NAMES.map((name, k) => `${name} ${num(routing[k])}`).join(", ");
  return `Routing: ${values}; ReLU ${s.inside ? "inside the experts" : "after the sum"}. ` +
    `Mixed kernel: ${kernel.map(num).join(", ")}. Largest difference of the two answers: ` +
    `${num(largest)}. Multiply-adds: mix kernels ${commas(cost[0])}, mix answers ` +
    `${commas(cost[1])}.`;
}

function detailOf(result) {
  const { settings: s, pixel, cost, way, ok } = result;
  const places = commas(s.side * s.side);
  let first = "";
  if (pixel) {
    first = `<p>In the framed pixel, row ${pixel[0] + 1}, column ${pixel[1] + 1}:</p>` +
      `<code>${esc(workedOut(result))}</code>`;
  } else if (ok) {
    first = `<p>${esc(WHY[way])}</p>`;
  }
  return first +
    `<p>Mixing kernels: ${K}·${TAPS} + ${places}·${TAPS}. Mixing answers: ` +
    `${K}·${places}·(${TAPS} + 1), <b>${num(cost[1] / cost[0])} times</b> as many. Both ` +
    `count all ${K} experts, silent ones too.</p>` +
    "<details><summary>Hint</summary><p>ReLU(a + b) = ReLU(a) + ReLU(b) unless a and b " +
    "differ in sign. Which experts never answer with a negative number here?</p></details>";
}

// Both sums of the framed pixel.
function workedOut({ routing, answers, mixed, summed, pixel: [y, x] }) {
  const on = NAMES.map((_, k) => k).filter((k) => routing[k]);
  const added = (term) =>
    on.map((k) => `${num(routing[k])}·${term(answers[k][y][x])}`).join(" + ");
  const before = added((v) => (v < 0 ? `(${num(v)})` : num(v)));
  const each = added((v) => `ReLU(${num(v)})`);
  return `mix kernels:\nReLU(${before}) = ${num(mixed[y][x])}\n` +
    `mix answers:\n${each} = ${num(summed[y][x])}`;
}
