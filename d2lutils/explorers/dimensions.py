"""The dimension explorer: which inputs of an axis reach an output, and which do not.

It opens on NiN at 224: red, the last five inputs are lost. 227 inputs lose none;
padding 1 makes it worse, padding 2 cures it. Tests hold that.

Above stands the axis, every input of it up to 32, else the last 16 or those around the
pinned one. A window and its output stand below it. At the bottom is the whole chain at
the scale of the input. A click on an input pins it: the outputs that depend on it, in
every layer, turn blue.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from d2lutils import checks
from d2lutils.explorers.base import (
    Explorer,
    View,
    choice,
    clicked,
    esc,
    num,
    number,
    part,
    path,
    rect,
    slider,
    switch,
    text,
)
from d2lutils.shapes import (
    FRAMEWORKS,
    NIN,
    Window,
    chain_readers,
    chain_unread,
    receptive_field,
    repairing_padding,
    unread_parts,
)

__all__ = ["compute", "dimensions", "view"]

CHAINS = ("nin", "conv", "pool")
LAST = 255  # the window's slider at its right end: the last window that there is
LIMIT = 512  # the largest size that the search for the next lossless one looks at

OPENING: dict[str, Any] = {
    "chain": "nin",
    "n": 224,
    "kernel_size": 11,
    "stride": 4,
    "padding": 0,
    "dilation": 1,
    "ceil_mode": False,
    "framework": "pytorch",
    "step": LAST,
    "pin": -1,
}

CONTROLS = (
    slider("n", "Inputs", 1, 256),
    choice(
        "chain",
        "Layers",
        ("nin", "NiN"),
        ("conv", "one convolution"),
        ("pool", "one pooling"),
    ),
    number("kernel_size", "Kernel size", 1, 16),
    slider("stride", "Stride", 1, 8),
    slider("padding", "Padding", 0, 8),
    slider("dilation", "Dilation", 1, 4),
    choice(
        "framework", "Framework", ("pytorch", "PyTorch"), ("gluon", "Gluon (MXNet)")
    ),
    switch("ceil_mode", "Pooling rounds up"),
    slider("step", "Window shown", 0, LAST),
    clicked("pin", "Pinned input", -1, 255),
)


def _plan(s: dict[str, Any]) -> tuple[Window, ...]:
    """The chain; ValueError, with the layer's name, for a window that cannot be."""
    window = (s["kernel_size"], s["stride"], s["padding"], s["dilation"])
    if s["chain"] != "nin":
        return (Window(*window, s["ceil_mode"], s["chain"], s["chain"]),)
    rest = (
        replace(layer, ceil_mode=s["ceil_mode"]) if layer.kind == "pool" else layer
        for layer in NIN[1:]
    )
    return (Window(*window, name="conv1"), *rest)


@lru_cache(maxsize=64)
def _nearest(
    n: int, layers: tuple[Window, ...], framework: str
) -> tuple[int | None, int | None]:
    """The nearest sizes up to LIMIT at which the chain loses nothing."""

    def lossless(m: int) -> bool:
        try:
            return not chain_unread(m, layers, framework)
        except ValueError:
            return False

    return (
        next((m for m in range(n, 0, -1) if lossless(m)), None),
        next((m for m in range(n, LIMIT + 1) if lossless(m)), None),
    )


