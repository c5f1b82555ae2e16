"""The residual builder: make branch and shortcut fit, so that they can be added.

It opens on the call as first asked: 64 steps, 10 channels, three chunks of kernel 3,
stride 2, no padding, `x` itself as the shortcut. Red: "27 + 64". The goal is green.

From there no single change helps. Two are the fewest, and within the ranges of the
controls there are six such pairs: padding 1 or kernel 1, together with stride 1 (64 +
64), with a projection or with zeros (32 + 32). Tests find them by brute force.
"""

from __future__ import annotations

from typing import Any

from d2lutils import checks
from d2lutils.explorers.base import (
    Explorer,
    View,
    choice,
    esc,
    num,
    number,
    path,
    rect,
    slider,
    text,
)
from d2lutils.shapes import output_size

__all__ = ["compute", "residual_builder", "view"]

SHORTCUTS = ("identity", "projection", "zeros")

FIRST_CALL: dict[str, Any] = {
    "length": 64,
    "in_channels": 10,
    "channels": 10,
    "kernel_size": 3,
    "stride": 2,
    "chain_length": 3,
    "padding": 0,
    "shortcut": "identity",
}

CONTROLS = (
    number("length", "Length", 1, 128),
    number("in_channels", "Channels in", 1, 64),
    number("channels", "Channels out", 1, 64),
    choice(
        "shortcut",
        "Shortcut",
        ("identity", "identity"),
        ("projection", "projection"),
        ("zeros", "zeros"),
    ),
    slider("kernel_size", "Kernel size", 1, 9),
    slider("stride", "Stride", 1, 4),
    slider("padding", "Padding", 0, 4),
    slider("chain_length", "Chunks", 1, 6),
)


def compute(
    length: int = 64,
    in_channels: int = 10,
    channels: int = 10,
    kernel_size: int = 3,
    stride: int = 2,
    chain_length: int = 3,
    padding: int = 0,
    shortcut: str = "identity",
) -> dict[str, Any]:
    """What happens to (N, in_channels, length) in a block `ResidualChunks(...)`.

    The first chunk of the branch takes the stride and the new width, the others keep
    both. The shortcut is `x` itself ("identity"), a 1x1 convolution with the stride
    and without padding ("projection"), or every stride-th step of x with channels of
    zeros behind ("zeros"). The identity can take neither a stride nor another width,
    even where the padding happens to make the lengths equal.

    Args:
        length: steps of the input.
        in_channels: channels of the input.
        channels: channels of each chunk and of the output.
        kernel_size: taps of the convolutions in the branch.
        stride: of the first chunk and of the shortcut.
        chain_length: chunks in the branch.
        padding: zeros on each side in each chunk; one number, not "same".
        shortcut: "identity", "projection" or "zeros".

    Returns:
        A dict that JSON can hold:

        - "settings": the arguments;
        - "ladder": the input's length and that after each chunk, None from the first
          chunk on whose window does not fit into its padded input;
        - "widths": channels, likewise, never None;
        - "branch", "skip": [length, channels] where the two paths meet (branch: None
          if a chunk does not fit);
        - "addable": whether they can be added;
        - "sum": the sum in numbers, such as "27 + 64", "" without a branch;
        - "reason": the first reason why not (a window that does not fit, lengths,
          channels, an identity with a stride), "" if addable;
        - "output": [length, channels], None if not addable;
        - "parameters": trainable ones in "branch", "shortcut" and "total", as in
          `ResidualChunks`: convolutions without bias, a batch norm with scale and
          shift after each.

    Raises:
        TypeError: an argument that is not an integer.
        ValueError: a size below 1, a negative padding, an unknown shortcut.
    """
    owner = "residual_builder"
    length = checks.positive(owner, "length", length)
    in_channels = checks.positive(owner, "in_channels", in_channels)
    channels = checks.positive(owner, "channels", channels)
    kernel_size = checks.positive(owner, "kernel_size", kernel_size)
    stride = checks.positive(owner, "stride", stride)
    chain_length = checks.positive(owner, "chain_length", chain_length)
    padding = checks.non_negative(owner, "padding", padding)
    checks.choice(owner, "shortcut", shortcut, SHORTCUTS)
    settings = {
        "length": length,
        "in_channels": in_channels,
        "channels": channels,
        "kernel_size": kernel_size,
        "stride": stride,
        "chain_length": chain_length,
        "padding": padding,
        "shortcut": shortcut,
    }

    ladder: list[int | None] = [length]
    reason = ""
    for i in range(chain_length):
        n = ladder[-1]
        if n is not None and kernel_size > n + 2 * padding:
            padded = f" padded to {n + 2 * padding}" if padding else ""
            reason = f"the kernel {kernel_size} does not fit length {n}{padded}"
        if n is None or reason:
            ladder.append(None)
        else:
            step = stride if i == 0 else 1
            ladder.append(output_size(n, kernel_size, step, padding))

    skip = [length, in_channels]
    if shortcut != "identity":
        skip[0] = output_size(length, 1, stride)
    if shortcut == "projection":
        skip[1] = channels
    if shortcut == "zeros":
        skip[1] = max(in_channels, channels)

    end = ladder[-1]
    total = ""
    if end is not None:
        total = f"{end} + {skip[0]}"
        if end != skip[0]:
            reason = f"lengths {end} and {skip[0]} differ"
        elif channels != skip[1]:
            total = f"{channels}×{end} + {skip[1]}×{skip[0]}"
            reason = f"channels {channels} and {skip[1]} differ"
        elif shortcut == "identity" and stride > 1:
            reason = "the identity cannot stride, its steps only happen to be as many"

    rest = chain_length - 1
    weights = kernel_size * channels * (in_channels + rest * channels)
    branch = weights + 2 * channels * chain_length
    extra = channels * (in_channels + 2) if shortcut == "projection" else 0
    return {
        "settings": settings,
        "ladder": ladder,
        "widths": [in_channels] + [channels] * chain_length,
        "branch": None if end is None else [end, channels],
        "skip": skip,
        "addable": not reason,
        "sum": total,
        "reason": reason,
        "output": None if reason else [end, channels],
        "parameters": {"branch": branch, "shortcut": extra, "total": branch + extra},
    }


