// Two rows of bars, one bar per block, with gaps between the three groups.
const LEFT = 40;
const SPAN = 334;
const GAP = 8;
const BASE = 186; // of the widths
const HIGH = 160;
const FLOOR = 306; // of the zeros
const ROOM = 60;
const STEM = 16;

function compute(settings) {
  const { depth, alpha, block, widening, rounding } = settings;
  const bottleneck = block === "bottleneck";
  const additive = widening === "additive";
  const blocks = (depth - 2) / (bottleneck ? 3 : 2);
  const widths = [];
  const extra = [];
  let share = 0;
  let parameters = 29 * STEM;
  let width = STEM;
  let last = STEM;
  for (let k = 1; k <= blocks; k++) {
    if (rounding === "exact") {
      width = additive ? Math.floor((33 * blocks + 2 * alpha * k) / (2 * blocks))
        : Math.floor(STEM * alpha ** (k / blocks) + 0.5);
    } else if (additive) {
      width += Math.floor(alpha / blocks);
    } else { // a hair above, so that 16 * 2.0 is not 31 for a root of 1.99…
      width = Math.floor(width * alpha ** (1 / blocks) + 1e-9);
    }
    const out = bottleneck ? 4 * width : width;
    widths.push(width);
    extra.push(out - last);
    share = Math.max(share, (out - last) / out);
    parameters += 2 * last + 9 * width * width + 4 * width;
    parameters += bottleneck ? width * last + width * out + 2 * out : 9 * last * width;
    last = out;
  }
  const promised = additive ? STEM + alpha : STEM * alpha;
  return {
    settings,
    blocks,
    promised,
    widths,
    extra,
    share,
    still: extra.filter((zeros) => zeros === 0).length,
    parameters: parameters + 12 * last + 10,
    ok: width === promised,
  };
}

function view(result) {
  const { settings: s, blocks: n, promised, widths, extra, share, still, ok } = result;
  const additive = s.widening === "additive";
  const factor = s.block === "bottleneck" ? 4 : 1;
  const unit = (SPAN - 2 * GAP) / n;
  const scale = HIGH / promised;
  let stairs = "";
  let zeros = "";
  let line = "";
  widths.forEach((width, i) => {
    const x = num(LEFT + (i + 0.5) * unit + GAP * Math.floor((i * 3) / n));
    stairs += `M${x} ${BASE}V${num(BASE - width * scale)}`;
    if (extra[i]) zeros += `M${x} ${FLOOR}V${num(FLOOR - (extra[i] / (factor * width)) * ROOM)}`;
    const k = (i + 1) / n;
    const ideal = additive ? STEM + s.alpha * k : STEM * s.alpha ** k;
    line += `${i % (n / 3) ? "L" : "M"}${x} ${num(BASE - ideal * scale)}`;
  });
  const most = num(Math.floor(share * 1000 + 0.5) / 10);
  const total = commas(result.parameters);
  const maps = [32, 16, 8].map((side, group) => {
    const middle = LEFT + (((group + 0.5) * n) / 3) * unit + GAP * group;
    return text("x-soft x-mid", middle, BASE + 17, `map ${side} × ${side}`);
  });
  const svg = text("", 6, 15, "width of each block") +
    text("x-ok x-end", 374, 15, `line: promised, to ${promised}`) +
    path(ok ? "x-bar" : "x-bar-bad", stairs, unit * 0.8) + path("x-wire-ok", line) +
    text("x-soft x-end", 36, BASE - HIGH + 10, promised) +
    (STEM * scale < HIGH - 16
      ? text("x-soft x-end", 36, BASE - STEM * scale + 4, STEM) : "") +
    maps.join("") +
    text("", 6, FLOOR - ROOM - 14, "zeros in each sum") +
    text("x-bold x-end", 374, FLOOR - ROOM - 14, `at most ${most} %`) +
    path("x-wire", `M${LEFT} ${FLOOR - ROOM / 2}H374`, 1, "3 4") +
    text("x-soft x-end", 36, FLOOR - ROOM / 2 + 4, "50 %") +
    path("x-bar", zeros, unit * 0.8) + path("x-wire", `M${LEFT} ${FLOOR}H374`, 1) +
    text("x-bold", 6, FLOOR + 22, `${total} parameters`) +
    text("x-soft x-end", 374, FLOOR + 22, `${n} blocks`);

  const last = widths.at(-1);
  const why = additive
    ? `${s.alpha}/${n} a block, rounded down, is ${Math.floor(s.alpha / n)}`
    : `${n} blocks each lose a fraction`;
  return {
    svg,
    width: 380,
    height: 336,
    ok,
    verdict: ok ? `✓ The last block is ${last} wide, as alpha promises`
      : `✗ The last block is ${last} wide, ${promised} are promised: ${why}`,
    summary: `${n} blocks, ${widths[0]} in the first block, ${last} in the last, ` +
      `${promised} promised. ${total} parameters. Zeros are at most ${most} % of a sum; ` +
      `${still} of ${n} blocks add no channel.`,
    detail: `<p>Widths <b>${widths.slice(0, 6).join(", ")}</b> … <b>${last}</b>.` +
      (factor === 4 ? ` The output of a bottleneck is 4 times as wide: ${4 * last}.` : "") +
      ` ${still} of ${n} blocks add no channel.</p>` + callOf(s),
  };
}

function callOf(s) {
  if (s.rounding !== "exact") return "No PyramidNet of this book rounds like that.";
  const options = ["block", "widening"].filter((name) => s[name] !== config.defaults[name])
    .map((name) => `, ${name}="${s[name]}"`);
  const call = `PyramidNet(${s.depth}, ${s.alpha}${options.join("")})`;
  return `In both frameworks<code>${esc(call)}</code>`;
}