def compute(
    chain: str = "nin",
    n: int = 224,
    kernel_size: int = 11,
    stride: int = 4,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    framework: str = "pytorch",
    step: int = LAST,
    pin: int = -1,
) -> dict[str, Any]:
    """What a chain of layers does with an axis of `n` inputs.

    Args:
        chain: "conv" or "pool" for a single layer, "nin" for `shapes.NIN`.
        n: inputs along the axis.
        kernel_size, stride, padding, dilation: of the single layer, or of NiN's first.
        ceil_mode: of the pooling layers.
        framework: "pytorch" or "gluon", whose rules in ceil mode differ.
        step: the window of the first layer to show; from the last on, the last.
        pin: the position of an input to follow; -1, or one beyond the last, for none.

    Returns:
        A dict that JSON can hold:

        - "settings": the arguments;
        - "error": why there is no output, in the words of `shapes`, else "";
        - "sizes": of the input and after each layer, None from the failing one on;
        - "layers": for each a dict of its numbers and

          - "inputs", "outputs": sizes, None where never reached;
          - "value": (inputs - span + 2 * padding) / stride + 1 before it is rounded,
            "remainder": of the division, None where never reached;
          - "unread": of its own inputs, by "left", "gaps" and "right";
          - "idle": outputs that no later layer makes use of;
          - "readers": outputs that depend on the pinned input;
          - "size", "jump", "offset": the receptive field of its outputs;

        - "unread": inputs on which nothing at the end depends, in the same parts, and
          "lost", their number;
        - "windows": of the first layer, "step": the one shown or None, "taps": what
          it reads, padding included;
        - "pin": the input followed or None;
        - "below", "above": the nearest sizes, from 1 to 512, that lose nothing, or
          None; `n` itself if it is one;
        - "repair": the smallest padding with which the first layer reads every input,
          or None;
        - "ok": whether there are outputs and nothing is lost.

    Raises:
        TypeError, ValueError: a bad argument, named. A window that does not fit and
            settings that a layer refuses are no errors here, but a result.
    """
    owner = "dimensions"
    s = {
        "chain": checks.choice(owner, "chain", chain, CHAINS),
        "n": checks.positive(owner, "n", n),
        "kernel_size": checks.positive(owner, "kernel_size", kernel_size),
        "stride": checks.positive(owner, "stride", stride),
        "padding": checks.non_negative(owner, "padding", padding),
        "dilation": checks.positive(owner, "dilation", dilation),
        "ceil_mode": checks.boolean(owner, "ceil_mode", ceil_mode),
        "framework": checks.choice(owner, "framework", framework, FRAMEWORKS),
        "step": checks.non_negative(owner, "step", step),
        "pin": checks.integer(owner, "pin", pin),
    }
    if s["pin"] < -1:
        raise ValueError(f"{owner}: pin must be at least -1, got {pin}")
    n = s["n"]
    followed = s["pin"] if 0 <= s["pin"] < n else None
    reached = [n]
    # A window that cannot be has its row all the same, with no outputs.
    window = (s["kernel_size"], s["stride"], s["padding"], s["dilation"])
    layers: tuple[Window, ...] = (Window(*window, False, "conv", chain),)
    plan: tuple[Window, ...] = ()
    try:
        layers = plan = _plan(s)
        for layer in layers:
            reached.append(layer.output_size(reached[-1], framework))
        error = ""
    except ValueError as reason:
        error = str(reason)
    sizes = [*reached, *[None] * (len(layers) + 1 - len(reached))]

    lost: set[int] = set()
    readers: list[set[int]] = [set()] * len(layers)
    if not error:
        lost = chain_unread(n, layers, framework)
        if followed is not None:
            readers = chain_readers(n, layers, followed, framework)
    rows = []
    for i, layer in enumerate(layers):
        size, outputs = sizes[i], sizes[i + 1]
        kind = layer.kind if plan else chain
        own: set[int] = set()
        idle: set[int] = set()
        if not error:
            own = chain_unread(reached[i], (layer,), framework)
            if i + 1 < len(layers):
                idle = chain_unread(reached[i + 1], layers[i + 1 :], framework)
        room = None
        if size is not None and outputs is not None:
            room = size + 2 * layer.padding - layer.span
        rows.append(
            {
                "name": layer.name,
                "kind": kind,
                "kernel_size": layer.kernel_size,
                "stride": layer.stride,
                "padding": layer.padding,
                "dilation": layer.dilation,
                "span": layer.span,
                "ceil_mode": ceil_mode and kind == "pool",
                "inputs": size,
                "outputs": outputs,
                "value": None if room is None else room / layer.stride + 1,
                "remainder": None if room is None else room % layer.stride,
                "unread": unread_parts(own, size or 1),
                "idle": sorted(idle),
                "readers": sorted(readers[i]),
            }
            | vars(receptive_field(layers[: i + 1]))
        )

    windows = sizes[1] or 0
    shown = min(s["step"], windows - 1) if windows else None
    below, above = _nearest(n, plan, framework) if plan else (None, None)
    return {
        "settings": s,
        "error": error,
        "sizes": sizes,
        "layers": rows,
        "unread": unread_parts(lost, n),
        "lost": len(lost),
        "windows": windows,
        "step": shown,
        "taps": [] if shown is None else layers[0].taps(n, framework)[shown].tolist(),
        "pin": followed,
        "below": below,
        "above": above,
        "repair": _repair(s),
        "ok": not error and not lost,
    }


def _repair(s: dict[str, Any]) -> int | None:
    """The smallest padding that the first layer can have and reads all inputs with."""
    pool = s["chain"] == "pool"
    up, wide = s["ceil_mode"] and pool, s["dilation"] > 1
    if s["chain"] == "conv" and s["ceil_mode"]:
        return None
    if pool and wide and s["framework"] == "gluon":
        return None
    window = (s["n"], s["kernel_size"], s["stride"], s["dilation"])
    padding = repairing_padding(*window, up, s["framework"])
    return None if pool and padding and 2 * padding > s["kernel_size"] else padding


def _pairs(positions: list[int]) -> list[list[int]]:
    """First and last of each unbroken run."""
    pairs: list[list[int]] = []
    for q in positions:
        if pairs and q == pairs[-1][1] + 1:
            pairs[-1][1] = q
        else:
            pairs.append([q, q])
    return pairs