# The picture. Every bar starts at LEFT and has the same scale, so that lengths can be
# compared straight down; its height is the number of channels.
WIDTH, LEFT, SPAN, HIGH = 380, 16, 236, 14
ARROW = "v12m-4 -5l4 5l4 -5"


def view(result: dict[str, Any], start: dict[str, Any]) -> View:
    """The diagram, the verdict and the calls; changes from `start` are marked."""
    s, ladder, skip = result["settings"], result["ladder"], result["skip"]
    ok, total, counts = result["addable"], result["sum"], result["parameters"]
    y = 62 + 56 * s["chain_length"]
    svg = _branch(result) + _shortcut(result, y + 18) + _comparison(result, y + 45)
    svg += path("x-wire", f"M134 {y + 121}{ARROW}")
    svg += rect("x-box" if ok else "x-void", 6, y + 133, 256, 28, 5)
    svg += text("" if ok else "x-soft", LEFT, y + 151, "ReLU")
    if ok:
        n, c = result["output"]
        svg += text("x-bold x-end", 252, y + 151, f"{c} × {n}")
        verdict = f"✓ {total}: the sum has {_count(n, 'step')}"
        verdict += f" and {_count(c, 'channel')}"
    else:
        svg += text("x-soft x-end", 252, y + 151, "never reached")
        verdict = f"✗ {total}{': ' if total else ''}{result['reason']}"

    steps = " → ".join("✗" if n is None else str(n) for n in ladder)
    summary = (
        f"Branch: {steps} steps, {_count(s['channels'], 'channel')}. "
        f"Shortcut ({s['shortcut']}): {_count(skip[0], 'step')}, "
        f"{_count(skip[1], 'channel')}. "
        f"Parameters: {counts['branch']} + {counts['shortcut']}."
    )
    call = _call(s, start)
    detail = (
        f"<p>Branch <b>{steps}</b>, shortcut <b>{s['length']} → {skip[0]}</b>. "
        f"Parameters: {counts['branch']} in the branch, {counts['shortcut']} in the "
        f"shortcut.</p><p>{'This call runs:' if ok else 'This call is refused:'}</p>"
        f"PyTorch<code>pytorch.residual.{call}</code>"
        f"Gluon<code>gluon.residual.{call}</code>"
    )
    return View(svg, WIDTH, y + 167, ok, verdict, summary, detail)


