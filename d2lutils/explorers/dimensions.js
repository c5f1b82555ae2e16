// At the top the magnified axis, below it the chain at the scale of the input, with a
// column of names on the left.
const LEFT = 6;
const SPAN = 368;
const COLUMN = 100;
const BAR = 274;
const ALL = 32; // inputs shown at most
const LENS = 16; // of more inputs, those magnified
const CHUNK = 32; // inputs in one click on the chain
const ROW = 24;
const LIMIT = 512; // the largest size that the search for a lossless one looks at

// A layer with a window [kernel size, stride, padding, dilation].
function layerOf(name, kind, [kernel_size, stride, padding, dilation], ceil_mode) {
  const span = dilation * (kernel_size - 1) + 1;
  return { name, kind, kernel_size, stride, padding, dilation, span, ceil_mode };
}

function planOf(s) {
  const window = [s.kernel_size, s.stride, s.padding, s.dilation];
  const up = (kind) => s.ceil_mode && kind === "pool";
  if (s.chain !== "nin") return [layerOf(s.chain, s.chain, window, up(s.chain))];
  const pool = [3, 2, 0, 1];
  const same = [3, 1, 1, 1];
  return [window, pool, [5, 1, 2, 1], pool, same, pool, same].map((w, i) => {
    const kind = i % 2 ? "pool" : "conv";
    return layerOf(`${kind}${1 + (i >> 1)}`, kind, w, up(kind));
  });
}

// The number of outputs of a layer for n inputs; null if its window does not fit.
function outputSize(n, layer, torch) {
  const steps = (n + 2 * layer.padding - layer.span) / layer.stride;
  if (steps < 0) return null;
  if (!layer.ceil_mode) return Math.floor(steps) + 1;
  const size = Math.ceil(steps) + 1;
  // In PyTorch no window may start in the padding.
  return torch && (size - 1) * layer.stride >= n + layer.padding ? size - 1 : size;
}

function sizesOf(n, plan, torch) {
  const sizes = [n];
  for (const layer of plan) {
    const size = sizes.at(-1);
    sizes.push(size === null ? null : outputSize(size, layer, torch));
  }
  return sizes;
}

// The inputs that output j reads, including padding.
function tapsOf(layer, j) {
  return times(layer.kernel_size, (t) =>
    j * layer.stride - layer.padding + t * layer.dilation);
}

// Positions of sizes[from] that do not affect the last layer's outputs.
function unreadFrom(from, sizes, plan) {
  let read = new Uint8Array(sizes.at(-1)).fill(1);
  for (let i = plan.length - 1; i >= from; i--) {
    const { kernel_size, stride, padding, dilation } = plan[i];
    const below = new Uint8Array(sizes[i]);
    for (let j = 0; j < read.length; j++) {
      if (!read[j]) continue;
      for (let t = 0; t < kernel_size; t++) {
        const q = j * stride - padding + t * dilation;
        if (q >= 0 && q < below.length) below[q] = 1;
      }
    }
    read = below;
  }
  const unread = [];
  read.forEach((needed, q) => {
    if (!needed) unread.push(q);
  });
  return unread;
}

// Unread positions at the left end, at the right end, and between.
function partsOf(unread, n) {
  let left = 0;
  while (left < unread.length && unread[left] === left) left++;
  let right = unread.length;
  while (right > left && unread[right - 1] === n - 1 - unread.length + right) right--;
  return { left: unread.slice(0, left), gaps: unread.slice(left, right), right: unread.slice(right) };
}

// Why a layer has no outputs; "" if all have some.
function errorOf(s, plan, sizes) {
  const [first] = plan;
  if (s.chain === "conv" && s.ceil_mode) return `${first.name}: ceil_mode is for kind='pool' only`;
  if (s.chain === "pool" && 2 * s.padding > s.kernel_size) {
    return `${first.name}: padding must be at most half of kernel_size=${s.kernel_size} ` +
      `for kind='pool', got ${s.padding}`;
  }
  if (s.chain === "pool" && s.framework === "gluon" && s.dilation > 1) {
    return `${first.name}: MXNet's pooling has no dilation, got ${s.dilation}`;
  }
  const at = sizes.indexOf(null) - 1;
  if (at < 0) return "";
  const layer = plan[at];
  const n = sizes[at];
  return `${layer.name}: a window of ${layer.span} (kernel_size=${layer.kernel_size}, ` +
    `dilation=${layer.dilation}) does not fit into ${n + 2 * layer.padding} inputs ` +
    `(n=${n}, padding=${layer.padding} on each side)`;
}

