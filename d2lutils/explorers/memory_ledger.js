// The bar, its parts with their bytes, the batch sizes, and a column per layer.
const { nets: NETS, words: WORDS } = config.tables;
const ITEMS = { float32: 4, float16: 2, float64: 8 };
const STATES = { sgd: 0, momentum: 1, adam: 2 };
const PLACES = { pytorch: 8, gluon: 4 }; // bytes of the place of a maximum
const IMAGES = 32; // the goal
const LIMIT = 256 * 2 ** 20;
const LEFT = 6;
const SPAN = 368;
const ROW = 17;
const TALL = 62;
// How each part is drawn: class and dashes of a thick line.
const LOOKS = {
  parameters: ["x-bar-pin", ""],
  gradients: ["x-bar-pin", "3 1"],
  state: ["x-bar-pin", "1 2"],
  input: ["x-bar", "2 1"],
  activations: ["x-bar", ""],
  indices: ["x-bar-bad", ""],
  masks: ["x-bar-bad", "2 1"],
  live: ["x-bar", ""],
};

const keptBy = (row) => row.activations + row.indices + row.masks;
const neededBy = (op) => op.input + op.maps + op.indices;

// The bytes of each layer of the net; each tensor is counted at most once.
function walk(s, inplace) {
  const net = NETS[s.net];
  const torch = s.framework === "pytorch";
  const item = ITEMS[s.dtype];
  const rows = [];
  const ops = [];
  let n = s.size;
  let channels = net.channels;
  let parameters = 0;
  const places = () => s.batch_size * channels * n * n;
  const row = (group, name, indices = 0, masks = 0) =>
    rows.push({ group, name, activations: 0, indices, masks });

  // The previous layer's output; `row` is the row of the layer that keeps it.
  let now = { bytes: item * places(), kept: false, row: 0 };
  const input = now;
  const tensors = [now];

  // Adds a layer: whether backward needs its input and its output, whether the output
  // shares the input's memory, bytes of an index and of a mask per output, and whether
  // it also runs in inference.
  function layer(group, name, needs, same = false, index = 0, mask = 0, runs = true) {
    const read = now === input ? 0 : now.bytes;
    const written = item * places();
    if (needs.input) now.kept = true;
    if (!same) {
      now = { bytes: written, kept: false, row: rows.length };
      tensors.push(now);
    } else if (needs.output) {
      now.row = rows.length;
    }
    if (needs.output) now.kept = true;
    row(group, name, index * places(), mask * places());
    if (!runs) return;
    ops.push({ group, name, input: input.bytes, maps: same ? read : read + written,
      indices: torch ? index * places() : 0 });
  }

  function block(name, [kernel, stride, padding, ...widths], reluAtEnd) {
    widths.forEach((width, i) => {
      const [k, step, pad] = i ? [1, 1, 0] : [kernel, stride, padding];
      n = Math.floor((n + 2 * pad - k) / step) + 1;
      parameters += item * width * (channels * k * k + 1);
      channels = width;
      layer(name, `${name}, convolution ${i + 1}`, { input: true });
      if (i + 1 < widths.length || reluAtEnd) {
        layer(name, `${name}, ReLU ${i + 1}`, { output: true }, inplace);
      }
    });
  }

  row("in", "input");
  const counts = { block: 0, pooling: 0, dropout: 0 };
  for (const [kind, ...sizes] of net.plan) {
    if (kind === "block" || kind === "logits") {
      block(`block ${++counts.block}`, sizes, kind === "block");
    } else if (kind === "dropout") {
      // At rate 0 PyTorch returns the input itself, Gluon a copy.
      const mask = s.dropout ? item : 0;
      layer("d", `dropout ${++counts.dropout}`, {}, torch && !s.dropout, 0, mask, false);
    } else {
      n = Math.floor((n - 3 + sizes[0]) / 2) + 1;
      const index = kind === "max" ? PLACES[s.framework] : 0;
      layer("p", `pooling ${++counts.pooling}`, { input: true, output: !torch }, false, index);
    }
  }
  n = 1;
  layer("m", "mean", { input: !torch, output: !torch });
  for (const tensor of tensors) {
    if (tensor.kept) rows[tensor.row].activations += tensor.bytes;
  }
  const live = Math.max(...ops.map(neededBy));
  return {
    parameters,
    rows: rows.filter(keptBy),
    ops,
    kept: sum(rows.map(keptBy)),
    live,
    largest: ops.findIndex((op) => neededBy(op) === live),
  };
}

