// All rows have the same columns, so that channels, their weights and the outputs are
// aligned.
const { samples: SAMPLES, kernels: KERNELS, constant: CONSTANT, mistakes: MISTAKES } =
  config.tables;
const NAMES = "ABCD";
const LEFT = 56;
const SPAN = 340;
const CELL = 36;
const BATCH = 24; // top of each row
const STRIP = 100;
const WEIGHTS = 162;
const SUMS = 216;

// [example, channel] at each position of the folded strip.
function fold(order, n, channels) {
  return times(n * channels, (p) => {
    if (order === "channel") return [p % n, Math.floor(p / n)];
    const e = Math.floor(p / channels);
    return [order === "reverse" ? n - 1 - e : e, p % channels];
  });
}

// The sum of each group; group g has the kernel of example hands[g].
function outputsOf(x, kernels, strip, hands) {
  const width = kernels[0].length;
  return hands.map((hand, g) => sum(times(width, (i) => {
    const [e, c] = strip[g * width + i];
    return kernels[hand][i] * x[e][c];
  })));
}

function compute(settings) {
  const { batch_size: n, channels: width, order, samples, handed, pin } = settings;
  const equal = samples !== "distinct";
  const alike = settings.kernels === "shared" || (settings.kernels === "routed" && equal);
  const x = times(n, (e) => (samples === "constant" ? times(width, () => CONSTANT)
    : SAMPLES[equal ? 0 : e].slice(0, width)));
  const kernels = times(n, (e) => KERNELS[alike ? 0 : e].slice(0, width));
  const own = times(n, (e) => e);
  const back = own.toReversed();
  const hands = handed === "own" ? own : back;
  const strip = fold(order, n, width);
  const loop = outputsOf(x, kernels, fold("example", n, width), own);
  const outputs = outputsOf(x, kernels, strip, hands);
  const right = outputs.map((value, g) => value === loop[g]);

  // How many outputs a single mistake would change.
  function changed(otherOrder, otherHands) {
    const other = outputsOf(x, kernels, fold(otherOrder, n, width), otherHands);
    return other.filter((value, g) => value !== loop[g]).length;
  }
  const shows = {
    channel: changed("channel", own),
    reverse: changed("reverse", own),
    kernels: changed("example", back),
  };
  // Whether group g sums the same products as the loop.
  const asLoop = (g) => hands[g] === g &&
    times(width, (i) => strip[g * width + i]).every(([e, c], i) => e === g && c === i);
  const mended = order === "example" && handed === "own";
  const group = Math.floor(pin / width);
  return {
    settings,
    x,
    kernels,
    strip,
    hands,
    fits: strip.map(([e, c], p) => e === hands[Math.floor(p / width)] && c === p % width),
    outputs,
    loop,
    right,
    wrong: right.filter((ok) => !ok).length,
    lucky: own.filter((g) => right[g] && !asLoop(g)),
    shows,
    mended,
    pin: pin < 0 || pin >= n * width ? null : {
      position: pin,
      example: strip[pin][0],
      channel: strip[pin][1],
      kernel: hands[group],
      as: pin % width,
    },
    ok: mended && Object.values(shows).every(Boolean),
  };
}

function listed(words) {
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0];
}

function testOf({ outputs, wrong }) {
  const n = outputs.length;
  return `${n - wrong} of ${plural(n, "output")} as in the loop`;
}

// The text about the channel that the reader clicked, "" if there is none.
function followedOf({ pin }) {
  if (!pin) return "";
  const here = `${NAMES[pin.example]}${pin.channel}`;
  const read = `${NAMES[pin.kernel]}${pin.as}`;
  return `position ${pin.position} is ${here}; kernel ${NAMES[pin.kernel]} ` +
    (here === read ? "reads it as such ✓" : `takes it for ${read} ✗`);
}

function view(result) {
  return {
    svg: draw(result),
    width: 400,
    height: 312,
    ok: result.ok,
    ...wordsOf(result),
    detail: detailOf(result),
  };
}