// The nearest lossless sizes.
function nearest(n, plan, torch) {
  function lossless(m) {
    const sizes = sizesOf(m, plan, torch);
    return !sizes.includes(null) && !unreadFrom(0, sizes, plan).length;
  }
  let below = n;
  while (below > 0 && !lossless(below)) below--;
  let above = n;
  while (above <= LIMIT && !lossless(above)) above++;
  return { below: below || null, above: above <= LIMIT ? above : null };
}

// The smallest possible padding with which the first layer reads every input.
function repairOf(s, first, torch) {
  const pool = s.chain === "pool";
  if (s.chain === "conv" && s.ceil_mode) return null;
  if (pool && !torch && s.dilation > 1) return null;
  for (let padding = 0; padding < first.span + first.stride; padding++) {
    if (pool && 2 * padding > s.kernel_size) return null;
    const layer = { ...first, padding };
    const size = outputSize(s.n, layer, torch);
    if (size !== null && !unreadFrom(0, [s.n, size], [layer]).length) return padding;
  }
  return null;
}

// The numbers in the row of each layer.
function rowsOf(plan, sizes, error, pin) {
  let size = 1; // the receptive field
  let jump = 1;
  let offset = 0;
  let hit = new Set(pin === null ? [] : [pin]);
  return plan.map((layer, i) => {
    const [inputs, outputs] = [sizes[i], sizes[i + 1]];
    const reached = outputs !== null;
    const room = reached ? inputs + 2 * layer.padding - layer.span : null;
    const readers = error ? [] : times(outputs, (j) => j)
      .filter((j) => tapsOf(layer, j).some((q) => hit.has(q)));
    hit = new Set(readers);
    size += (layer.span - 1) * jump;
    offset -= layer.padding * jump;
    jump *= layer.stride;
    return {
      ...layer,
      inputs,
      outputs,
      value: reached ? room / layer.stride + 1 : null,
      remainder: reached ? room % layer.stride : null,
      unread: partsOf(error ? [] : unreadFrom(0, [inputs, outputs], [layer]), inputs ?? 1),
      idle: error || i + 1 === plan.length ? [] : unreadFrom(i + 1, sizes, plan),
      readers,
      size,
      jump,
      offset,
    };
  });
}

function compute(settings) {
  const s = settings;
  const torch = s.framework === "pytorch";
  const plan = planOf(s);
  // An impossible window also has a row, without outputs.
  const refused = errorOf(s, plan, []);
  const sizes = refused ? [s.n, ...plan.map(() => null)] : sizesOf(s.n, plan, torch);
  const error = errorOf(s, plan, sizes);
  const pin = s.pin >= 0 && s.pin < s.n ? s.pin : null;
  const lost = error ? [] : unreadFrom(0, sizes, plan);
  const windows = sizes[1] ?? 0;
  const step = windows ? Math.min(s.step, windows - 1) : null;
  return {
    settings,
    error,
    sizes,
    layers: rowsOf(plan, sizes, error, pin),
    unread: partsOf(lost, s.n),
    lost: lost.length,
    windows,
    step,
    taps: windows ? tapsOf(plan[0], step) : [],
    pin,
    ...(refused ? { below: null, above: null } : nearest(s.n, plan, torch)),
    repair: repairOf(s, plan[0], torch),
    ok: !error && !lost.length,
  };
}