function compute(settings) {
  const s = settings;
  const net = NETS[s.net];
  if (s.size < net.smallest) {
    const error = `${net.label} needs at least ${net.smallest} pixels, not ${s.size}`;
    return { settings, error, ok: false };
  }
  const plain = walk(s, false);
  const reused = walk(s, s.framework === "pytorch");
  const { parameters, rows, ops, kept, live, largest } = s.inplace ? reused : plain;
  const [input, ...layers] = rows;
  const total = (name) => sum(layers.map((row) => row[name]));
  const fixed = parameters * (2 + STATES[s.optimizer]);
  const training = fixed + kept;
  const example = kept / s.batch_size;
  const fits = s.mode === "training" && s.batch_size >= IMAGES && training <= LIMIT;
  return {
    settings,
    error: "",
    parts: {
      parameters,
      gradients: parameters,
      state: parameters * STATES[s.optimizer],
      input: input.activations,
      activations: total("activations"),
      indices: total("indices"),
      masks: total("masks"),
    },
    training,
    inference: parameters + live,
    rows,
    ops,
    largest,
    crossover: Math.floor(fixed / example) + 1,
    fixed,
    example,
    spared: { training: plain.kept - reused.kept, inference: plain.live - reused.live },
    ok: s.net === "nin" && fits,
  };
}

const nameOf = (part) => WORDS[part] ?? part;

// Bytes in MiB with two decimals, rounded half up.
function mib(bytes) {
  const hundredths = Math.floor((100 * bytes + 2 ** 19) / 2 ** 20);
  const decimals = String(hundredths % 100).padStart(2, "0");
  return `${commas(Math.floor(hundredths / 100))}.${decimals} MiB`;
}

function view(result) {
  const { settings: s, error, ok } = result;
  if (error) {
    const summary = `No output: ${error}.`;
    return {
      svg: text("x-bold", LEFT, 14, NETS[s.net].label) + text("x-bad", LEFT, 36, `✗ ${error}`),
      width: 380,
      height: 48,
      ok,
      verdict: `✗ ${error}`,
      summary,
      detail: `<p>${summary}</p>`,
    };
  }
  const training = s.mode === "training";
  const total = result[s.mode];
  const { parameters } = result.parts;
  const parts = training ? Object.entries(result.parts)
    : [["parameters", parameters], ["live", total - parameters]];
  let svg = drawStack(parts, total, training) + drawTable(parts, total);
  let y = 95 + ROW * parts.length + 28;
  if (training) {
    svg += drawBatches(result, y);
    y += 90;
  }
  svg += drawColumns(result, y);
  return { svg, width: 380, height: y + TALL + 66, ok, ...wordsOf(result, parts, total),
    detail: detailOf(result) };
}

// The bar: the parts in a row, and the goal.
function drawStack(parts, total, training) {
  const scale = SPAN / Math.max(total, LIMIT);
  const words = training ? "one training step, after its forward pass" : "inference";
  let svg = text("x-bold", LEFT, 14, words) + rect("x-box", LEFT, 22, SPAN, 22);
  let x = LEFT;
  for (const [name, bytes] of parts) {
    const [style, dash] = LOOKS[name];
    if (bytes) svg += path(style, `M${num(x)} 33h${num(bytes * scale)}`, 18, dash);
    x += bytes * scale;
  }
  const goal = LEFT + LIMIT * scale;
  const right = goal > 100;
  return svg + path("x-wire", `M${num(goal)} 18V54`) +
    text(right ? "x-end" : "", right ? goal - 4 : goal + 4, 57, "256 MiB");
}

// A line for each part: how it is drawn, its name, its bytes.
function drawTable(parts, total) {
  const lines = parts.map(([name, bytes], i) => {
    const [style, dash] = LOOKS[name];
    const y = 95 + ROW * i;
    return path(style, `M${LEFT} ${y - 4}h16`, 10, dash) + text("", 28, y, nameOf(name)) +
      text("x-end", 246, y, mib(bytes)) + text("x-soft x-end", 374, y, commas(bytes));
  });
  const y = 95 + ROW * parts.length;
  return text("x-soft x-end", 374, 78, "bytes") + lines.join("") +
    text("x-bold", 28, y, "together") + text("x-bold x-end", 246, y, mib(total)) +
    text("x-bold x-end", 374, y, commas(total));
}

// The position of a batch size: linear between powers of two, which are equidistant.
function placeOf(batch) {
  const k = Math.floor(Math.log2(batch));
  return 20 + 42.5 * (k + batch / 2 ** k - 1);
}

