"""Pyramid widths: how wide is every block, and what rounding does to it.

It opens on PyramidNet-110 with alpha 48 and the floor of the running width: red, since
54 steps of 48/54 are all rounded down to 0 and the net stays 16 wide. The goal is the
width that alpha promises in the last block. The exact rule gives it always; the
running floor only where nothing is lost, for additive widening where the number of
blocks divides alpha.

The depths on the slider are those that both kinds of blocks have, 18 j + 2.
"""

from __future__ import annotations

import math
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
    slider,
    text,
)
from d2lutils.shapes import BLOCKS, WIDENINGS, pyramid_blocks
from d2lutils.shapes import pyramid_widths as exact_widths

__all__ = ["compute", "pyramid_widths", "view"]

ROUNDINGS = ("exact", "floor")
START = 16  # width of the stem

FIRST_CALL: dict[str, Any] = {
    "depth": 110,
    "alpha": 48,
    "block": "basic",
    "widening": "additive",
    "rounding": "floor",
}

CONTROLS = (
    slider("depth", "Depth", 20, 272, 18),
    number("alpha", "Alpha", 1, 300),
    choice("block", "Block", ("basic", "basic"), ("bottleneck", "bottleneck")),
    choice(
        "widening",
        "Widening",
        ("additive", "additive"),
        ("multiplicative", "multiplicative"),
    ),
    choice(
        "rounding",
        "Rounding",
        ("exact", "exact, half up"),
        ("floor", "running floor"),
    ),
)


def compute(
    depth: int = 110,
    alpha: int = 48,
    block: str = "basic",
    widening: str = "additive",
    rounding: str = "floor",
) -> dict[str, Any]:
    """Widths, zeros and parameters of a PyramidNet for CIFAR (3 channels, 10 classes).

    Args:
        depth: layers with weights, 6 n + 2 for basic blocks, 9 n + 2 for bottlenecks.
        alpha: channels added by the whole net, or the factor that it widens by.
        block: "basic" or "bottleneck", whose output is 4 times as wide.
        widening: "additive" or "multiplicative".
        rounding: "exact" keeps the exact width and rounds it half up where it is used
            (`d2lutils.shapes.pyramid_widths`); "floor" rounds each width down and goes
            on from there.

    Returns:
        A dict that JSON can hold:

        - "settings": the arguments;
        - "blocks": how many;
        - "promised": 16 + alpha or 16 * alpha, the width of the last block;
        - "widths": of every block;
        - "extra": channels of zeros in the sum of every block;
        - "share": the largest share of zeros in a sum, 0 to 1;
        - "still": blocks whose sum needs no zeros;
        - "parameters": trained numbers of the net, equal to `PyramidNet`'s for the
          exact rule;
        - "reached": whether the last block is as wide as promised.

    Raises:
        TypeError: depth or alpha is not an integer.
        ValueError: a depth that no such net has, alpha below 1, an unknown word.
    """
    owner = "pyramid_widths"
    alpha = checks.positive(owner, "alpha", alpha)
    checks.choice(owner, "block", block, tuple(BLOCKS))
    checks.choice(owner, "widening", widening, WIDENINGS)
    checks.choice(owner, "rounding", rounding, ROUNDINGS)
    blocks = sum(pyramid_blocks(depth, block))
    if rounding == "exact":
        widths = exact_widths(depth, alpha, block, widening)
    else:
        widths, width = [], START
        for _ in range(blocks):
            if widening == "additive":
                width += alpha // blocks
            else:  # a hair above, so that 16 * 2.0 is not 31 for a root of 1.99…
                width = math.floor(width * alpha ** (1 / blocks) + 1e-9)
            widths.append(width)

    factor = 4 if block == "bottleneck" else 1
    extra, share, parameters, last = [], 0.0, 29 * START, START
    for w in widths:
        out = factor * w
        extra.append(out - last)
        share = max(share, (out - last) / out)
        parameters += 2 * last + 9 * w * w + 4 * w
        parameters += 9 * last * w if factor == 1 else w * last + w * out + 2 * out
        last = out
    promised = START + alpha if widening == "additive" else START * alpha
    return {
        "settings": {
            "depth": int(depth),
            "alpha": alpha,
            "block": block,
            "widening": widening,
            "rounding": rounding,
        },
        "blocks": blocks,
        "promised": promised,
        "widths": widths,
        "extra": extra,
        "share": share,
        "still": extra.count(0),
        "parameters": parameters + 12 * last + 10,
        "reached": widths[-1] == promised,
    }


# The picture: two rows of bars, one bar a block, with a gap between the groups.
WIDTH, HEIGHT, LEFT, SPAN, GAP = 380, 336, 40, 334, 8
BASE, HIGH = 186, 160  # the widths
FLOOR, ROOM = 306, 60  # the zeros