def _runs(positions: list[int]) -> str:
    """Positions in words, four runs at most: "0, 2, 4 to 9"."""
    pairs = _pairs(positions)
    words = [
        f"{a}" if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}"
        for a, b in pairs[:4]
    ]
    return ", ".join(words + ["…"] * (len(pairs) > 4)) or "none"


# The picture. LEFT and SPAN are those of the magnified axis; the chain below it has a
# column of names in front.
WIDTH, LEFT, SPAN, COLUMN, BAR = 380, 6, 368, 100, 274
ALL, LENS, CHUNK = 32, 16, 32  # inputs shown at most, magnified, and in one click
ROW = 24


def view(result: dict[str, Any], start: dict[str, Any]) -> View:
    """The axis, the chain, the verdict, the formulas and the calls."""
    s, n, pin = result["settings"], result["settings"]["n"], result["pin"]
    ok, lost, rows = result["ok"], result["lost"], result["layers"]
    svg, height = _axis(result), 190
    if n > ALL or len(rows) > 1:
        # First, so that the keys end at the last input.
        svg = _chain(result) + svg
        height = 222 + ROW * (len(rows) + 1)
    where = {"left": "on the left", "gaps": "in gaps", "right": "on the right"}
    places = "; ".join(
        f"{_runs(result['unread'][side])} {words}"
        for side, words in where.items()
        if result["unread"][side]
    )
    if result["error"]:
        verdict = f"✗ {result['error']}"
    elif ok:
        verdict = f"✓ nothing is lost: of {n} inputs each reaches an output"
    else:
        verdict = f"✗ {lost} of {n} inputs lost: {places}"
    steps = " → ".join("✗" if m is None else str(m) for m in result["sizes"])
    summary = f"Sizes {steps}."
    if not result["error"]:
        summary += f" {_step(result)}. Lost: {places or 'none'}."
    if pin is not None:
        reach = "; ".join(f"{row['name']} {_runs(row['readers'])}" for row in rows)
        summary += f" Outputs that depend on input {pin}: {reach}."

    lines = "\n".join(_formula(row) for row in rows)
    torch, gluon = _calls(s, start)
    hint = f"Nearest sizes that lose nothing: {_or_none(result['below'])} below, "
    hint += f"{_or_none(result['above'])} above. Smallest padding with which "
    hint += f"{rows[0]['name']} reads every input: {_or_none(result['repair'])}."
    detail = f"<p>{esc(summary)}</p>" if pin is not None else ""
    detail += (
        f"<p>(n - span + 2p)/s + 1, rounded down; span = d·(k - 1) + 1:</p>"
        f"<code>{lines}</code>PyTorch<code>{torch}</code>Gluon<code>{gluon}</code>"
        f"<details><summary>Hint</summary><p>{hint}</p></details>"
    )
    limits = {"step": max(0, result["windows"] - 1)}
    return View(svg, WIDTH, height, ok, verdict, summary, detail, limits)


def _or_none(value: int | None) -> str:
    return "none" if value is None else str(value)


def _step(result: dict[str, Any]) -> str:
    """What the window shown reads, in words."""
    n, taps = result["settings"]["n"], result["taps"]
    inside = [q for q in taps if 0 <= q < n]
    words = [_runs(inside)] if inside else []
    if len(inside) < len(taps):
        words.append(f"{len(taps) - len(inside)} of padding")
    return f"Window {result['step']} reads {' and '.join(words)}"


