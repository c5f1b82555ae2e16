// All bars start at LEFT and have the same scale, so that their lengths can be
// compared; a bar's height is the number of channels.
const LEFT = 16;
const SPAN = 236;
const HIGH = 14;
const ARROW = "v12m-4 -5l4 5l4 -5";

function outputSize(n, kernelSize, stride, padding) {
  return Math.floor((n + 2 * padding - kernelSize) / stride) + 1;
}

function compute(settings) {
  const { length, in_channels, channels, kernel_size, stride, chain_length, padding,
    shortcut } = settings;
  const ladder = [length];
  let reason = "";
  for (let i = 0; i < chain_length; i++) {
    const n = ladder[i];
    if (n !== null && kernel_size > n + 2 * padding) {
      const padded = padding ? ` padded to ${n + 2 * padding}` : "";
      reason = `the kernel ${kernel_size} does not fit length ${n}${padded}`;
    }
    const stuck = n === null || reason;
    ladder.push(stuck ? null : outputSize(n, kernel_size, i ? 1 : stride, padding));
  }

  const skip = [length, in_channels];
  if (shortcut !== "identity") skip[0] = outputSize(length, 1, stride, 0);
  if (shortcut === "projection") skip[1] = channels;
  if (shortcut === "zeros") skip[1] = Math.max(in_channels, channels);

  const end = ladder.at(-1);
  let total = "";
  if (end !== null) {
    total = `${end} + ${skip[0]}`;
    if (end !== skip[0]) {
      reason = `lengths ${end} and ${skip[0]} differ`;
    } else if (channels !== skip[1]) {
      total = `${channels}×${end} + ${skip[1]}×${skip[0]}`;
      reason = `channels ${channels} and ${skip[1]} differ`;
    } else if (shortcut === "identity" && stride > 1) {
      reason = "the identity cannot stride, its steps only happen to be as many";
    }
  }

  const weights = kernel_size * channels * (in_channels + (chain_length - 1) * channels);
  const branch = weights + 2 * channels * chain_length;
  const extra = shortcut === "projection" ? channels * (in_channels + 2) : 0;
  return {
    settings,
    ladder,
    widths: ladder.map((_, i) => (i ? channels : in_channels)),
    branch: end === null ? null : [end, channels],
    skip,
    ok: !reason,
    sum: total,
    reason,
    output: reason ? null : [end, channels],
    parameters: { branch, shortcut: extra, total: branch + extra },
  };
}

function view(result) {
  const { settings: s, ladder, skip, ok, sum: total, reason, output, parameters } = result;
  const y = 62 + 56 * s.chain_length;
  const steps = ladder.map((n) => n ?? "✗").join(" → ");
  const svg = drawBranch(result) + drawShortcut(result, y + 18) +
    drawComparison(result, y + 45) + path("x-wire", `M134 ${y + 121}${ARROW}`) +
    rect(ok ? "x-box" : "x-void", 6, y + 133, 256, 28, 5) +
    text(ok ? "" : "x-soft", LEFT, y + 151, "ReLU") +
    (ok ? text("x-bold x-end", 252, y + 151, `${output[1]} × ${output[0]}`)
      : text("x-soft x-end", 252, y + 151, "never reached"));
  const call = callOf(s);
  return {
    svg,
    width: 380,
    height: y + 167,
    ok,
    verdict: ok
      ? `✓ ${total}: the sum has ${plural(output[0], "step")} and ${plural(output[1], "channel")}`
      : `✗ ${total}${total ? ": " : ""}${reason}`,
    summary: `Branch: ${steps} steps, ${plural(s.channels, "channel")}. ` +
      `Shortcut (${s.shortcut}): ${plural(skip[0], "step")}, ${plural(skip[1], "channel")}. ` +
      `Parameters: ${parameters.branch} + ${parameters.shortcut}.`,
    detail: `<p>Branch <b>${steps}</b>, shortcut <b>${s.length} → ${skip[0]}</b>. ` +
      `Parameters: ${parameters.branch} in the branch, ${parameters.shortcut} in the ` +
      `shortcut.</p><p>This call ${ok ? "runs" : "is refused"}:</p>` +
      `PyTorch<code>pytorch.residual.${call}</code>` +
      `Gluon<code>gluon.residual.${call}</code>`,
  };
}

// A bar of steps for the channels from..to; if a step is wide enough to see, it is a
// cell of which the share `full` is filled.
function bar({ settings: s, ladder, skip }, style, y, steps, channels, full = 0.8) {
  const step = SPAN / Math.max(...ladder, skip[0]);
  const high = HIGH / Math.max(s.in_channels, s.channels);
  const middle = y + (high * (channels[0] + channels[1])) / 2;
  const cell = step >= 3 ? step : 6;
  const solid = step < 3 && full === 0.8;
  return path(
    style,
    `M${num(LEFT + steps[0] * step)} ${num(middle)}H${num(LEFT + steps[1] * step)}`,
    Math.max(1, high * (channels[1] - channels[0])),
    solid ? "" : `${num(full * cell)} ${num(cell - full * cell)}`,
  );
}