function view(result) {
  const { settings: s, layers, windows, pin, ok } = result;
  const tall = s.n > ALL || layers.length > 1;
  const { verdict, summary, hint } = wordsOf(result);
  const [torch, gluon] = callsOf(s);
  return {
    // The chain first, so that the last part for the arrow keys is the last input.
    svg: (tall ? drawChain(result) : "") + drawAxis(result),
    width: 380,
    height: tall ? 222 + ROW * (layers.length + 1) : 190,
    ok,
    verdict,
    summary,
    detail: (pin === null ? "" : `<p>${esc(summary)}</p>`) +
      "<p>(n - span + 2p)/s + 1, rounded down; span = d·(k - 1) + 1:</p>" +
      `<code>${layers.map(formulaOf).join("\n")}</code>` +
      `PyTorch<code>${torch}</code>Gluon<code>${gluon}</code>` +
      `<details><summary>Hint</summary><p>${hint}</p></details>`,
    limits: { step: Math.max(0, windows - 1) },
  };
}

// First and last position of each contiguous run.
function pairsOf(positions) {
  const pairs = [];
  for (const q of positions) {
    if (pairs.at(-1)?.[1] === q - 1) pairs.at(-1)[1] = q;
    else pairs.push([q, q]);
  }
  return pairs;
}

// Positions as text, at most four contiguous runs: "0, 2, 4 to 9".
function runs(positions) {
  const pairs = pairsOf(positions);
  const words = pairs.slice(0, 4).map(([a, b]) =>
    (a === b ? `${a}` : b === a + 1 ? `${a}, ${b}` : `${a} to ${b}`));
  if (pairs.length > 4) words.push("…");
  return words.join(", ") || "none";
}

function flat({ left, gaps, right }) {
  return [...left, ...gaps, ...right];
}

function inputsRead({ settings: s, taps }) {
  return taps.filter((q) => q >= 0 && q < s.n);
}

// The positions that the shown window reads, as text.
function stepOf(result) {
  const inside = inputsRead(result);
  const padding = result.taps.length - inside.length;
  const words = inside.length ? [runs(inside)] : [];
  if (padding) words.push(`${padding} of padding`);
  return `Window ${result.step} reads ${words.join(" and ")}`;
}

function wordsOf(result) {
  const { settings: s, error, sizes, layers, unread, lost, pin, ok } = result;
  const where = { left: "on the left", gaps: "in gaps", right: "on the right" };
  const places = Object.keys(where).filter((side) => unread[side].length)
    .map((side) => `${runs(unread[side])} ${where[side]}`).join("; ");
  let verdict = `✗ ${lost} of ${s.n} inputs lost: ${places}`;
  if (error) verdict = `✗ ${error}`;
  else if (ok) verdict = `✓ nothing is lost: of ${s.n} inputs each reaches an output`;
  let summary = `Sizes ${sizes.map((size) => size ?? "✗").join(" → ")}.`;
  if (!error) summary += ` ${stepOf(result)}. Lost: ${places || "none"}.`;
  if (pin !== null) {
    const reach = layers.map((row) => `${row.name} ${runs(row.readers)}`);
    summary += ` Outputs that depend on input ${pin}: ${reach.join("; ")}.`;
  }
  const hint = `Nearest sizes that lose nothing: ${result.below ?? "none"} below, ` +
    `${result.above ?? "none"} above. Smallest padding with which ${layers[0].name} reads ` +
    `every input: ${result.repair ?? "none"}.`;
  return { verdict, summary, hint };
}