def _axis(result: dict[str, Any]) -> str:
    """The inputs as cells, the window shown, the outputs of the first layer."""
    n, first, pin = result["settings"]["n"], result["layers"][0], result["pin"]
    stride, p, span = first["stride"], first["padding"], first["span"]
    windows = result["windows"]
    low, high = -p, max(n + p, (windows - 1) * stride - p + span)
    if n > ALL:
        low = n - LENS
        if pin is not None and pin < low:
            low = max(0, pin - 8)
            high = low + LENS
            low = low or -p
    w = min(34, SPAN / (high - low))
    a, b = max(0, low), min(n, high)
    lost, blind = _flat(result["unread"]), _flat(first["unread"])
    words = f"inputs {a} to {b - 1} of {n}, magnified"
    if n <= ALL:
        words = f"{n} input{'s' * (n > 1)}"
        words += f", {p} + {p} of padding" if p else ""
    svg = text("x-bold", LEFT, 14, words)
    if result["error"]:
        svg += text("x-bad", LEFT, 31, "✗ no outputs")
    else:
        svg += text("x-soft", LEFT, 31, _step(result))

    def x(q: float) -> float:
        return LEFT + (q - low) * w

    def box(
        lit: bool,
        wrong: bool,
        x: float,
        y: int,
        wide: float,
        high: int,
        q: int,
        of: int,
    ) -> str:
        """A cell with its number, if there is room for all `of` numbers."""
        style = "x-pin" if lit else "x-wrong" if wrong else "x-box"
        svg = rect(style, x, y, wide, high, 2)
        if wide >= 8 * len(str(of - 1)) + 2:
            svg += text("x-mid", x + wide / 2, y + 15, q)
        return svg

    gap = 1 if w >= 7 else 0.5
    if w - gap < 8 * len(str(b - 1)) + 2:
        svg += text("x-soft", x(a), 49, a) + text("x-soft x-end", x(b), 49, b - 1)
    voids = crosses = marks = boxes = wires = fan = ""
    for q in range(low, high):
        if not a <= q < b:
            voids += f"M{num(x(q))} 54h{num(w - gap)}v30h{num(gap - w)}z"
            continue
        body = box(q == pin, q in lost, x(q), 54, w - gap, 30, q, b)
        label = f"input {q}{', lost' if q in lost else ''}"
        svg += part("pin", -1 if q == pin else q, label, q == pin, body)
        if q in blind:
            crosses += f"M{num(x(q + 0.5) - 2.5)} 75l4 4m0 -4l-4 4"
    svg += path("x-void", voids) if voids else ""
    svg += path("x-wire-bad", crosses) if crosses else ""

    taps = [q for q in result["taps"] if low <= q < high]
    for q in taps:
        marks += f"M{num(x(q) + 1)} 90h{num(w - 2)}"
    size = min(stride, span) * w - 2 * gap
    for j in range(windows):
        left = x(j * stride - p + span / 2) - size / 2
        if left < LEFT - 1 or left + size > x(high) + 1:
            continue
        lit = j in first["readers"]
        boxes += box(lit, j in first["idle"], left, 122, size, 24, j, windows)
        if lit:
            wires += f"M{num(x(pin + 0.5))} 94L{num(left + size / 2)} 121"
        if j == result["step"] and taps:
            fan = f"M{num(x(taps[0]))} 94L{num(left)} 121m0 28h{num(size)}"
            fan += f"m0 -28L{num(x(taps[-1] + 1))} 94"
    svg += path("x-wire", marks, 4) if marks else ""
    svg += (path("x-wire", fan) if fan else "") + boxes
    svg += path("x-wire-pin", wires) if wires else ""
    if result["ok"]:
        svg += text("x-ok", LEFT, 168, "✓ no red: every input reaches an output")
    elif not result["error"]:
        words = "✗ red: reaches no output at the end"
        words += "; ×: no window reads it" if blind else ""
        svg += text("x-bad", LEFT, 168, words)
    words = "click an input: outputs that depend on it turn blue"
    if result["error"]:
        words = "nothing depends on the inputs"
    elif pin is not None:
        words = f"blue: input {pin} and the outputs that depend on it"
    return svg + text("x-soft", LEFT, 185, words)


def _flat(parts: dict[str, list[int]]) -> list[int]:
    return parts["left"] + parts["gaps"] + parts["right"]