def _bar(
    result: dict[str, Any],
    style: str,
    y: float,
    steps: tuple[int, int],
    channels: tuple[int, int],
    full: float = 0.8,
) -> str:
    """Steps and channels from..to; a cell for each step where that can be seen."""
    s, skip = result["settings"], result["skip"]
    step = SPAN / max([skip[0], *(n for n in result["ladder"] if n is not None)])
    high = HIGH / max(s["in_channels"], s["channels"])
    middle = num(y + high * (channels[0] + channels[1]) / 2)
    left, right = num(LEFT + steps[0] * step), num(LEFT + steps[1] * step)
    cell = step if step >= 3 else 6
    dash = f"{num(full * cell)} {num(cell - full * cell)}"
    if step < 3 and full == 0.8:
        dash = ""
    thick = max(1, high * (channels[1] - channels[0]))
    return path(style, f"M{left} {middle}H{right}", thick, dash)


def _branch(result: dict[str, Any]) -> str:
    """The input and the chunks, one box each."""
    s, ladder, widths = result["settings"], result["ladder"], result["widths"]
    svg = ""
    for i, (n, width) in enumerate(zip(ladder, widths, strict=True)):
        y = 6 + 56 * i
        words = f"{i}: conv {s['kernel_size']}"
        words += f", pad {s['padding']}" if s["padding"] else ""
        words += f", stride {s['stride']}" if i == 1 and s["stride"] > 1 else ""
        stuck = n is None and ladder[i - 1] is not None
        style = "x-void" if n is None else "x-box"
        svg += rect("x-wrong" if stuck else style, 6, y, 256, 44, 5)
        svg += path("x-wire", f"M134 {y + 44}{ARROW}")
        svg += text("" if i else "x-bold", LEFT, y + 16, words if i else "x")
        if n is not None:
            svg += text("x-bold x-end", 252, y + 16, f"{width} × {n}")
            svg += _bar(result, "x-bar", y + 23, (0, n), (0, width))
        elif stuck:
            why = result["reason"].partition(" does ")[2]
            svg += text("x-bad", LEFT, y + 34, f"✗ does {why}")
        else:
            svg += text("x-soft", LEFT, y + 34, "never reached")
    return svg


def _shortcut(result: dict[str, Any], y: int) -> str:
    """The way around the branch, and the sum at height `y`."""
    s, skip, ok = result["settings"], result["skip"], result["addable"]
    kind, stride = s["shortcut"], s["stride"]
    kept = "all steps" if stride == 1 else f"1 step in {stride}"
    lines = ["x itself"]
    if kind == "projection":
        lines = ["1×1 conv", kept]
    if kind == "zeros":
        lines = [kept, f"+ {max(0, s['channels'] - s['in_channels'])} zeros"]
    high = 40 + 14 * len(lines)
    top = (28 + y - high) // 2
    svg = path("x-wire", f"M262 28H325V{y}H149m5 -4l-5 4l5 4")
    svg += rect("x-box", 276, top, 98, high, 5)
    svg += text("x-bold x-mid", 325, top + 16, kind)
    for i, words in enumerate(lines):
        svg += text("x-soft x-mid", 325, top + 31 + 14 * i, words)
    svg += text("x-bold x-mid", 325, top + high - 8, f"{skip[1]} × {skip[0]}")
    svg += rect("x-right" if ok else "x-wrong", 119, y - 15, 30, 30, 15)
    svg += path("x-wire-ok" if ok else "x-wire-bad", f"M127 {y}h14m-7 -7v14", 2)
    words = f"{'✓' if ok else '✗'} {result['sum']}"
    return svg + text(f"x-big {'x-ok' if ok else 'x-bad'}", 156, y - 7, words)