// The inputs as cells, the shown window, and the outputs of the first layer.
function drawAxis(result) {
  const { settings: { n }, layers: [first], windows, pin, error, ok } = result;
  const { stride, padding, span } = first;
  let low = -padding;
  let high = Math.max(n + padding, (windows - 1) * stride - padding + span);
  if (n > ALL) {
    low = n - LENS;
    if (pin !== null && pin < low) {
      low = Math.max(0, pin - 8);
      high = low + LENS;
      low = low || -padding;
    }
  }
  const w = Math.min(34, SPAN / (high - low));
  const gap = w >= 7 ? 1 : 0.5;
  const [a, b] = [Math.max(0, low), Math.min(n, high)];
  const lost = new Set(flat(result.unread));
  const blind = new Set(flat(first.unread));
  const x = (q) => LEFT + (q - low) * w;
  const roomFor = (width, count) => width >= 8 * String(count - 1).length + 2;

  // A cell with its number, if there is room for all `count` numbers.
  function box(lit, wrong, left, top, width, height, q, count) {
    return rect(lit ? "x-pin" : wrong ? "x-wrong" : "x-box", left, top, width, height, 2) +
      (roomFor(width, count) ? text("x-mid", left + width / 2, top + 15, q) : "");
  }

  const zeros = padding ? `, ${padding} + ${padding} of padding` : "";
  let svg = text("x-bold", LEFT, 14, n > ALL
    ? `inputs ${a} to ${b - 1} of ${n}, magnified` : plural(n, "input") + zeros);
  svg += error ? text("x-bad", LEFT, 31, "✗ no outputs")
    : text("x-soft", LEFT, 31, stepOf(result));
  if (!roomFor(w - gap, b)) {
    svg += text("x-soft", x(a), 49, a) + text("x-soft x-end", x(b), 49, b - 1);
  }
  let voids = "";
  let crosses = "";
  for (let q = low; q < high; q++) {
    if (q < a || q >= b) {
      voids += `M${num(x(q))} 54h${num(w - gap)}v30h${num(gap - w)}z`;
      continue;
    }
    const pinned = q === pin;
    const label = `input ${q}${lost.has(q) ? ", lost" : ""}`;
    svg += part("pin", pinned ? -1 : q, label, pinned,
      box(pinned, lost.has(q), x(q), 54, w - gap, 30, q, b));
    if (blind.has(q)) crosses += `M${num(x(q + 0.5) - 2.5)} 75l4 4m0 -4l-4 4`;
  }
  svg += path("x-void", voids) + path("x-wire-bad", crosses);

  const taps = result.taps.filter((q) => q >= low && q < high);
  const marks = taps.map((q) => `M${num(x(q) + 1)} 90h${num(w - 2)}`).join("");
  const size = Math.min(stride, span) * w - 2 * gap;
  let boxes = "";
  let wires = "";
  let fan = "";
  for (let j = 0; j < windows; j++) {
    const left = x(j * stride - padding + span / 2) - size / 2;
    if (left < LEFT - 1 || left + size > x(high) + 1) continue;
    const lit = first.readers.includes(j);
    boxes += box(lit, first.idle.includes(j), left, 122, size, 24, j, windows);
    if (lit) wires += `M${num(x(pin + 0.5))} 94L${num(left + size / 2)} 121`;
    if (j === result.step && taps.length) {
      fan = `M${num(x(taps[0]))} 94L${num(left)} 121m0 28h${num(size)}` +
        `m0 -28L${num(x(taps.at(-1) + 1))} 94`;
    }
  }
  svg += path("x-wire", marks, 4) + path("x-wire", fan) + boxes + path("x-wire-pin", wires);
  if (ok) {
    svg += text("x-ok", LEFT, 168, "✓ no red: every input reaches an output");
  } else if (!error) {
    const unread = blind.size ? "; ×: no window reads it" : "";
    svg += text("x-bad", LEFT, 168, `✗ red: reaches no output at the end${unread}`);
  }
  let legend = "click an input: outputs that depend on it turn blue";
  if (error) legend = "nothing depends on the inputs";
  else if (pin !== null) legend = `blue: input ${pin} and the outputs that depend on it`;
  return svg + text("x-soft", LEFT, 185, legend);
}

// The start of output 0, if outputs are drawn at the centres of their receptive fields.
function leftOf(row) {
  return row.offset + (row.size - row.jump) / 2;
}

