// Survival by block, below it the grid in the same columns, and below that the new
// channels of each sample at the output.
const LEFT = 36;
const SPAN = 338;
const ROW = 12;
const THIN = 8;
const STEM = 16; // channels of PyramidNet's stem
const ALPHA = 48; // channels that its blocks add

// Uniform numbers in [0, 1) by mulberry32, to the bit those of Python.
function draws(seed, count) {
  let state = seed | 0;
  return times(count, () => {
    state = (state + 1831565813) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  });
}

function rounded(value, digits) {
  const unit = 10 ** digits;
  return Math.floor(value * unit + 0.5) / unit;
}

function dropProbs(n, p, rule) {
  return times(n, (i) => ({
    paper: (p * (i + 1)) / n,
    "from zero": (p * i) / n,
    "end to end": (p * i) / Math.max(1, n - 1),
    constant: p,
  })[rule]);
}

function compute(settings) {
  const { num_blocks: n, mode, rule, drop_prob, samples, seed } = settings;
  const batch = mode === "batch";
  const drops = dropProbs(n, drop_prob, rule);
  const lost = sum(drops);
  const rows = batch ? 1 : samples;
  const numbers = draws(seed, rows * n);
  const drawn = times(rows, (row) =>
    drops.map((p, i) => (numbers[row * n + i] >= p ? "1" : "0")).join(""));
  const kept = times(samples, (row) => drawn[batch ? 0 : row]);
  const widths = times(n, (i) =>
    Math.floor((2 * STEM * n + 2 * ALPHA * (i + 1) + n) / (2 * n)));
  const cells = samples * n;
  const survivors = sum(kept.map((row) => row.split("1").length - 1));
  const evaluated = batch ? survivors : cells;
  const average = batch ? rounded((100 * lost) / n, 2) : 0;
  const first = rounded(100 * (1 - drops[0]), 2);
  return {
    settings,
    survival: drops.map((p) => rounded(1 - p, 4)),
    expected: rounded(n - lost, 2),
    kept,
    kept_blocks: rounded(survivors / samples, 2),
    cells,
    evaluated,
    thrown_away: evaluated - survivors,
    saved: rounded((100 * (cells - evaluated)) / cells, 2),
    average,
    first,
    widths,
    // The final width, less the width after the last kept block.
    dark: kept.map((row) => widths.at(-1) - (widths[row.lastIndexOf("1")] ?? STEM)),
    ok: average >= 25 && first >= 95,
  };
}

function view(result) {
  const { settings: s, survival, kept, dark, ok } = result;
  const { num_blocks: blocks, samples } = s;
  const batch = s.mode === "batch";
  const cell = SPAN / blocks;
  const line = survival.map((p, i) =>
    `${i ? "L" : "M"}${num(LEFT + i * cell)} ${num(62 - 40 * p)}h${num(cell)}`);
  let svg = text("x-soft", LEFT, 14, "survival of each block") +
    rect("x-box", LEFT, 20, SPAN, 44) + path("x-wire", line.join("")) +
    text("x-soft x-end", 30, 28, "1") + text("x-soft x-end", 30, 67, "0");

  // The grid: thick cells ran and counted, thin ones ran but were thrown away.
  let top = 94;
  const gap = cell >= 8 ? 2 : cell >= 5 ? 1 : 0.5;
  let ran = "";
  let wasted = "";
  kept.forEach((row, y) => [...row].forEach((mark, i) => {
    const d = `M${num(LEFT + i * cell + gap / 2)} ${top + 8 + y * ROW}h${num(cell - gap)}`;
    if (mark === "1") ran += d;
    else if (!batch) wasted += d;
  }));
  svg += text("x-soft", LEFT, top - 8, `branches, samples × ${plural(blocks, "block")}`) +
    rect("x-box", LEFT, top, SPAN, samples * ROW + 4) +
    path("x-bar", ran, 10) + path("x-bar-bad", wasted, 4);
  let y = top + samples * ROW + 20;
  svg += text("", LEFT, y, "thick: ran and counted") +
    (batch ? text("x-ok x-end", 374, y, "empty: never ran")
      : text("x-bad x-end", 374, y, "thin: ran for nothing"));

  top = y + 28;
  const lit = dark.map((n, i) => (n < ALPHA
    ? `M${LEFT} ${top + 6 + i * THIN}H${num(LEFT + (SPAN * (ALPHA - n)) / ALPHA)}` : ""));
  svg += text("x-soft", LEFT, top - 8, `the ${ALPHA} new channels at the output`) +
    rect("x-box", LEFT, top, SPAN, samples * THIN + 4) + path("x-bar", lit.join(""), 6);
  y = top + samples * THIN + 20;
  svg += text("", LEFT, y, `empty: dark, ${num(sum(dark) / samples)} on average`);
  return { svg, width: 380, height: y + 8, ok, ...wordsOf(result), detail: detailOf(result) };
}

function wordsOf(result) {
  const { settings: s, average, first, ok } = result;
  const saves = `saves ${num(average)} % on average`;
  const survives = `the first block survives in ${num(first)} % of steps`;
  let verdict = `✗ ${saves}, but ${survives}, 95 % were asked for`;
  if (ok) verdict = `✓ ${saves}, and ${survives}`;
  else if (s.mode === "row") verdict = "✗ saves 0 %: in row mode every branch runs for the whole batch";
  else if (average < 25) verdict = `✗ ${saves}, 25 % were asked for`;
  const summary = `Mode ${s.mode}, rule ${s.rule}: ${num(result.expected)} of ` +
    `${plural(s.num_blocks, "block")} survive on average, ${num(result.kept_blocks)} in ` +
    `this draw. ${result.evaluated} of ${result.cells} branch evaluations ran, ` +
    `${result.thrown_away} for nothing.`;
  return { verdict, summary };
}

function detailOf({ settings: s, survival, dark, ...counts }) {
  return `<p>Survival: <b>${num(survival[0])}</b> first, <b>${num(survival.at(-1))}</b> last. ` +
    `Expected: <b>${num(counts.expected)}</b> of ${plural(s.num_blocks, "block")}; this draw ` +
    `keeps <b>${num(counts.kept_blocks)}</b>.</p>` +
    `<p>Branch evaluations in this draw: <b>${counts.evaluated}</b> of ${counts.cells} ran, ` +
    `<b>${counts.thrown_away}</b> for nothing: <b>${num(counts.saved)} %</b> saved.</p>` +
    `<p>Dark channels at the output: ${dark.join(", ")}.</p>`;
}