def _comparison(result: dict[str, Any], y: int) -> str:
    """Both paths below each other; zeros are sparse, what has no partner is red."""
    s, skip, ok = result["settings"], result["skip"], result["addable"]
    n, c = result["branch"] or skip
    short, thin = min(n, skip[0]), min(c, skip[1])
    real = min(skip[1], s["in_channels"]) if s["shortcut"] == "zeros" else skip[1]
    note = "every step and channel has a partner"
    if result["branch"] is None:
        note = "✗ nothing comes out of the branch"
    elif n != skip[0]:
        note = f"✗ {_count(abs(n - skip[0]), 'step')} without a partner"
    elif c != skip[1]:
        note = f"✗ {_count(abs(c - skip[1]), 'channel')} without a partner"
    elif not ok:
        note = "✗ as many steps, but not the same ones"

    svg = path("x-wire", f"M134 {y - 12}{ARROW}")
    svg += rect("x-right" if ok else "x-wrong", 6, y, 368, 76, 5)
    rows = [("skip", y + 32, *skip, real)]
    if result["branch"] is None:
        svg += text("x-soft x-end", 366, y + 19, "branch: nothing")
    else:
        rows.insert(0, ("branch", y + 8, n, c, c))
    for name, top, long, wide, true in rows:
        even = min(wide, thin) if n == skip[0] else wide
        svg += _bar(result, "x-bar", top, (0, short), (0, min(true, even)))
        if true < even:
            svg += _bar(result, "x-bar", top, (0, short), (true, even), 0.25)
        if wide > even:
            svg += _bar(result, "x-bar-bad", top, (0, short), (even, wide), 0.45)
        if long > short:
            svg += _bar(result, "x-bar-bad", top, (short, long), (0, wide), 0.45)
        svg += text("x-end", 366, top + 11, f"{name} {wide} × {long}")
    return svg + text("x-ok" if ok else "x-bad", LEFT, y + 66, note)


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _call(s: dict[str, Any], start: dict[str, Any]) -> str:
    """The call as HTML, with the arguments that differ from `start` marked."""
    words = []
    for name, value in s.items():
        if name == "length":
            continue
        word = esc(f'{name}="{value}"' if name == "shortcut" else f"{name}={value}")
        words.append(f"<mark>{word}</mark>" if value != start[name] else word)
    return f"ResidualChunks(<wbr>{', '.join(words)})"