// A row for the input and for each layer, all at the scale of the input.
function drawChain(result) {
  const { settings: { n }, layers, pin } = result;
  const reached = layers.filter((row) => row.outputs !== null);
  const low = Math.min(0, ...reached.map(leftOf));
  const high = Math.max(n, ...reached.map((row) => leftOf(row) + row.outputs * row.jump));
  const unit = BAR / (high - low);
  const x = (q) => COLUMN + (q - low) * unit;
  let y = 208;

  // A line for each run of positions, dashed if single positions are visible.
  function bars(style, positions, thick, at = 0, jump = 1, dy = 9) {
    const width = jump * unit;
    const gap = width >= 3 ? 1 : 0;
    const lines = pairsOf(positions).map(([a, b]) =>
      `M${num(x(at + a * jump))} ${y + dy}h${num(Math.max(1, (b - a + 1) * width - gap))}`);
    return path(style, lines.join(""), thick, gap ? `${num(width - 1)} 1` : "");
  }

  let svg = text("x-bold", LEFT, y + 13, "input") + text("x-end", 92, y + 13, n);
  for (let a = 0; a < n; a += CHUNK) {
    const b = Math.min(n, a + CHUNK);
    const body = rect("x-box", x(a), y, (b - a) * unit, 18);
    svg += n > ALL
      ? part("pin", Math.floor((a + b) / 2), `inputs ${a} to ${b - 1}`, false, body) : body;
  }
  svg += bars("x-bar-bad", flat(result.unread), 12) +
    bars("x-wire", inputsRead(result), 4, 0, 1, 15) +
    bars("x-bar-pin", pin === null ? [] : [pin], 18);
  for (const row of layers) {
    y += ROW;
    svg += text("", LEFT, y + 13, row.name);
    if (row.outputs === null) {
      svg += row.inputs === null ? text("x-soft", COLUMN, y + 13, "never reached")
        : text("x-bad", COLUMN, y + 13, "✗ no outputs");
      continue;
    }
    const used = times(row.outputs, (j) => j).filter((j) => !row.idle.includes(j));
    svg += text("x-end", 92, y + 13, row.outputs) +
      bars("x-bar", used, 12, leftOf(row), row.jump) +
      bars("x-bar-bad", row.idle, 12, leftOf(row), row.jump) +
      bars("x-bar-pin", row.readers, 12, leftOf(row), row.jump);
  }
  return svg;
}

// The output size of a layer, with the formula in numbers.
function formulaOf(row) {
  const { name, inputs, outputs, span, stride, padding, value, ceil_mode: up } = row;
  if (inputs === null) return `${name}: never reached`;
  let words = `${name}: (${inputs} - ${span} + 2·${padding})/${stride} + 1`;
  if (outputs === null) return `${words}: ✗`;
  words += ` = ${num(value)}`;
  if (row.remainder) words += ` → ${up ? `${Math.floor(value) + 1} (up)` : Math.floor(value)}`;
  if (up && outputs < value) words += ` → ${outputs} (none may start in the padding)`;
  const unread = flat(row.unread).length;
  return unread ? `${words}, ${unread} unread` : words;
}

// The layers in PyTorch and Gluon as HTML; the reader's changes are marked.
function callsOf(s) {
  // The arguments for the named settings, with changed ones marked.
  function call(names, gluon) {
    return names.split(" ").map((name) => {
      const value = { true: "True", false: "False" }[s[name]] ?? s[name];
      let shown = name;
      if (gluon && name === "stride") shown = "strides";
      if (gluon && name === "kernel_size" && s.chain === "pool") shown = "pool_size";
      const word = `${shown}=${value}`;
      return s[name] === config.start[name] ? word : `<mark>${word}</mark>`;
    }).join(", ");
  }
  if (s.chain === "pool") {
    return [
      `nn.MaxPool2d(${call("kernel_size stride padding dilation ceil_mode")})`,
      `nn.MaxPool2D(${call("kernel_size stride padding ceil_mode", true)})`,
    ];
  }
  const window = "kernel_size stride padding dilation";
  const torch = `nn.Conv2d(1, 96, ${call(window)})`;
  const gluon = `nn.Conv2D(96, ${call(window, true)})`;
  if (s.chain === "conv") return [torch, gluon];
  const rounds = call("ceil_mode");
  return [
    `${torch}\nnn.MaxPool2d(3, stride=2, ${rounds})`,
    `${gluon}\nnn.MaxPool2D(3, strides=2, ${rounds})`,
  ];
}