// The batch sizes, with the crossover and the current batch.
function drawBatches({ settings: s, crossover }, y) {
  const here = placeOf(s.batch_size);
  const there = placeOf(crossover);
  const far = there > 240;
  const ticks = times(9, (k) => text("x-soft x-mid", placeOf(2 ** k), y + 62, 2 ** k));
  return text("x-bold", LEFT, y, "batch size") +
    text(far ? "x-end" : "", far ? there - 4 : there + 4, y + 19, `crossover ${crossover}`) +
    path("x-bar-pin", `M20 ${y + 32}H${num(there)}`, 8) +
    path("x-bar", `M${num(there)} ${y + 32}H360`, 8) +
    path("x-wire", `M${num(there)} ${y + 8}V${y + 38}`) + ticks.join("") +
    path("x-wire-pin", `M${num(here)} ${y + 39}l-5 9h10zv-13`);
}

// A column of bytes for each layer, or for each operation of inference.
function drawColumns(result, y) {
  const training = result.settings.mode === "training";
  const bars = training ? result.rows : result.ops;
  const names = training ? ["activations", "indices", "masks"] : ["input", "maps", "indices"];
  const looks = training ? names : ["input", "live", "indices"];
  const sums = bars.map(training ? keptBy : neededBy);
  const most = Math.max(...sums);
  const largest = bars[sums.indexOf(most)].name;
  const bottom = y + 27 + TALL;
  const wide = SPAN / bars.length;
  let svg = text("x-bold", LEFT, y, training ? "kept of each layer" : "needed by each operation") +
    text("", LEFT, y + 17, `most: ${largest}, ${mib(most)}`) +
    path("x-wire", `M${LEFT} ${bottom}h${SPAN}`);
  let first = 0; // column of the group
  bars.forEach((bar, i) => {
    const x = num(LEFT + (i + 0.5) * wide);
    let up = bottom;
    names.forEach((name, j) => {
      const high = (TALL * bar[name]) / most;
      const [style, dash] = LOOKS[bar.name === "input" ? "input" : looks[j]];
      if (bar[name]) svg += path(style, `M${x} ${num(up)}v${num(-high)}`, wide - 2, dash);
      up -= high;
    });
    if (bars[i + 1]?.group !== bar.group) {
      svg += text("x-soft x-mid", LEFT + ((first + i + 1) / 2) * wide, bottom + 15, bar.group);
      first = i + 1;
    }
  });
  return svg + text("x-soft", LEFT, bottom + 33, "in input, p pooling, d dropout, m mean");
}

function wordsOf(result, parts, total) {
  const { settings: s, ok } = result;
  const { label } = NETS[s.net];
  const training = s.mode === "training";
  const images = plural(s.batch_size, "image");
  const still = s.inplace ? ", in-place ReLU or not" : "";
  let verdict = `✗ ${mib(total)}, ${mib(total - LIMIT)} too much${still}`;
  if (!training) verdict = `✗ inference takes ${mib(total)}; a training step was asked for`;
  else if (s.net !== "nin") verdict = `✗ ${mib(total)}, but of ${label}; NiN was asked for`;
  else if (s.batch_size < IMAGES) {
    verdict = `✗ ${mib(total)}, but on ${images}; ${IMAGES} were asked for`;
  } else if (ok) verdict = `✓ ${mib(total)}: a training step on ${images} fits`;
  const sizes = parts.map(([name, bytes]) => `${nameOf(name)} ${mib(bytes)}`).join(", ");
  const crossover = training ? ` Crossover at batch ${result.crossover}.` : "";
  const summary = `${label}, ${s.mode}, ${images} of ${s.size} pixels: ${sizes}; ` +
    `together ${mib(total)}.${crossover}`;
  return { verdict, summary };
}

function detailOf(result) {
  const { settings: s, fixed, example, crossover, ops, largest } = result;
  const training = s.mode === "training";
  const spared = result.spared[s.mode];
  const less = `<b>${commas(spared)} bytes</b> less`;
  let why = `${less} at the largest moment: another operation needs as much.`;
  if (s.framework === "gluon") {
    why = "Gluon has no such argument; the switch does nothing.";
  } else if (training) {
    why = `${less}. Backward of a ReLU needs its output, so that is kept either way. What ` +
      "in-place overwrites, the convolution's own output, nothing keeps.";
  } else if (spared) {
    why = `${less} at the largest moment, which then is another operation's.`;
  }
  const relu = `<p><b>In-place ReLU:</b> ${why}</p>`;
  if (!training) {
    return `${relu}<p><b>Largest live set:</b> ${ops[largest].name}. The input is held.</p>`;
  }
  return `${relu}<p><b>Crossover:</b> parameters, gradients and state take ` +
    `${commas(fixed)} bytes at any batch, one image ${commas(example)} more. From batch ` +
    `${crossover} on the images take more.</p>` +
    "<p><b>Not here:</b> work space, and gradients of activations, which backward " +
    "makes.</p><details><summary>Hint</summary><p>float16 halves numbers, not places: " +
    "PyTorch's are 8 bytes each, Gluon's 4. On 32 images the optimiser's state " +
    "decides.</p></details>";
}