function draw(result) {
  const { settings: s, strip, hands, pin, wrong } = result;
  const { batch_size: n, channels: width } = s;
  const w = Math.min(56, SPAN / (n * width));
  const x = (p) => LEFT + p * w;

  // Channel c of example e in column p.
  function cell(p, y, e, c, value) {
    const left = x(p) + (p % width ? 0.5 : 2);
    const right = x(p + 1) - ((p + 1) % width ? 0.5 : 2);
    const middle = (left + right) / 2;
    return rect(`x-e${e}`, left, y, right - left, CELL, 3) +
      text("x-mid", middle, y + 15, `${NAMES[e]}${c}`) + text("x-mid", middle, y + 31, value);
  }
  const label = (y, first, second) =>
    text("", 4, y + 15, first) + text("x-soft", 4, y + 31, second);

  let wires = "";
  let good = "";
  let bad = "";
  let cells = "";
  let parts = "";
  strip.forEach(([e, c], p) => {
    const g = Math.floor(p / width);
    const i = p % width;
    const middle = num(x(p + 0.5));
    const pinned = pin?.position === p;
    // The label contains the visible text, for users of speech input.
    const name = `${NAMES[e]}${c} ${result.x[e][c]}, position ${p}`;
    cells += cell(p, BATCH, g, i, result.x[g][i]) +
      cell(p, WEIGHTS, hands[g], i, `×${result.kernels[hands[g]][i]}`);
    parts += part("pin", pinned ? -1 : p, name, pinned, cell(p, STRIP, e, c, result.x[e][c]));
    wires += `M${num(x(e * width + c + 0.5))} ${BATCH + CELL}L${middle} ${STRIP}`;
    if (result.fits[p]) good += `M${middle} ${WEIGHTS - 15}v12`;
    else bad += `M${num(x(p + 0.5) - 4)} ${WEIGHTS - 13}l8 8m0 -8l-8 8`;
  });

  let brackets = "";
  let sums = "";
  result.right.forEach((right, g) => {
    const left = x(g * width) + 2;
    const end = x((g + 1) * width) - 2;
    const middle = (left + end) / 2;
    brackets += `M${num(left)} ${STRIP + CELL + 2}v6H${num(end)}v-6` +
      `M${num(middle)} ${WEIGHTS + CELL + 1}v15m-4 -5l4 5l4 -5`;
    sums += rect(right ? "x-right" : "x-wrong", left, SUMS, end - left, CELL, 3) +
      text(`x-bold x-mid ${right ? "x-ok" : "x-bad"}`, middle, SUMS + 15,
        `${result.outputs[g]} ${right ? "✓" : "✗"}`) +
      text("x-mid", middle, SUMS + 31, `${NAMES[g]}: ${result.loop[g]}`);
  });

  const followed = followedOf(result);
  const test = `${wrong ? "✗ the test fails" : "✓ the test passes"}: ${testOf(result)}`;
  return text("x-bold", 4, 14, `(${n}, ${width}, H, W) → (1, ${n * width}, H, W), groups=${n}`) +
    label(BATCH, "batch", `of ${n}`) + label(STRIP, "folded", "into 1") +
    label(WEIGHTS, "groups", "kernels") + label(SUMS, "outputs", "loop's") +
    path("x-bar", wires, 1.5) + path("x-wire", brackets) + path("x-wire-ok", good) +
    path("x-wire-bad", bad) + cells + sums + parts +
    (pin ? frames(pin, width, w, x) : "") +
    rect(wrong ? "x-wrong" : "x-right", 4, 260, 392, 26, 5) +
    text(wrong ? "x-bad" : "x-ok", 12, 278, test) +
    text(followed ? "" : "x-soft", 4, 305,
      followed || "click a folded channel: whose is it, and who reads it?");
}

// Frames around the channel followed, in the batch, in the strip and at its weight.
function frames(pin, width, w, x) {
  const p = pin.position;
  const q = pin.example * width + pin.channel;
  const squares = [[q, BATCH], [p, STRIP], [p, WEIGHTS]].map(([column, y]) =>
    `M${num(x(column))} ${y - 1}h${num(w)}v${CELL + 2}h${num(-w)}z`);
  const wire = `M${num(x(q + 0.5))} ${BATCH + CELL + 1}L${num(x(p + 0.5))} ${STRIP - 1}`;
  return path("x-bar-pin", squares.join("") + wire, 2.5);
}