SCRIPT = r"""
function out(n,k,s,p){return Math.floor((n+2*p-k)/s)+1}
function count(n,t){return n+" "+t+(n==1?"":"s")}
function compute(s){
var ladder=[s.length],widths=[s.in_channels],reason="",i,n;
for(i=0;i<s.chain_length;i++){
n=ladder[i];widths.push(s.channels);
if(n!==null&&s.kernel_size>n+2*s.padding)
reason="the kernel "+s.kernel_size+" does not fit length "+n+
(s.padding?" padded to "+(n+2*s.padding):"");
ladder.push(n===null||reason?null:
out(n,s.kernel_size,i==0?s.stride:1,s.padding))}
var skip=[s.length,s.in_channels],end=ladder[s.chain_length],sum="";
if(s.shortcut!="identity")skip[0]=out(s.length,1,s.stride,0);
if(s.shortcut=="projection")skip[1]=s.channels;
if(s.shortcut=="zeros")skip[1]=Math.max(s.in_channels,s.channels);
if(end!==null){
sum=end+" + "+skip[0];
if(end!=skip[0])reason="lengths "+end+" and "+skip[0]+" differ";
else if(s.channels!=skip[1]){
sum=s.channels+"×"+end+" + "+skip[1]+"×"+skip[0];
reason="channels "+s.channels+" and "+skip[1]+" differ"}
else if(s.shortcut=="identity"&&s.stride>1)
reason="the identity cannot stride, its steps only happen to be as many"}
var branch=s.kernel_size*s.channels*(s.in_channels+(s.chain_length-1)*s.channels)+
2*s.channels*s.chain_length,
extra=s.shortcut=="projection"?s.channels*(s.in_channels+2):0;
return{settings:s,ladder:ladder,widths:widths,
branch:end===null?null:[end,s.channels],skip:skip,addable:!reason,sum:sum,
reason:reason,output:reason?null:[end,s.channels],
parameters:{branch:branch,shortcut:extra,total:branch+extra}}}

var ARROW="v12m-4 -5l4 5l4 -5";
function view(r,start){
var s=r.settings,ok=r.addable,y=62+56*s.chain_length,verdict,
svg=branchOf(r)+shortcutOf(r,y+18)+comparison(r,y+45)+
path("x-wire","M134 "+(y+121)+ARROW)+
rect(ok?"x-box":"x-void",6,y+133,256,28,5)+
text(ok?"":"x-soft",16,y+151,"ReLU");
if(ok){
svg+=text("x-bold x-end",252,y+151,r.output[1]+" × "+r.output[0]);
verdict="✓ "+r.sum+": the sum has "+count(r.output[0],"step")+" and "+
count(r.output[1],"channel")}
else{
svg+=text("x-soft x-end",252,y+151,"never reached");
verdict="✗ "+r.sum+(r.sum?": ":"")+r.reason}
var steps=r.ladder.map(function(n){return n===null?"✗":n}).join(" → "),
c=r.parameters,call=callOf(s,start);
return{svg:svg,width:380,height:y+167,ok:ok,verdict:verdict,
summary:"Branch: "+steps+" steps, "+count(s.channels,"channel")+". Shortcut ("+
s.shortcut+"): "+count(r.skip[0],"step")+", "+count(r.skip[1],"channel")+
". Parameters: "+c.branch+" + "+c.shortcut+".",
detail:"<p>Branch <b>"+steps+"</b>, shortcut <b>"+s.length+" → "+r.skip[0]+
"</b>. Parameters: "+c.branch+" in the branch, "+c.shortcut+
" in the shortcut.</p><p>"+(ok?"This call runs:":"This call is refused:")+
"</p>PyTorch<code>pytorch.residual."+call+
"</code>Gluon<code>gluon.residual."+call+"</code>"}}
function bar(r,style,y,a,b,from,to,full){
var s=r.settings,step=236/Math.max.apply(null,r.ladder.concat(r.skip[0])),
cell=step<3?6:step,high=14/Math.max(s.in_channels,s.channels),f=full||.8;
return path(style,"M"+num(16+a*step)+" "+num(y+high*(from+to)/2)+"H"+
num(16+b*step),Math.max(1,high*(to-from)),
step<3&&f==.8?"":num(f*cell)+" "+num(cell-f*cell))}
function branchOf(r){
var s=r.settings;
return r.ladder.map(function(n,i){
var y=6+56*i,stuck=n===null&&r.ladder[i-1]!==null;
return rect(stuck?"x-wrong":n===null?"x-void":"x-box",6,y,256,44,5)+
path("x-wire","M134 "+(y+44)+ARROW)+
text(i?"":"x-bold",16,y+16,i?i+": conv "+s.kernel_size+
(s.padding?", pad "+s.padding:"")+
(i==1&&s.stride>1?", stride "+s.stride:""):"x")+
(n!==null?text("x-bold x-end",252,y+16,r.widths[i]+" × "+n)+
bar(r,"x-bar",y+23,0,n,0,r.widths[i]):
stuck?text("x-bad",16,y+34,"✗ does "+r.reason.split(" does ")[1]):
text("x-soft",16,y+34,"never reached"))}).join("")}
function shortcutOf(r,y){
var s=r.settings,ok=r.addable,
kept=s.stride==1?"all steps":"1 step in "+s.stride,
lines=s.shortcut=="projection"?["1×1 conv",kept]:s.shortcut=="zeros"?
[kept,"+ "+Math.max(0,s.channels-s.in_channels)+" zeros"]:["x itself"],
high=40+14*lines.length,top=Math.floor((28+y-high)/2);
return path("x-wire","M262 28H325V"+y+"H149m5 -4l-5 4l5 4")+
rect("x-box",276,top,98,high,5)+
text("x-bold x-mid",325,top+16,s.shortcut)+
lines.map(function(t,i){
return text("x-soft x-mid",325,top+31+14*i,t)}).join("")+
text("x-bold x-mid",325,top+high-8,r.skip[1]+" × "+r.skip[0])+
rect(ok?"x-right":"x-wrong",119,y-15,30,30,15)+
path(ok?"x-wire-ok":"x-wire-bad","M127 "+y+"h14m-7 -7v14",2)+
text("x-big "+(ok?"x-ok":"x-bad"),156,y-7,(ok?"✓":"✗")+" "+r.sum)}
function comparison(r,y){
var s=r.settings,ok=r.addable,skip=r.skip,b=r.branch||skip,n=b[0],c=b[1],
short=Math.min(n,skip[0]),thin=Math.min(c,skip[1]),
real=s.shortcut=="zeros"?Math.min(skip[1],s.in_channels):skip[1],
note=!r.branch?"✗ nothing comes out of the branch":
n!=skip[0]?"✗ "+count(Math.abs(n-skip[0]),"step")+" without a partner":
c!=skip[1]?"✗ "+count(Math.abs(c-skip[1]),"channel")+" without a partner":
!ok?"✗ as many steps, but not the same ones":
"every step and channel has a partner",
svg=path("x-wire","M134 "+(y-12)+ARROW)+
rect(ok?"x-right":"x-wrong",6,y,368,76,5),
rows=[["skip",y+32,skip[0],skip[1],real]];
if(r.branch)rows.unshift(["branch",y+8,n,c,c]);
else svg+=text("x-soft x-end",366,y+19,"branch: nothing");
rows.forEach(function(q){
var top=q[1],long=q[2],wide=q[3],real=q[4],
even=n==skip[0]?Math.min(wide,thin):wide;
svg+=bar(r,"x-bar",top,0,short,0,Math.min(real,even));
if(real<even)svg+=bar(r,"x-bar",top,0,short,real,even,.25);
if(wide>even)svg+=bar(r,"x-bar-bad",top,0,short,even,wide,.45);
if(long>short)svg+=bar(r,"x-bar-bad",top,short,long,0,wide,.45);
svg+=text("x-end",366,top+11,q[0]+" "+wide+" × "+long)});
return svg+text(ok?"x-ok":"x-bad",16,y+66,note)}
function callOf(s,start){
return"ResidualChunks(<wbr>"+Object.keys(s).filter(function(k){return k!="length"})
.map(function(k){
var w=esc(k+"="+(k=="shortcut"?'"'+s[k]+'"':s[k]));
return s[k]!==start[k]?"<mark>"+w+"</mark>":w}).join(", ")+")"}
"""


def residual_builder(
    length: int = 64,
    in_channels: int = 10,
    channels: int = 10,
    kernel_size: int = 3,
    stride: int = 2,
    chain_length: int = 3,
    padding: int = 0,
    shortcut: str = "identity",
    title: str = "Residual builder",
    goal: str = "Change the call until the two paths can be added: make it green.",
) -> Explorer:
    """The figure, opened on the call as first asked or on another.

    Args:
        length, in_channels, channels, kernel_size, stride, chain_length, padding,
            shortcut: as in `compute`, within the ranges of the controls (length to
            128, channels to 64, kernel_size to 9, stride and padding to 4,
            chain_length to 6).
        title, goal: plain text above the picture.

    Raises:
        TypeError, ValueError: as `compute`, or a value that no control can show.
    """
    first = compute(
        length,
        in_channels,
        channels,
        kernel_size,
        stride,
        chain_length,
        padding,
        shortcut,
    )
    return Explorer(
        name="residual_builder",
        title=title,
        goal=goal,
        settings=first["settings"],
        defaults=FIRST_CALL,
        controls=CONTROLS,
        compute=compute,
        view=view,
        script=SCRIPT,
    )