def view(result: dict[str, Any], start: dict[str, Any]) -> View:
    """The staircase of widths, the zeros, and what it comes to."""
    s, n, widths = result["settings"], result["blocks"], result["widths"]
    promised, ok = result["promised"], result["reached"]
    unit = (SPAN - 2 * GAP) / n
    thick = unit * 0.8
    factor = 4 if s["block"] == "bottleneck" else 1
    scale = HIGH / promised

    stairs = zeros = line = ""
    for i in range(n):
        x = num(LEFT + (i + 0.5) * unit + GAP * (i * 3 // n))
        stairs += f"M{x} {BASE}V{num(BASE - widths[i] * scale)}"
        share = result["extra"][i] / (factor * widths[i])
        if share:
            zeros += f"M{x} {FLOOR}V{num(FLOOR - share * ROOM)}"
        k = (i + 1) / n
        ideal = START + s["alpha"] * k
        if s["widening"] == "multiplicative":
            ideal = START * s["alpha"] ** k
        line += f"{'L' if i % (n // 3) else 'M'}{x} {num(BASE - ideal * scale)}"

    svg = text("", 6, 15, "width of each block")
    svg += text("x-ok x-end", 374, 15, f"line: promised, to {promised}")
    svg += path("x-bar" if ok else "x-bar-bad", stairs, thick)
    svg += path("x-wire-ok", line)
    svg += text("x-soft x-end", 36, BASE - HIGH + 10, promised)
    if START * scale < HIGH - 16:
        svg += text("x-soft x-end", 36, BASE - START * scale + 4, START)
    for g, side in enumerate((32, 16, 8)):
        middle = LEFT + (g + 0.5) * n / 3 * unit + GAP * g
        svg += text("x-soft x-mid", middle, BASE + 17, f"map {side} × {side}")
    svg += text("", 6, FLOOR - ROOM - 14, "zeros in each sum")
    most = num(math.floor(result["share"] * 1000 + 0.5) / 10)
    svg += text("x-bold x-end", 374, FLOOR - ROOM - 14, f"at most {most} %")
    svg += path("x-wire", f"M{LEFT} {FLOOR - ROOM / 2:g}H374", 1, "3 4")
    svg += text("x-soft x-end", 36, FLOOR - ROOM / 2 + 4, "50 %")
    svg += path("x-bar", zeros, thick) if zeros else ""
    svg += path("x-wire", f"M{LEFT} {FLOOR}H374", 1)
    total = f"{result['parameters']:,}"
    svg += text("x-bold", 6, FLOOR + 22, f"{total} parameters")
    svg += text("x-soft x-end", 374, FLOOR + 22, f"{n} blocks")

    last = widths[-1]
    if ok:
        verdict = f"✓ The last block is {last} wide, as alpha promises"
    else:
        verdict = f"✗ The last block is {last} wide, {promised} are promised: "
        if s["widening"] == "additive":
            verdict += f"{s['alpha']}/{n} a block, rounded down, is {s['alpha'] // n}"
        else:
            verdict += f"{n} blocks each lose a fraction"
    ends = f"{widths[0]} in the first block, {last} in the last"
    summary = (
        f"{n} blocks, {ends}, {promised} promised. {total} parameters. "
        f"Zeros are at most {most} % of a sum; {result['still']} of {n} blocks add no "
        "channel."
    )
    head = ", ".join(str(w) for w in widths[:6])
    detail = f"<p>Widths <b>{head}</b> … <b>{last}</b>."
    if factor == 4:
        detail += f" The output of a bottleneck is 4 times as wide: {4 * last}."
    detail += f" {result['still']} of {n} blocks add no channel.</p>"
    if s["rounding"] == "exact":
        call = f"PyramidNet({s['depth']}, {s['alpha']}"
        call += "".join(
            f', {name}="{s[name]}"'
            for name in ("block", "widening")
            if s[name] != FIRST_CALL[name]
        )
        detail += f"In both frameworks<code>{esc(call)})</code>"
    else:
        detail += "No PyramidNet of this book rounds like that."
    return View(svg, WIDTH, HEIGHT, ok, verdict, summary, detail)


SCRIPT = r"""
function compute(s){
var four=s.block=="bottleneck",mul=s.widening=="multiplicative",
n=(s.depth-2)/(four?3:2),a=s.alpha,widths=[],extra=[],w=16,last=16,share=0,p=464,k;
for(k=1;k<=n;k++){
if(s.rounding=="exact")
w=mul?Math.floor(16*Math.pow(a,k/n)+.5):Math.floor((33*n+2*a*k)/(2*n));
else w=mul?Math.floor(w*Math.pow(a,1/n)+1e-9):w+Math.floor(a/n);
var out=four?4*w:w;
widths.push(w);extra.push(out-last);share=Math.max(share,(out-last)/out);
p+=2*last+9*w*w+4*w+(four?w*last+w*out+2*out:9*last*w);
last=out}
var promised=mul?16*a:16+a;
return{settings:s,blocks:n,promised:promised,widths:widths,extra:extra,share:share,
still:extra.filter(function(e){return!e}).length,parameters:p+12*last+10,
reached:w==promised}}
function commas(v){return String(v).replace(/\B(?=(\d{3})+$)/g,",")}
function view(r,start){
var s=r.settings,n=r.blocks,ws=r.widths,top=r.promised,ok=r.reached,
unit=318/n,thick=unit*.8,f=s.block=="bottleneck"?4:1,
scale=160/top,stairs="",zeros="",line="",i,
mul=s.widening=="multiplicative";
for(i=0;i<n;i++){
var x=num(40+(i+.5)*unit+8*Math.floor(i*3/n)),share=r.extra[i]/(f*ws[i]),k=(i+1)/n;
stairs+="M"+x+" 186V"+num(186-ws[i]*scale);
if(share)zeros+="M"+x+" 306V"+num(306-share*60);
line+=(i%(n/3)?"L":"M")+x+" "+
num(186-(mul?16*Math.pow(s.alpha,k):16+s.alpha*k)*scale)}
var most=num(Math.floor(r.share*1000+.5)/10),total=commas(r.parameters),
last=ws[n-1],still=r.still+" of "+n+" blocks add no channel.",
svg=text("",6,15,"width of each block")+
text("x-ok x-end",374,15,"line: promised, to "+top)+
path(ok?"x-bar":"x-bar-bad",stairs,thick)+path("x-wire-ok",line)+
text("x-soft x-end",36,36,top)+
(16*scale<144?text("x-soft x-end",36,186-16*scale+4,16):"")+
[32,16,8].map(function(m,g){
return text("x-soft x-mid",40+(g+.5)*n/3*unit+8*g,203,"map "+m+" × "+m)}).join("")+
text("",6,232,"zeros in each sum")+
text("x-bold x-end",374,232,"at most "+most+" %")+
path("x-wire","M40 276H374",1,"3 4")+text("x-soft x-end",36,280,"50 %")+
(zeros?path("x-bar",zeros,thick):"")+path("x-wire","M40 306H374",1)+
text("x-bold",6,328,total+" parameters")+text("x-soft x-end",374,328,n+" blocks"),
call="PyramidNet("+s.depth+", "+s.alpha+
(f==4?', block="bottleneck"':"")+(mul?', widening="multiplicative"':"")+")";
return{svg:svg,width:380,height:336,ok:ok,
verdict:ok?"✓ The last block is "+last+" wide, as alpha promises":
"✗ The last block is "+last+" wide, "+top+" are promised: "+
(mul?n+" blocks each lose a fraction":
s.alpha+"/"+n+" a block, rounded down, is "+Math.floor(s.alpha/n)),
summary:n+" blocks, "+ws[0]+" in the first block, "+last+" in the last, "+top+
" promised. "+total+" parameters. Zeros are at most "+most+" % of a sum; "+still,
detail:"<p>Widths <b>"+ws.slice(0,6).join(", ")+"</b> … <b>"+last+"</b>."+
(f==4?" The output of a bottleneck is 4 times as wide: "+4*last+".":"")+
" "+still+"</p>"+(s.rounding=="exact"?"In both frameworks<code>"+esc(call)+"</code>":
"No PyramidNet of this book rounds like that.")}}
"""


def pyramid_widths(
    depth: int = 110,
    alpha: int = 48,
    block: str = "basic",
    widening: str = "additive",
    rounding: str = "floor",
    title: str = "Pyramid widths",
    goal: str = (
        "Make the last block as wide as alpha promises. Then do it once more, but "
        "keep the running floor."
    ),
) -> Explorer:
    """The figure, opened where the recursive floor falls flat or on other settings.

    Args:
        depth, alpha, block, widening, rounding: as in `compute`, within the ranges of
            the controls (depth 20 to 272 in steps of 18, alpha to 300).
        title, goal: plain text above the picture.

    Raises:
        TypeError, ValueError: as `compute`, or a value that no control can show.
    """
    first = compute(depth, alpha, block, widening, rounding)
    return Explorer(
        name="pyramid_widths",
        title=title,
        goal=goal,
        settings=first["settings"],
        defaults=FIRST_CALL,
        controls=CONTROLS,
        compute=compute,
        view=view,
        script=SCRIPT,
    )