function wordsOf(result) {
  const { strip, hands, outputs, loop, wrong, shows, mended, ok } = result;
  const hidden = Object.keys(MISTAKES).filter((name) => !shows[name]);
  let verdict = "✗ nobody notices: the test passes, and the fold is wrong";
  if (ok) verdict = `✓ mended: ${testOf(result)}, and this batch would show every mistake`;
  else if (mended) {
    const mistakes = listed(hidden.map((name) => MISTAKES[name]));
    verdict = `✗ mended, but this batch would hide ${mistakes}`;
  } else if (wrong) {
    verdict = `✗ exposed: ${wrong} of ${outputs.length} outputs wrong. Now mend the fold`;
  }
  const followed = followedOf(result);
  const summary = `Folded: ${strip.map(([e, c]) => `${NAMES[e]}${c}`).join(" ")}. ` +
    `Kernels: ${hands.map((e) => NAMES[e]).join(", ")}. Outputs: ${outputs.join(", ")}; ` +
    `the loop's: ${loop.join(", ")}.${followed ? ` Followed: ${followed}.` : ""}`;
  return { verdict, summary };
}

// The sums, the mistakes that the batch would show, and the calls.
function detailOf(result) {
  const { settings: s, strip, hands, outputs, loop, right, lucky, shows } = result;
  const width = s.channels;
  const sums = hands.map((hand, g) => {
    const terms = times(width, (i) => {
      const [e, c] = strip[g * width + i];
      return `${result.kernels[hand][i]}·${result.x[e][c]}`;
    });
    const end = right[g] ? "✓" : `✗ the loop's is ${loop[g]}`;
    return `${NAMES[g]}: ${terms.join(" + ")} = ${outputs[g]} ${end}`;
  });
  const mistakes = Object.keys(MISTAKES).map((name) => `${MISTAKES[name]} <b>${shows[name]}</b>`);
  return `<code>${sums.join("\n")}</code>` +
    (lucky.length ? "<p>Right only because the numbers are the same: " +
      `${listed(lucky.map((g) => NAMES[g]))}.</p>` : "") +
    `<p>Of ${plural(outputs.length, "output")} a single mistake would make wrong on this ` +
    `batch: ${mistakes.join(", ")}.</p>` +
    (s.samples !== "distinct" && s.kernels === "routed"
      ? "<p>Equal examples get the same routing, so equal kernels.</p>" : "") +
    callsOf(s);
}

// The fold in both frameworks as HTML; the reader's changes are marked.
function callsOf(s) {
  function mark(word, ...names) {
    const changed = names.some((name) => s[name] !== config.start[name]);
    return changed ? `<mark>${word}</mark>` : word;
  }
  const moves = { example: "", channel: ".transpose(0, 1)", reverse: ".flip(0)" };
  const back = s.handed === "own" ? "" : ".flip(0)";
  const inGluon = (call) => call.replace("transpose", "swapaxes").replace("flip(", "flip(axis=");
  const total = mark(s.batch_size * s.channels, "batch_size", "channels");
  const groups = mark(s.batch_size, "batch_size");
  const x = `x${moves[s.order]}`;
  const kernels = `kernels${back}`;
  return `PyTorch<code>strip = ${mark(x, "order")}.reshape(1, ${total}, H, W)\n` +
    `y = F.conv2d(strip, ${mark(kernels, "handed")}.flatten(0, 1), groups=${groups})</code>` +
    `Gluon<code>strip = ${mark(inGluon(x), "order")}.reshape((1, ${total}, H, W))\n` +
    `y = mx.nd.Convolution(strip, ${mark(inGluon(kernels), "handed")}` +
    `.reshape((-1, ${mark(s.channels, "channels")}, 1, 1)),\n` +
    `    kernel=(1, 1), num_filter=${groups}, num_group=${groups}, no_bias=True)</code>`;
}