// The input and the chunks, one box each.
function drawBranch(result) {
  const { settings: s, ladder, widths, reason } = result;
  return ladder.map((n, i) => {
    const y = 6 + 56 * i;
    const stuck = n === null && ladder[i - 1] !== null;
    const padding = s.padding ? `, pad ${s.padding}` : "";
    const stride = i === 1 && s.stride > 1 ? `, stride ${s.stride}` : "";
    const layer = `${i}: conv ${s.kernel_size}${padding}${stride}`;
    let svg = rect(stuck ? "x-wrong" : n === null ? "x-void" : "x-box", 6, y, 256, 44, 5) +
      path("x-wire", `M134 ${y + 44}${ARROW}`) +
      text(i ? "" : "x-bold", LEFT, y + 16, i ? layer : "x");
    if (n !== null) {
      svg += text("x-bold x-end", 252, y + 16, `${widths[i]} × ${n}`) +
        bar(result, "x-bar", y + 23, [0, n], [0, widths[i]]);
    } else if (stuck) {
      svg += text("x-bad", LEFT, y + 34, `✗ does ${reason.split(" does ")[1]}`);
    } else {
      svg += text("x-soft", LEFT, y + 34, "never reached");
    }
    return svg;
  }).join("");
}

// The shortcut around the branch, and the sum at height `y`.
function drawShortcut({ settings: s, skip, ok, sum: total }, y) {
  const kept = s.stride === 1 ? "all steps" : `1 step in ${s.stride}`;
  const lines = {
    identity: ["x itself"],
    projection: ["1×1 conv", kept],
    zeros: [kept, `+ ${Math.max(0, s.channels - s.in_channels)} zeros`],
  }[s.shortcut];
  const high = 40 + 14 * lines.length;
  const top = Math.floor((28 + y - high) / 2);
  return path("x-wire", `M262 28H325V${y}H149m5 -4l-5 4l5 4`) +
    rect("x-box", 276, top, 98, high, 5) +
    text("x-bold x-mid", 325, top + 16, s.shortcut) +
    lines.map((words, i) => text("x-soft x-mid", 325, top + 31 + 14 * i, words)).join("") +
    text("x-bold x-mid", 325, top + high - 8, `${skip[1]} × ${skip[0]}`) +
    rect(ok ? "x-right" : "x-wrong", 119, y - 15, 30, 30, 15) +
    path(ok ? "x-wire-ok" : "x-wire-bad", `M127 ${y}h14m-7 -7v14`, 2) +
    text(`x-big ${ok ? "x-ok" : "x-bad"}`, 156, y - 7, `${ok ? "✓" : "✗"} ${total}`);
}

// Branch and shortcut; zeros are sparse, entries without a counterpart are red.
function drawComparison(result, y) {
  const { settings: s, branch, skip, ok } = result;
  const [n, c] = branch ?? skip;
  const short = Math.min(n, skip[0]);
  const thin = Math.min(c, skip[1]);
  let note = "every step and channel has a partner";
  if (!branch) note = "✗ nothing comes out of the branch";
  else if (n !== skip[0]) note = `✗ ${plural(Math.abs(n - skip[0]), "step")} without a partner`;
  else if (c !== skip[1]) note = `✗ ${plural(Math.abs(c - skip[1]), "channel")} without a partner`;
  else if (!ok) note = "✗ as many steps, but not the same ones";

  let svg = path("x-wire", `M134 ${y - 12}${ARROW}`) +
    rect(ok ? "x-right" : "x-wrong", 6, y, 368, 76, 5);
  // One summand: its steps, its channels, and how many channels are not zeros.
  function row(name, top, long, wide, real) {
    const even = n === skip[0] ? Math.min(wide, thin) : wide;
    svg += bar(result, "x-bar", top, [0, short], [0, Math.min(real, even)]);
    if (real < even) svg += bar(result, "x-bar", top, [0, short], [real, even], 0.25);
    if (wide > even) svg += bar(result, "x-bar-bad", top, [0, short], [even, wide], 0.45);
    if (long > short) svg += bar(result, "x-bar-bad", top, [short, long], [0, wide], 0.45);
    svg += text("x-end", 366, top + 11, `${name} ${wide} × ${long}`);
  }
  if (branch) row("branch", y + 8, n, c, c);
  else svg += text("x-soft x-end", 366, y + 19, "branch: nothing");
  const real = s.shortcut === "zeros" ? Math.min(skip[1], s.in_channels) : skip[1];
  row("skip", y + 32, ...skip, real);
  return svg + text(ok ? "x-ok" : "x-bad", LEFT, y + 66, note);
}

// The call as HTML; arguments that differ from the opening ones are marked.
function callOf(s) {
  const words = Object.keys(s).filter((name) => name !== "length").map((name) => {
    const word = esc(name === "shortcut" ? `${name}="${s[name]}"` : `${name}=${s[name]}`);
    return s[name] === config.start[name] ? word : `<mark>${word}</mark>`;
  });
  return `ResidualChunks(<wbr>${words.join(", ")})`;
}
