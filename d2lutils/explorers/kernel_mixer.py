"""The kernel mixer: mixing kernels and mixing answers, and where the two part ways.

It opens with a ReLU inside each expert and all routing values at one half: red, the
weighted sum of the answers is not the answer of the mixed kernel. Three ways make them
equal while experts are on: the ReLU after the mixing, where convolution is all there
is to mix; one expert alone; several experts that nowhere differ in sign.

A click on an expert's kernel plays it solo, as on a mixing desk: the sliders keep what
they say, the other experts are silent.

All is counted in whole units (an image in quarters, kernels in sixteenths, routing
values in tenths) and divided once, so that Python and JavaScript agree to the bit.
"""

from __future__ import annotations

import json
import math
from typing import Any

from d2lutils import checks
from d2lutils.explorers.base import (
    Explorer,
    View,
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

__all__ = ["compute", "kernel_mixer", "view"]

# An edge, a dot, a stripe; in quarters.
IMAGE = (
    "00000000",
    "00003330",
    "04003330",
    "00003330",
    "00003330",
    "22223330",
    "00003330",
    "00000000",
)
SIZE = len(IMAGE)

# Row by row, in sixteenths.
EXPERTS: dict[str, tuple[int, ...]] = {
    "vertical": (-16, 0, 16, -16, 0, 16, -16, 0, 16),
    "horizontal": (-16, -16, -16, 0, 0, 0, 16, 16, 16),
    "blur": (1, 2, 1, 2, 4, 2, 1, 2, 1),
    "identity": (0, 0, 0, 0, 16, 0, 0, 0, 0),
}
K, TAPS = len(EXPERTS), 9

OPENING: dict[str, Any] = {
    "vertical": 0.5,
    "horizontal": 0.5,
    "blur": 0.5,
    "identity": 0.5,
    "inside": True,
    "side": 8,
    "solo": -1,
}

CONTROLS = (
    slider("vertical", "Vertical", 0, 1, 0.1),
    slider("horizontal", "Horizontal", 0, 1, 0.1),
    slider("blur", "Blur", 0, 1, 0.1),
    slider("identity", "Identity", 0, 1, 0.1),
    switch("inside", "ReLU inside the experts"),
    number("side", "Map side, for the cost", 1, 256),
    clicked("solo", "Expert that plays solo", -1, K - 1),
)


def _tenths(owner: str, name: str, value: Any) -> int:
    value = checks.number(owner, name, value, 0, 1)
    tenths = round(10 * value)
    if abs(10 * value - tenths) > 1e-9:
        raise ValueError(f"{owner}: {name} must go in steps of 0.1, got {value}")
    return tenths


def _convolved(kernel: tuple[int, ...]) -> list[list[int]]:
    """The image under a kernel, a zero around it; in units of 1/64."""
    return [
        [
            sum(
                kernel[3 * i + j] * int(IMAGE[y + i - 1][x + j - 1])
                for i in range(3)
                for j in range(3)
                if 0 <= y + i - 1 < SIZE and 0 <= x + j - 1 < SIZE
            )
            for x in range(SIZE)
        ]
        for y in range(SIZE)
    ]


def compute(
    vertical: float = 0.5,
    horizontal: float = 0.5,
    blur: float = 0.5,
    identity: float = 0.5,
    inside: bool = True,
    side: int = 8,
    solo: int = -1,
) -> dict[str, Any]:
    """A mixed kernel's answer beside the mixture of the experts' answers.

    Args:
        vertical, horizontal, blur, identity: routing values from 0 to 1 in tenths.
        inside: whether the ReLU of "mix answers" stands in each expert, before the
            weighted sum, and not after it.
        side: of the square map for which multiply-adds are counted.
        solo: the only expert, 0 to 3, that is on; -1 for all.

    Returns:
        A dict that JSON can hold:

        - "settings": the arguments;
        - "routing": the four values in effect;
        - "kernel": the mixed kernel, row by row;
        - "answers": what each expert's kernel makes of the image, before any ReLU;
        - "mixed": ReLU(mixed kernel * image);
        - "summed": the weighted sum of the answers, with the ReLU inside or after it;
        - "largest": the largest difference of the two, "unequal": in how many pixels,
          "pixel": row and column of the first largest one, None where all are equal;
        - "on": experts whose routing value is not 0;
        - "cost": multiply-adds of both ways for one channel, kernels and answers;
        - "way": why all is equal: "outside", "one" or "signs", else "";
        - "ok": whether all is equal and an expert is on.

    Raises:
        TypeError, ValueError: a bad argument, named.
    """
    owner = "kernel_mixer"
    given = (vertical, horizontal, blur, identity)
    tenths = [_tenths(owner, *pair) for pair in zip(EXPERTS, given, strict=True)]
    settings: dict[str, Any] = {
        name: t / 10 for name, t in zip(EXPERTS, tenths, strict=True)
    }
    inside = checks.boolean(owner, "inside", inside)
    side = checks.positive(owner, "side", side)
    solo = checks.integer(owner, "solo", solo)
    if not -1 <= solo < K:
        raise ValueError(f"{owner}: solo must be from -1 to {K - 1}, got {solo}")
    settings |= {"inside": inside, "side": side, "solo": solo}
    tenths = [t if solo in (-1, k) else 0 for k, t in enumerate(tenths)]

    kernels = list(EXPERTS.values())
    answers = [_convolved(kernel) for kernel in kernels]
    kernel = [
        sum(t * w[i] for t, w in zip(tenths, kernels, strict=True)) for i in range(TAPS)
    ]
    mixed, summed = [], []
    largest, unequal, pixel = 0, 0, None
    # One convolution with the mixed kernel, not a shortcut through the answers.
    for y, row in enumerate(_convolved(tuple(kernel))):
        mixed.append([max(0, v) for v in row])
        sums = []
        for x in range(SIZE):
            parts = [a[y][x] for a in answers]
            if inside:
                parts = [max(0, v) for v in parts]
            total = sum(t * v for t, v in zip(tenths, parts, strict=True))
            sums.append(max(0, total))
            gap = abs(sums[x] - mixed[y][x])
            unequal += gap > 0
            if gap > largest:
                largest, pixel = gap, [y, x]
        summed.append(sums)
    on = K - tenths.count(0)
    ok = on > 0 and not unequal
    way = ("one" if on == 1 else "signs") if inside else "outside"
    places = side * side
    return {
        "settings": settings,
        "routing": [t / 10 for t in tenths],
        "kernel": [v / 160 for v in kernel],
        "answers": [[[v / 64 for v in row] for row in a] for a in answers],
        "mixed": [[v / 640 for v in row] for row in mixed],
        "summed": [[v / 640 for v in row] for row in summed],
        "largest": largest / 640,
        "unequal": unequal,
        "pixel": pixel,
        "on": on,
        "cost": [(K + places) * TAPS, K * places * (TAPS + 1)],
        "way": way if ok else "",
        "ok": ok,
    }


WAYS = {
    "outside": "✓ Equal, way 1 of 3: the ReLU waits until all is summed",
    "one": "✓ Equal, way 2 of 3: one expert alone, nothing to mix",
    "signs": "✓ Equal, way 3 of 3: no two experts differ in sign, anywhere",
}
WHY = {
    "outside": "A convolution is linear in its kernel: sum before or after it, the "
    "result is the same, whatever the routing.",
    "one": "No routing value is negative, so ReLU(r·a) = r·ReLU(a). The other experts "
    "are silent.",
    "signs": "Where all answers have one sign, ReLU keeps them all or drops them all. "
    "This depends on the image: one negative pixel can end it.",
}

# The picture. Names as short as the buttons are wide.
WIDTH, HEIGHT = 400, 474
WORDS = ("vertical", "horizontal", "blur", "identity")
POSITIVE, NEGATIVE, GREY, GAP = (
    "var(--focus)",
    "#d08a10",
    "var(--ink)",
    "var(--bad)",
)
LEFT, MIDDLE, RIGHT, MAPS = 14, 152, 290, 256


def _cells(
    x: float, y: float, cell: float, rows: list[list[float]], colour: str = POSITIVE
) -> str:
    """Numbers as colours, eight shades up to 2; negative ones in amber."""
    n = len(rows)
    runs: dict[int, str] = {}
    for i, row in enumerate(rows):
        shades = [_shade(v, 4) for v in row]
        j = 0
        while j < n:
            k = j + 1
            while k < n and shades[k] == shades[j]:
                k += 1
            runs[shades[j]] = runs.get(shades[j], "") + f"M{j} {i}h{k - j}"
            j = k
    body = "".join(
        _tinted(shade, runs[shade], colour) for shade in range(-8, 9) if shade in runs
    )
    return rect("x-box", x - 1, y - 1, n * cell + 2, n * cell + 2) + _scaled(
        x, y + cell / 2, cell, body
    )


def _shade(v: float, steps: int) -> int:
    """-8 to 8, of which 8 is reached at 8 / `steps`."""
    return min(8, math.ceil(steps * abs(v))) * (1 if v > 0 else -1)


def _tinted(shade: int, d: str, colour: str = POSITIVE) -> str:
    """A path in one of the eight shades of a colour, or of amber below 0."""
    tint = NEGATIVE if shade < 0 else colour
    opacity = num(abs(shade) / 8)
    return f'<path stroke="{tint}" opacity="{opacity}" d="{d}"/>' if shade else ""


def _scaled(x: float, y: float, cell: float, body: str) -> str:
    """`body`, drawn in cells, with the middle of its first cell's left side at x, y."""
    return (
        f'<g transform="translate({num(x)} {num(y)}) scale({num(cell)})" '
        f'stroke-width=".9" stroke-dasharray=".9 .1" stroke-miterlimit="1">{body}</g>'
    )


def _frame(x: float, y: float, cell: float, pixel: list[int] | None) -> str:
    """A square around the pixel."""
    if pixel is None:
        return ""
    x, y, c = x + pixel[1] * cell, y + pixel[0] * cell, num(cell)
    return path("x-wire-bad", f"M{num(x)} {num(y)}h{c}v{c}h-{c}z")


def _thousands(value: int) -> str:
    return f"{value:,}"


def view(result: dict[str, Any], start: dict[str, Any]) -> View:
    """The experts, both pipelines, their difference, what both cost."""
    s, pixel, ok = result["settings"], result["pixel"], result["ok"]
    inside, solo, on = s["inside"], s["solo"], result["on"]
    svg = text("x-bold", 6, 14, "image")
    svg += _cells(6, 24, 8, [[int(v) / 2 for v in row] for row in IMAGE], GREY)
    svg += text("x-bold", 92, 14, "experts") + text(
        "x-soft", 152, 14, "click one: it plays solo"
    )
    for k, kernel in enumerate(EXPERTS.values()):
        x, r = 88 + 78 * k, result["routing"][k]
        rows = [[v / 8 for v in kernel[i : i + 3]] for i in (0, 3, 6)]
        body = _cells(x + 15, 24, 16, rows)
        body += rect("x-pin" if solo == k else "x-box", x, 78, 76, 22, 4)
        body += text("x-mid", x + 38, 93, WORDS[k])
        label = f"{WORDS[k]}, only this expert"
        svg += part("solo", -1 if solo == k else k, label, solo == k, body)
        svg += text("x-mid x-bold" if r else "x-mid x-soft", x + 38, 117, f"× {num(r)}")

    # Left: one kernel out of four.
    svg += text("x-bold", 6, 142, "mix kernels") + text(
        "x-bold", 206, 142, "mix answers"
    )
    for i, v in enumerate(result["kernel"]):
        x, y = 6 + 58 * (i % 3), 152 + 26 * (i // 3)
        svg += _block(x, y, v)
        svg += rect("x-box", x + 6, y + 4, 46, 18, 3)
        svg += text("x-mid", x + 29, y + 17.5, num(v))
    svg += text("x-soft", 6, 248, "↓ convolve once, then ReLU")

    # Right: four answers.
    for k, answer in enumerate(result["answers"]):
        x, r = 206 + 49 * k, result["routing"][k]
        shown = [[max(0, v) if inside else v for v in row] for row in answer]
        drawn = _cells(x, 153, 5, shown)
        svg += drawn if r else f'<g opacity=".3">{drawn}</g>'
        svg += _frame(x, 153, 5, pixel if r else None)
        svg += text("x-mid" if r else "x-mid x-soft", x + 20, 210, f"× {num(r)}")
    svg += text(
        "x-soft", 206, 228, "each after its own ReLU" if inside else "before any ReLU"
    )
    svg += text("x-soft", 206, 248, "↓ sum" if inside else "↓ sum, then ReLU")

    gaps = [
        [abs(b - a) for a, b in zip(*rows, strict=True)]
        for rows in zip(result["mixed"], result["summed"], strict=True)
    ]
    for x, rows, colour in (
        (LEFT, result["mixed"], POSITIVE),
        (MIDDLE, gaps, GAP),
        (RIGHT, result["summed"], POSITIVE),
    ):
        svg += _cells(x, MAPS, 12, rows, colour) + _frame(x, MAPS, 12, pixel)
    svg += text("x-big x-mid", 131, 309, "↔") + text("x-big x-mid", 269, 309, "↔")
    largest = num(result["largest"])
    if pixel is None:
        svg += text(
            "x-ok x-mid x-bold" if ok else "x-bad x-mid x-bold", 200, 370, "equal"
        )
    else:
        a, b = (result[way][pixel[0]][pixel[1]] for way in ("mixed", "summed"))
        svg += text("x-mid", 62, 370, f"framed: {num(a)}") + text(
            "x-mid", 338, 370, f"framed: {num(b)}"
        )
        svg += text("x-bad x-mid x-bold", 200, 370, f"differ by {largest}")

    cost, n = result["cost"], s["side"]
    svg += text("x-soft", 6, 394, "blue: above 0, amber: below 0, red: how far apart")
    svg += text("x-bold", 6, 424, f"multiply-adds, {n} × {n} map, one channel")
    for i, words in enumerate(("mix kernels", "mix answers")):
        y = 444 + 22 * i
        svg += text("", 6, y, words) + text("x-end", 394, y, _thousands(cost[i]))
        svg += path("x-bar", f"M92 {y - 4}h{num(226 * cost[i] / max(cost))}", 12)

    if ok:
        verdict = WAYS[result["way"]]
    elif on:
        verdict = (
            f"✗ Up to {largest} apart in {result['unequal']} of {SIZE * SIZE} pixels: "
            "each ReLU cuts too soon"
        )
    else:
        verdict = "✗ Equal, but only because every expert is off"
    routing = ", ".join(
        f"{w} {num(r)}" for w, r in zip(WORDS, result["routing"], strict=True)
    )
    place = "inside the experts" if inside else "after the sum"
    summary = (
        f"Routing: {routing}; ReLU {place}. Mixed kernel: "
        f"{', '.join(num(v) for v in result['kernel'])}. Largest difference of the two "
        f"answers: {largest}. Multiply-adds: mix kernels {_thousands(cost[0])}, mix "
        f"answers {_thousands(cost[1])}."
    )
    detail = ""
    if pixel is not None:
        detail = f"<p>{esc(_where(pixel))}</p><code>{esc(_worked(result))}</code>"
    elif ok:
        detail = f"<p>{esc(WHY[result['way']])}</p>"
    ratio = num(cost[1] / cost[0])
    detail += (
        f"<p>Mixing kernels: {K}·{TAPS} + {_thousands(n * n)}·{TAPS}. Mixing answers: "
        f"{K}·{_thousands(n * n)}·({TAPS} + 1), <b>{ratio} times</b> as many. Both "
        f"count all {K} experts, silent ones too.</p>"
        "<details><summary>Hint</summary><p>ReLU(a + b) = ReLU(a) + ReLU(b) unless a "
        "and b differ in sign. Which experts never answer with a negative number "
        "here?</p></details>"
    )
    return View(svg, WIDTH, HEIGHT, ok, verdict, summary, detail)


def _block(x: int, y: int, v: float) -> str:
    """The coloured ground of one number of the mixed kernel."""
    d = f"M{x} {y + 13}h58"
    return rect("x-box", x, y, 58, 26) + (
        f'<g stroke-width="26">{_tinted(_shade(v, 8), d)}</g>'
    )


def _where(pixel: list[int]) -> str:
    return f"In the framed pixel, row {pixel[0] + 1}, column {pixel[1] + 1}:"


def _worked(result: dict[str, Any]) -> str:
    """Both sums of the framed pixel."""
    y, x = result["pixel"]
    pairs = [
        (num(r), num(a[y][x]), a[y][x])
        for r, a in zip(result["routing"], result["answers"], strict=True)
        if r
    ]
    before = " + ".join(f"{r}·({a})" if v < 0 else f"{r}·{a}" for r, a, v in pairs)
    each = " + ".join(f"{r}·ReLU({a})" for r, a, _ in pairs)
    return (
        f"mix kernels:\nReLU({before}) = {num(result['mixed'][y][x])}\n"
        f"mix answers:\n{each} = {num(result['summed'][y][x])}"
    )


SCRIPT = r"""
var IMAGE="@image",KS=@kernels,NAMES=["vertical","horizontal","blur","identity"],
WAYS=@ways,WHY=@why;
function relu(v){return Math.max(0,v)}
function times(n,f){
var out=[];
for(var i=0;i<n;i++)out.push(f(i));
return out}
function convolved(k){
return times(8,function(y){return times(8,function(x){
var sum=0,i,u,v;
for(i=0;i<9;i++){
u=x+i%3-1;v=y+Math.floor(i/3)-1;
if(u>=0&&u<8&&v>=0&&v<8)sum+=k[i]*IMAGE[8*v+u]}
return sum})})}
function over(n){return function f(v){return v.map?v.map(f):v/n}}
function compute(s){
var r=NAMES.map(function(name,k){
return s.solo==-1||s.solo==k?Math.round(10*s[name]):0}),
answers=KS.map(convolved),largest=0,unequal=0,pixel=null,
kernel=times(9,function(i){
return r.reduce(function(sum,t,k){return sum+t*KS[k][i]},0)}),
mixed=convolved(kernel).map(function(row){return row.map(relu)}),
summed=mixed.map(function(row,y){return row.map(function(m,x){
var sum=relu(r.reduce(function(sum,t,k){
var v=answers[k][y][x];
return sum+t*(s.inside?relu(v):v)},0)),gap=Math.abs(sum-m);
if(gap>0)unequal++;
if(gap>largest){largest=gap;pixel=[y,x]}
return sum})}),
on=r.filter(Boolean).length,ok=on>0&&!unequal,p=s.side*s.side;
return{settings:s,routing:over(10)(r),kernel:over(160)(kernel),
answers:over(64)(answers),mixed:over(640)(mixed),summed:over(640)(summed),
largest:largest/640,unequal:unequal,pixel:pixel,on:on,cost:[(4+p)*9,4*p*10],
way:!ok?"":s.inside?on==1?"one":"signs":"outside",ok:ok}}

function tint(z,d,c){
return z?'<path stroke="'+(z<0?"#d08a10":c||"var(--focus)")+'" opacity="'+
num(Math.abs(z)/8)+'" d="'+d+'"/>':""}
function shade(v,n){return Math.min(8,Math.ceil(n*Math.abs(v)))*(v>0?1:-1)}
function cells(x,y,c,rows,colour){
var n=rows.length,svg=rect("x-box",x-1,y-1,n*c+2,n*c+2)+'<g transform="translate('+
num(x)+" "+num(y+c/2)+") scale("+c+')" stroke-width=".9" stroke-dasharray=".9 .1" '+
'stroke-miterlimit="1">',
d={},z,j,k;
rows.forEach(function(row,i){
for(j=0;j<n;j=k){
z=shade(row[j],4);
for(k=j+1;k<n&&shade(row[k],4)==z;)k++;
d[z]=(d[z]||"")+"M"+j+" "+i+"h"+(k-j)}});
for(z=-8;z<9;z++)if(d[z])svg+=tint(z,d[z],colour);
return svg+"</g>"}
function frame(x,y,c,p){
return p?path("x-wire-bad","M"+num(x+p[1]*c)+" "+num(y+p[0]*c)+"h"+c+"v"+c+"h-"+c+
"z"):""}
function commas(v){return String(v).replace(/\B(?=(\d{3})+$)/g,",")}
function view(r,start){
var s=r.settings,p=r.pixel,ok=r.ok,n=s.side,cost=r.cost,top=Math.max(cost[0],cost[1]),
largest=num(r.largest),
svg=text("x-bold",6,14,"image")+cells(6,24,8,times(8,function(y){
return times(8,function(x){return IMAGE[8*y+x]/2})}),"var(--ink)")+
text("x-bold",92,14,"experts")+text("x-soft",152,14,"click one: it plays solo");
KS.forEach(function(k,i){
var x=88+78*i,w=r.routing[i],me=s.solo==i;
svg+=part("solo",me?-1:i,NAMES[i]+", only this expert",me,
cells(x+15,24,16,[0,3,6].map(function(j){return over(8)(k.slice(j,j+3))}))+
rect(me?"x-pin":"x-box",x,78,76,22,4)+text("x-mid",x+38,93,NAMES[i]))+
text(w?"x-mid x-bold":"x-mid x-soft",x+38,117,"× "+num(w))});
svg+=text("x-bold",6,142,"mix kernels")+text("x-bold",206,142,"mix answers");
r.kernel.forEach(function(v,i){
var x=6+58*(i%3),y=152+26*Math.floor(i/3);
svg+=rect("x-box",x,y,58,26)+'<g stroke-width="26">'+
tint(shade(v,8),"M"+x+" "+(y+13)+"h58")+"</g>"+
rect("x-box",x+6,y+4,46,18,3)+text("x-mid",x+29,y+17.5,num(v))});
svg+=text("x-soft",6,248,"↓ convolve once, then ReLU");
r.answers.forEach(function(a,k){
var x=206+49*k,w=r.routing[k];
svg+=(w?"":'<g opacity=".3">')+
cells(x,153,5,a.map(function(row){return s.inside?row.map(relu):row}))+(w?"":"</g>")+
frame(x,153,5,w?p:null)+text(w?"x-mid":"x-mid x-soft",x+20,210,"× "+num(w))});
svg+=text("x-soft",206,228,s.inside?"each after its own ReLU":"before any ReLU")+
text("x-soft",206,248,s.inside?"↓ sum":"↓ sum, then ReLU");
[[14,r.mixed],[152,r.mixed.map(function(row,y){return row.map(function(m,x){
return Math.abs(r.summed[y][x]-m)})}),"var(--bad)"],[290,r.summed]].forEach(
function(m){svg+=cells(m[0],256,12,m[1],m[2])+frame(m[0],256,12,p)});
svg+=text("x-big x-mid",131,309,"↔")+text("x-big x-mid",269,309,"↔")+(p?
text("x-mid",62,370,"framed: "+num(r.mixed[p[0]][p[1]]))+
text("x-mid",338,370,"framed: "+num(r.summed[p[0]][p[1]]))+
text("x-bad x-mid x-bold",200,370,"differ by "+largest):
text((ok?"x-ok":"x-bad")+" x-mid x-bold",200,370,"equal"))+
text("x-soft",6,394,"blue: above 0, amber: below 0, red: how far apart")+
text("x-bold",6,424,"multiply-adds, "+n+" × "+n+" map, one channel");
["mix kernels","mix answers"].forEach(function(t,i){
svg+=text("",6,444+22*i,t)+text("x-end",394,444+22*i,commas(cost[i]))+
path("x-bar","M92 "+(440+22*i)+"h"+num(226*cost[i]/top),12)});
return{svg:svg,width:400,height:474,ok:ok,
verdict:ok?WAYS[r.way]:r.on?"✗ Up to "+largest+" apart in "+r.unequal+
" of 64 pixels: each ReLU cuts too soon":
"✗ Equal, but only because every expert is off",
summary:"Routing: "+NAMES.map(function(t,k){
return t+" "+num(r.routing[k])}).join(", ")+"; ReLU "+
(s.inside?"inside the experts":"after the sum")+". Mixed kernel: "+
r.kernel.map(num).join(", ")+". Largest difference of the two answers: "+largest+
". Multiply-adds: mix kernels "+commas(cost[0])+", mix answers "+commas(cost[1])+".",
detail:(p?"<p>In the framed pixel, row "+(p[0]+1)+", column "+(p[1]+1)+":</p><code>"+
worked(r,p[0],p[1])+"</code>":ok?"<p>"+esc(WHY[r.way])+"</p>":"")+
"<p>Mixing kernels: 4·9 + "+commas(n*n)+"·9. Mixing answers: 4·"+commas(n*n)+
"·(9 + 1), <b>"+num(cost[1]/cost[0])+
" times</b> as many. Both count all 4 experts, silent ones too.</p>"+
"<details><summary>Hint</summary><p>ReLU(a + b) = ReLU(a) + ReLU(b) unless a and b "+
"differ in sign. Which experts never answer with a negative number here?</p>"+
"</details>"}}
function worked(r,y,x){
function sum(f){
return r.answers.map(function(a,k){
return r.routing[k]?num(r.routing[k])+"·"+f(a[y][x]):""}).filter(Boolean).join(" + ")}
return"mix kernels:\nReLU("+sum(function(v){return v<0?"("+num(v)+")":num(v)})+") = "+
num(r.mixed[y][x])+"\nmix answers:\n"+
sum(function(v){return"ReLU("+num(v)+")"})+" = "+num(r.summed[y][x])}
"""


def _script() -> str:
    """The script with the image, the kernels and the words of this module."""
    parts = {
        "@image": "".join(IMAGE),
        "@kernels": json.dumps(list(EXPERTS.values()), separators=(",", ":")),
        "@ways": json.dumps(WAYS, ensure_ascii=False),
        "@why": json.dumps(WHY, ensure_ascii=False),
    }
    script = SCRIPT
    for mark, words in parts.items():
        script = script.replace(mark, words)
    return script


def kernel_mixer(
    vertical: float = 0.5,
    horizontal: float = 0.5,
    blur: float = 0.5,
    identity: float = 0.5,
    inside: bool = True,
    side: int = 8,
    solo: int = -1,
    title: str = "Kernel mixer",
    goal: str = (
        "Make the two answers equal with at least one expert on. There are three ways; "
        "two of them keep the ReLU inside."
    ),
) -> Explorer:
    """The figure, opened with the ReLU inside the experts or on other settings.

    Args:
        vertical, horizontal, blur, identity, inside, side, solo: as in `compute`,
            within the ranges of the controls (side to 256).
        title, goal: plain text above the picture.

    Raises:
        TypeError, ValueError: as `compute`, or a value that no control can show.
    """
    first = compute(vertical, horizontal, blur, identity, inside, side, solo)
    return Explorer(
        name="kernel_mixer",
        title=title,
        goal=goal,
        settings=first["settings"],
        defaults=OPENING,
        controls=CONTROLS,
        compute=compute,
        view=view,
        script=_script(),
    )