def _chain(result: dict[str, Any]) -> str:
    """A row for the input and for each layer, all at the scale of the input."""
    n, pin, rows = result["settings"]["n"], result["pin"], result["layers"]
    reached = [row for row in rows if row["outputs"] is not None]
    left = [_left(row) for row in reached]
    low = min([0, *left])
    ends = [
        x + row["outputs"] * row["jump"] for x, row in zip(left, reached, strict=True)
    ]
    unit = BAR / (max([n, *ends]) - low)

    def x(q: float) -> float:
        return COLUMN + (q - low) * unit

    def bars(
        style: str, row: list[int], high: int, at: float = 0, jump: int = 1, dy: int = 9
    ) -> str:
        """A line for each run of positions, dashed where each can be seen."""
        width, line = jump * unit, ""
        gap = 1 if width >= 3 else 0
        for a, b in _pairs(row):
            long = max(1, (b - a + 1) * width - gap)
            line += f"M{num(x(at + a * jump))} {y + dy}h{num(long)}"
        dash = f"{num(width - 1)} 1" if gap else ""
        return path(style, line, high, dash) if line else ""

    y = 208
    svg = text("x-bold", LEFT, y + 13, "input") + text("x-end", 92, y + 13, n)
    for a in range(0, n, CHUNK):
        b = min(n, a + CHUNK)
        body = rect("x-box", x(a), y, (b - a) * unit, 18)
        if n > ALL:
            label = f"inputs {a} to {b - 1}"
            body = part("pin", (a + b) // 2, label, False, body)
        svg += body
    inside = [q for q in result["taps"] if 0 <= q < n]
    svg += bars("x-bar-bad", _flat(result["unread"]), 12)
    svg += bars("x-wire", inside, 4, dy=15)
    svg += bars("x-bar-pin", [] if pin is None else [pin], 18)
    for row in rows:
        y += ROW
        m = row["outputs"]
        svg += text("", LEFT, y + 13, row["name"])
        if m is None:
            stuck = row["inputs"] is not None
            words = "✗ no outputs" if stuck else "never reached"
            svg += text("x-bad" if stuck else "x-soft", COLUMN, y + 13, words)
            continue
        at, jump, idle = _left(row), row["jump"], set(row["idle"])
        svg += text("x-end", 92, y + 13, m)
        used = [j for j in range(m) if j not in idle]
        svg += bars("x-bar", used, 12, at, jump)
        svg += bars("x-bar-bad", row["idle"], 12, at, jump)
        svg += bars("x-bar-pin", row["readers"], 12, at, jump)
    return svg


def _left(row: dict[str, Any]) -> float:
    """Where output 0 begins, if each stands in the middle of what it can depend on."""
    return row["offset"] + (row["size"] - row["jump"]) / 2


def _formula(row: dict[str, Any]) -> str:
    """The output size of a layer with its numbers."""
    if row["inputs"] is None:
        return f"{row['name']}: never reached"
    m, padding = row["outputs"], row["padding"]
    words = f"{row['name']}: ({row['inputs']} - {row['span']} + 2·{padding})"
    words += f"/{row['stride']}"
    if m is None:
        return f"{words} + 1: ✗"
    value = row["value"]
    words += f" + 1 = {num(value)}"
    up = row["ceil_mode"]
    if row["remainder"]:
        words += f" → {int(value) + up}{' (up)' if up else ''}"
    if m < value and up:
        words += f" → {m} (none may start in the padding)"
    unread = len(_flat(row["unread"]))
    return words + (f", {unread} unread" if unread else "")


def _calls(s: dict[str, Any], start: dict[str, Any]) -> tuple[str, str]:
    """The layers in PyTorch and Gluon as HTML; what differs from `start` is marked."""

    def arguments(*names: str, gluon: bool = False) -> str:
        words = []
        for name in names:
            shown = "strides" if gluon and name == "stride" else name
            word = f"{shown}={s[name]}"
            new = s[name] != start[name]
            words.append(f"<mark>{word}</mark>" if new else word)
        return ", ".join(words)

    window = ("kernel_size", "stride", "padding")
    if s["chain"] == "pool":
        torch = arguments("stride", "padding", "dilation", "ceil_mode")
        gluon = arguments("stride", "padding", "ceil_mode", gluon=True)
        k = arguments("kernel_size")
        return (
            f"nn.MaxPool2d({k}, {torch})",
            f"nn.MaxPool2D({k.replace('kernel', 'pool')}, {gluon})",
        )
    torch = f"nn.Conv2d(1, 96, {arguments(*window, 'dilation')})"
    gluon = f"nn.Conv2D(96, {arguments(*window, 'dilation', gluon=True)})"
    if s["chain"] == "nin":
        torch += f"\nnn.MaxPool2d(3, stride=2, {arguments('ceil_mode')})"
        gluon += f"\nnn.MaxPool2D(3, strides=2, {arguments('ceil_mode')})"
    return torch, gluon


SCRIPT = r"""
var SIDES=["left","gaps","right"];
function planOf(s){
var nin=s.chain=="nin",pool=[3,2,0,1],same=[3,1,1,1],
all=[[s.kernel_size,s.stride,s.padding,s.dilation]];
if(nin)all.push(pool,[5,1,2,1],pool,same,pool,same);
return all.map(function(a,i){
var kind=nin?i%2?"pool":"conv":s.chain;
return{name:nin?kind+(1+(i>>1)):kind,kind:kind,kernel_size:a[0],stride:a[1],
padding:a[2],dilation:a[3],span:a[3]*(a[0]-1)+1,ceil_mode:s.ceil_mode&&kind=="pool"}})}
function outputs(n,L,torch){
var room=(n+2*L.padding-L.span)/L.stride,m;
if(room<0)return null;
m=(L.ceil_mode?Math.ceil(room):Math.floor(room))+1;
return L.ceil_mode&&torch&&(m-1)*L.stride>=n+L.padding?m-1:m}
function range(n,f){
var out=[];
for(var i=0;i<n;i++)if(!f||f(i))out.push(i);
return out}
function has(all,q){return all.indexOf(q)>=0}
function tapsOf(L,j){return range(L.kernel_size).map(function(t){
return j*L.stride-L.padding+t*L.dilation})}
function lostBy(sizes,plan,from){
var i=plan.length,need,now,L,j,t,q;
while(i-->from){
L=plan[i];now=[];
for(j=0;j<sizes[i+1];j++)if(!need||need[j])for(t=0;t<L.kernel_size;t++){
q=j*L.stride-L.padding+t*L.dilation;
if(q>=0&&q<sizes[i])now[q]=1}
need=now}
return range(sizes[from],function(q){return need&&!need[q]})}
function partsOf(lost,n){
var a=0,b=lost.length,c=b;
while(a<b&&lost[a]==a)a++;
while(b>a&&lost[b-1]==n-1-c+b)b--;
return{left:lost.slice(0,a),gaps:lost.slice(a,b),right:lost.slice(b)}}
function compute(s){
var n=s.n,torch=s.framework=="pytorch",plan=planOf(s),one=plan[0],error="",
pool=s.chain=="pool",up=s.chain=="conv"&&s.ceil_mode,
none=pool&&!torch&&s.dilation>1,bad=up||pool&&2*s.padding>s.kernel_size,
hit=[s.pin<n&&s.pin>=0?s.pin:null],pin=hit[0],size=1,jump=1,offset=0,
below=null,above=null,repair=null,m,k;
function walk(n){
return plan.reduce(function(z,L,i){
return z.concat(z[i]===null?null:outputs(z[i],L,torch))},[n])}
function lossless(m){
var z=walk(m);
return!has(z,null)&&!lostBy(z,plan,0).length}
var sizes=bad||none?[n,null]:walk(n),L=plan[sizes.indexOf(null)-1];
if(up)error=": ceil_mode is for kind='pool' only";
else if(bad)error=": padding must be at most half of kernel_size="+s.kernel_size+
" for kind='pool', got "+s.padding;
else if(none)error=": MXNet's pooling has no dilation, got "+s.dilation;
else if(L){
m=sizes[sizes.indexOf(null)-1];
error=": a window of "+L.span+" (kernel_size="+L.kernel_size+", dilation="+
L.dilation+") does not fit into "+(m+2*L.padding)+" inputs (n="+m+", padding="+
L.padding+" on each side)"}
if(error)error=L.name+error;
if(!bad&&!none){
for(m=n;m>0&&below===null;m--)if(lossless(m))below=m;
for(m=n;m<=512&&above===null;m++)if(lossless(m))above=m}
if(!up&&!none)for(m=0;m<one.span+one.stride&&repair===null;m++){
if(pool&&2*m>s.kernel_size)break;
L=Object.assign({},one,{padding:m});k=outputs(n,L,torch);
if(k!==null&&!lostBy([n,k],[L],0).length)repair=m}
var lost=error?[]:lostBy(sizes,plan,0),rows=plan.map(function(L,i){
var m=sizes[i],out=sizes[i+1],room=out===null?null:m+2*L.padding-L.span;
hit=error||pin===null?[]:range(out,function(j){
return tapsOf(L,j).some(has.bind(null,hit))});
size+=(L.span-1)*jump;offset-=L.padding*jump;jump*=L.stride;
return Object.assign(L,{inputs:m,outputs:out,
value:room===null?null:room/L.stride+1,remainder:room===null?null:room%L.stride,
unread:partsOf(error?[]:lostBy([m,out],[L],0),m),
idle:error||i+1==plan.length?[]:lostBy(sizes,plan,i+1),readers:hit,
size:size,jump:jump,offset:offset})}),
windows=sizes[1]||0,step=windows?Math.min(s.step,windows-1):null;
return{settings:s,error:error,sizes:sizes,layers:rows,unread:partsOf(lost,n),
lost:lost.length,windows:windows,step:step,taps:windows?tapsOf(one,step):[],pin:pin,
below:below,above:above,repair:repair,ok:!error&&!lost.length}}

function pairs(all){
var out=[],z;
all.forEach(function(q){
if(z&&z[1]==q-1)z[1]=q;else out.push(z=[q,q])});
return out}
function runs(all){
var out=pairs(all),words=out.slice(0,4).map(function(z){
return z[0]+(z[1]==z[0]?"":(z[1]==z[0]+1?", ":" to ")+z[1])});
if(out[4])words.push("…");
return words.join(", ")||"none"}
function flat(u){return u.left.concat(u.gaps,u.right)}
function orNone(v){return v===null?"none":v}
function inside(r){return r.taps.filter(function(q){return q>=0&&q<r.settings.n})}
function view(r,start){
var s=r.settings,n=s.n,pin=r.pin,rows=r.layers,many=n>32||rows[1],
places=SIDES.filter(function(k){return r.unread[k][0]>=0}).map(function(k){
return runs(r.unread[k])+(k=="gaps"?" in ":" on the ")+k}).join("; "),
summary="Sizes "+r.sizes.map(function(m){return m===null?"✗":m}).join(" → ")+".",
calls=callsOf(s,start);
if(!r.error)summary+=" "+stepOf(r)+". Lost: "+(places||"none")+".";
if(pin!==null)summary+=" Outputs that depend on input "+pin+": "+
rows.map(function(w){return w.name+" "+runs(w.readers)}).join("; ")+".";
return{svg:(many?chain(r):"")+axis(r),width:380,
height:many?246+24*rows.length:190,ok:r.ok,
verdict:r.error?"✗ "+r.error:r.ok?
"✓ nothing is lost: of "+n+" inputs each reaches an output":
"✗ "+r.lost+" of "+n+" inputs lost: "+places,
summary:summary,
detail:(pin!==null?"<p>"+esc(summary)+"</p>":"")+
"<p>(n - span + 2p)/s + 1, rounded down; span = d·(k - 1) + 1:</p><code>"+
rows.map(formula).join("\n")+"</code>PyTorch<code>"+calls[0]+
"</code>Gluon<code>"+calls[1]+
"</code><details><summary>Hint</summary><p>Nearest sizes that lose nothing: "+
orNone(r.below)+" below, "+orNone(r.above)+" above. Smallest padding with which "+
rows[0].name+" reads every input: "+orNone(r.repair)+".</p></details>",
limits:{step:Math.max(0,r.windows-1)}}}
function stepOf(r){
var all=inside(r),rest=r.taps.length-all.length;
return"Window "+r.step+" reads "+
(all[0]>=0?runs(all)+(rest?" and ":""):"")+(rest?rest+" of padding":"")}
function axis(r){
var one=r.layers[0],pin=r.pin,n=r.settings.n,stride=one.stride,p=one.padding,
span=one.span,low=-p,high=Math.max(n+p,(r.windows-1)*stride-p+span);
if(n>32){
low=n-16;
if(pin!==null&&pin<low){low=Math.max(0,pin-8);high=low+16;low=low||-p}}
var w=Math.min(34,368/(high-low)),a=Math.max(0,low),b=Math.min(n,high),
lost=flat(r.unread),blind=flat(one.unread),gap=w>=7?1:.5,
voids="",crosses="",marks="",boxes="",wires="",fan="",q,j,left,lit,
svg=text("x-bold",6,14,n>32?"inputs "+a+" to "+(b-1)+" of "+n+", magnified":
n+" input"+(n>1?"s":"")+(p?", "+p+" + "+p+" of padding":""))+
(r.error?text("x-bad",6,31,"✗ no outputs"):text("x-soft",6,31,stepOf(r)));
function x(q){return 6+(q-low)*w}
function room(w,of){return w>=8*String(of-1).length+2}
function box(lit,wrong,x,y,w,h,q,of){
return rect(lit?"x-pin":wrong?"x-wrong":"x-box",x,y,w,h,2)+
(room(w,of)?text("x-mid",x+w/2,y+15,q):"")}
if(!room(w-gap,b))svg+=text("x-soft",x(a),49,a)+text("x-soft x-end",x(b),49,b-1);
for(q=low;q<high;q++){
if(q<a||q>=b){voids+="M"+num(x(q))+" 54h"+num(w-gap)+"v30h"+num(gap-w)+"z";continue}
lit=has(lost,q);
svg+=part("pin",q===pin?-1:q,"input "+q+(lit?", lost":""),q===pin,
box(q===pin,lit,x(q),54,w-gap,30,q,b));
if(has(blind,q))crosses+="M"+num(x(q+.5)-2.5)+" 75l4 4m0 -4l-4 4"}
svg+=(voids?path("x-void",voids):"")+(crosses?path("x-wire-bad",crosses):"");
var taps=r.taps.filter(function(q){return q>=low&&q<high}),
size=Math.min(stride,span)*w-2*gap;
taps.forEach(function(q){marks+="M"+num(x(q)+1)+" 90h"+num(w-2)});
for(j=0;j<r.windows;j++){
left=x(j*stride-p+span/2)-size/2;
if(left<5||left+size>x(high)+1)continue;
lit=has(one.readers,j);
boxes+=box(lit,has(one.idle,j),left,122,size,24,j,r.windows);
if(lit)wires+="M"+num(x(pin+.5))+" 94L"+num(left+size/2)+" 121";
if(j==r.step&&taps[0]+p>=0)
fan="M"+num(x(taps[0]))+" 94L"+num(left)+" 121m0 28h"+num(size)+"m0 -28L"+
num(x(taps[taps.length-1]+1))+" 94"}
svg+=(marks?path("x-wire",marks,4):"")+(fan?path("x-wire",fan):"")+boxes+
(wires?path("x-wire-pin",wires):"");
if(r.ok)svg+=text("x-ok",6,168,"✓ no red: every input reaches an output");
else if(!r.error)svg+=text("x-bad",6,168,"✗ red: reaches no output at the end"+
(blind.length?"; ×: no window reads it":""));
return svg+text("x-soft",6,185,r.error?"nothing depends on the inputs":pin===null?
"click an input: outputs that depend on it turn blue":
"blue: input "+pin+" and the outputs that depend on it")}
function leftOf(w){return w.offset+(w.size-w.jump)/2}
function chain(r){
var n=r.settings.n,low=0,high=n,a,b,y=208,body;
r.layers.forEach(function(w){
if(w.outputs===null)return;
low=Math.min(low,leftOf(w));high=Math.max(high,leftOf(w)+w.outputs*w.jump)});
var unit=274/(high-low),svg=text("x-bold",6,221,"input")+text("x-end",92,221,n);
function x(q){return 100+(q-low)*unit}
function bars(style,row,high,at,jump,dy){
var width=jump*unit,gap=width>=3?1:0,line="";
pairs(row).forEach(function(z){
line+="M"+num(x(at+z[0]*jump))+" "+(y+(dy||9))+"h"+
num(Math.max(1,(z[1]-z[0]+1)*width-gap))});
return line?path(style,line,high,gap?num(width-1)+" 1":""):""}
for(a=0;a<n;a+=32){
b=Math.min(n,a+32);
body=rect("x-box",x(a),y,(b-a)*unit,18);
svg+=n>32?part("pin",a+b>>1,"inputs "+a+" to "+(b-1),false,body):body}
svg+=bars("x-bar-bad",flat(r.unread),12,0,1)+bars("x-wire",inside(r),4,0,1,15)+
bars("x-bar-pin",r.pin===null?[]:[r.pin],18,0,1);
r.layers.forEach(function(w){
var m=w.outputs,at=leftOf(w),stuck=w.inputs!==null;
y+=24;
svg+=text("",6,y+13,w.name)+(m===null?
text(stuck?"x-bad":"x-soft",100,y+13,stuck?"✗ no outputs":"never reached"):
text("x-end",92,y+13,m)+
bars("x-bar",range(m,function(j){return!has(w.idle,j)}),12,at,w.jump)+
bars("x-bar-bad",w.idle,12,at,w.jump)+bars("x-bar-pin",w.readers,12,at,w.jump))});
return svg}
function formula(w){
var m=w.outputs,v=w.value,up=w.ceil_mode,
t=w.name+": ("+w.inputs+" - "+w.span+" + 2·"+w.padding+")/"+w.stride+" + 1";
if(w.inputs===null)return w.name+": never reached";
if(m===null)return t+": ✗";
t+=" = "+num(v);
if(w.remainder)t+=" → "+(Math.floor(v)+up)+(up?" (up)":"");
if(m<v&&up)t+=" → "+m+" (none may start in the padding)";
v=flat(w.unread).length;
return t+(v?", "+v+" unread":"")}
function callsOf(s,start){
function args(names,gluon){
return names.split(" ").map(function(k){
var v=s[k],t=(gluon&&k=="stride"?"strides":k)+"="+
(v===true?"True":v===false?"False":v);
return v===start[k]?t:"<mark>"+t+"</mark>"}).join(", ")}
var k=args("kernel_size"),up=args("ceil_mode")+")",two="stride padding",
four="kernel_size stride padding dilation",nin=s.chain=="nin";
return s.chain=="pool"?
["nn.MaxPool2d("+k+", "+args(two+" dilation")+", "+up,
"nn.MaxPool2D("+k.replace("kernel","pool")+", "+args(two,1)+", "+up]:
["nn.Conv2d(1, 96, "+args(four)+")"+(nin?"\nnn.MaxPool2d(3, stride=2, "+up:""),
"nn.Conv2D(96, "+args(four,1)+")"+(nin?"\nnn.MaxPool2D(3, strides=2, "+up:"")]}
"""


def dimensions(
    chain: str = "nin",
    n: int = 224,
    kernel_size: int = 11,
    stride: int = 4,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    framework: str = "pytorch",
    step: int = LAST,
    pin: int = -1,
    title: str = "Dimension explorer",
    goal: str = "Make the red vanish: let every input reach an output at the end.",
) -> Explorer:
    """The figure, opened on NiN with 224 inputs or on another chain.

    Args:
        chain, n, kernel_size, stride, padding, dilation, ceil_mode, framework, step,
            pin: as in `compute`, within the ranges of the controls (n to 256,
            kernel_size to 16, stride and padding to 8, dilation to 4, step and pin to
            255).
        title, goal: plain text above the picture.

    Raises:
        TypeError, ValueError: as `compute`, or a value that no control can show.
    """
    first = compute(
        chain,
        n,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        framework,
        step,
        pin,
    )
    return Explorer(
        name="dimensions",
        title=title,
        goal=goal,
        settings=first["settings"],
        defaults=OPENING,
        controls=CONTROLS,
        compute=compute,
        view=view,
        script=SCRIPT,
    )
