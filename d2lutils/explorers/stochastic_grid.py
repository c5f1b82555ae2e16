"""The stochastic-depth grid: which branches run in a training step, at what price.

It opens in mode "row" with the same drop probability everywhere: red, "saves 0 %". The
goal needs three changes: mode "batch", a rule that spares the first block, and a last
block that is dropped often enough. At 0.5 the rule "from zero" just misses it.

Thick cells are branches that ran and counted, thin ones ran and were thrown away, empty
ones never ran. Below stand the channels that the blocks added, at the net's output: a
dropped block leaves its new channels zero until a later, kept block adds to them.
"""

from __future__ import annotations

import math
from typing import Any

from d2lutils import checks
from d2lutils.explorers.base import (
    Explorer,
    View,
    choice,
    num,
    number,
    path,
    rect,
    slider,
    text,
)
from d2lutils.shapes import RULES, drop_probs

__all__ = ["compute", "draws", "stochastic_grid", "view"]

MODES = ("batch", "row")
START, ALPHA = 16, 48  # channels of PyramidNet's stem, and those that its blocks add
SAVE, FIRST = 25, 95  # the goal, in percent

OPENING: dict[str, Any] = {
    "num_blocks": 18,
    "mode": "row",
    "rule": "constant",
    "drop_prob": 0.3,
    "samples": 8,
    "seed": 1,
}

CONTROLS = (
    number("num_blocks", "Blocks", 1, 54),
    choice("mode", "Mode", ("batch", "batch"), ("row", "row")),
    choice(
        "rule",
        "Rule",
        ("paper", "paper: (i+1)/L"),
        ("from zero", "from zero: i/L"),
        ("end to end", "end to end: i/(L-1)"),
        ("constant", "constant"),
    ),
    slider("drop_prob", "Drop probability", 0, 1, 0.05),
    slider("samples", "Samples", 1, 16),
    number("seed", "Seed", 1, 999),
)


def draws(seed: int, count: int) -> list[float]:
    """Uniform numbers in [0, 1) by mulberry32, the same bits in JavaScript."""
    mask, state, result = 0xFFFFFFFF, seed & 0xFFFFFFFF, []
    for _ in range(count):
        state = (state + 0x6D2B79F5) & mask
        t = ((state ^ (state >> 15)) * (state | 1)) & mask
        t ^= (t + ((t ^ (t >> 7)) * (t | 61))) & mask
        result.append((t ^ (t >> 14)) / 2**32)
    return result


def _round(value: float, digits: int) -> float:
    """Rounded half up, as JavaScript can do it, too."""
    unit = 10**digits
    return math.floor(value * unit + 0.5) / unit


def compute(
    num_blocks: int = 18,
    mode: str = "row",
    rule: str = "constant",
    drop_prob: float = 0.3,
    samples: int = 8,
    seed: int = 1,
) -> dict[str, Any]:
    """One training step of a PyramidNet with `num_blocks` blocks and alpha 48.

    Args:
        num_blocks: L, blocks of the net.
        mode: "batch" draws one decision a block, "row" one for each sample.
        rule: of `d2lutils.shapes.survival`.
        drop_prob: that the rule spreads over the blocks.
        samples: in the batch.
        seed: of the decisions.

    Returns:
        A dict that JSON can hold:

        - "settings": the arguments;
        - "survival": of each block, four digits;
        - "expected": blocks that survive a step on average;
        - "kept": for each sample a string of 1 (kept) and 0 (dropped);
        - "kept_blocks": blocks kept in this draw, mean over the samples;
        - "cells": samples times blocks;
        - "evaluated": branch evaluations that ran, "thrown_away": those of them that
          counted for nothing;
        - "saved": percent of the evaluations saved in this draw, "average": on
          average; "first": percent of steps that the first block survives;
        - "widths": channels after each block;
        - "dark": for each sample the channels that are zero at the output;
        - "ok": whether at least 25 % are saved on average and the first block survives
          in at least 95 % of steps.

    Raises:
        TypeError, ValueError: a bad argument, named.
    """
    owner = "stochastic_grid"
    num_blocks = checks.positive(owner, "num_blocks", num_blocks)
    checks.choice(owner, "mode", mode, MODES)
    checks.choice(owner, "rule", rule, tuple(RULES))
    drop_prob = checks.number(owner, "drop_prob", drop_prob, 0, 1)
    samples = checks.positive(owner, "samples", samples)
    seed = checks.non_negative(owner, "seed", seed)
    drops = drop_probs(num_blocks, drop_prob, rule)
    lost = 0.0
    for p in drops:  # in this order and without sum(): as the script adds
        lost += p
    rows = samples if mode == "row" else 1
    numbers = draws(seed, rows * num_blocks)
    kept = [
        "".join(
            "1" if numbers[row * num_blocks + i] >= p else "0"
            for i, p in enumerate(drops)
        )
        for row in range(rows)
    ]
    kept = kept if mode == "row" else kept * samples
    widths = [
        (2 * START * num_blocks + 2 * ALPHA * k + num_blocks) // (2 * num_blocks)
        for k in range(1, num_blocks + 1)
    ]
    cells = samples * num_blocks
    survivors = sum(row.count("1") for row in kept)
    evaluated = cells if mode == "row" else survivors
    average = 0 if mode == "row" else _round(100 * lost / num_blocks, 2)
    first = _round(100 * (1 - drops[0]), 2)
    # Width at the end, less the width after the last block that was kept.
    lit = [row.rfind("1") for row in kept]
    return {
        "settings": {
            "num_blocks": num_blocks,
            "mode": mode,
            "rule": rule,
            "drop_prob": drop_prob,
            "samples": samples,
            "seed": seed,
        },
        "survival": [_round(1 - p, 4) for p in drops],
        "expected": _round(num_blocks - lost, 2),
        "kept": kept,
        "kept_blocks": _round(survivors / samples, 2),
        "cells": cells,
        "evaluated": evaluated,
        "thrown_away": evaluated - survivors,
        "saved": _round(100 * (cells - evaluated) / cells, 2),
        "average": average,
        "first": first,
        "widths": widths,
        "dark": [widths[-1] - (START if k < 0 else widths[k]) for k in lit],
        "ok": average >= SAVE and first >= FIRST,
    }


# The picture: survival by block, the grid below it in the same columns, and below that
# the new channels of each sample at the output.
WIDTH, LEFT, SPAN, ROW, THIN = 380, 36, 338, 12, 8


def view(result: dict[str, Any], start: dict[str, Any]) -> View:
    """The picture, the verdict and the counts."""
    s, kept, dark = result["settings"], result["kept"], result["dark"]
    blocks, samples = s["num_blocks"], s["samples"]
    batch = s["mode"] == "batch"
    cell = SPAN / blocks
    svg = text("x-soft", LEFT, 14, "survival of each block")
    svg += rect("x-box", LEFT, 20, SPAN, 44) + _survival(result, cell)
    svg += text("x-soft x-end", 30, 28, "1") + text("x-soft x-end", 30, 67, "0")

    top = 94
    svg += text("x-soft", LEFT, top - 8, f"branches, samples × {_count(blocks)}")
    svg += rect("x-box", LEFT, top, SPAN, samples * ROW + 4)
    gap = 2 if cell >= 8 else 1 if cell >= 5 else 0.5
    ran = wasted = ""
    for y, row in enumerate(kept):
        for i, mark in enumerate(row):
            left, middle = num(LEFT + i * cell + gap / 2), top + 8 + y * ROW
            line = f"M{left} {middle}h{num(cell - gap)}"
            if mark == "1":
                ran += line
            elif not batch:
                wasted += line
    svg += (path("x-bar", ran, 10) if ran else "") + (
        path("x-bar-bad", wasted, 4) if wasted else ""
    )
    y = top + samples * ROW + 20
    svg += text("", LEFT, y, "thick: ran and counted")
    if batch:
        svg += text("x-ok x-end", 374, y, "empty: never ran")
    else:
        svg += text("x-bad x-end", 374, y, "thin: ran for nothing")

    top = y + 28
    svg += text("x-soft", LEFT, top - 8, f"the {ALPHA} new channels at the output")
    svg += rect("x-box", LEFT, top, SPAN, samples * THIN + 4)
    lit = ""
    for i, n in enumerate(dark):
        if n < ALPHA:
            right = num(LEFT + SPAN * (ALPHA - n) / ALPHA)
            lit += f"M{LEFT} {top + 6 + i * THIN}H{right}"
    svg += path("x-bar", lit, 6) if lit else ""
    y = top + samples * THIN + 20
    svg += text("", LEFT, y, f"empty: dark, {num(sum(dark) / samples)} on average")

    why = f"saves {num(result['average'])} % on average"
    first = f"the first block survives in {num(result['first'])} % of steps"
    if result["ok"]:
        verdict = f"✓ {why}, and {first}"
    elif not batch:
        verdict = "✗ saves 0 %: in row mode every branch runs for the whole batch"
    elif result["average"] < SAVE:
        verdict = f"✗ {why}, {SAVE} % were asked for"
    else:
        verdict = f"✗ {why}, but {first}, {FIRST} % were asked for"
    summary = (
        f"Mode {s['mode']}, rule {s['rule']}: {num(result['expected'])} of "
        f"{_count(blocks)} survive on average, {num(result['kept_blocks'])} in this "
        f"draw. {result['evaluated']} of {result['cells']} branch evaluations ran, "
        f"{result['thrown_away']} for nothing."
    )
    probabilities = result["survival"]
    detail = (
        f"<p>Survival: <b>{num(probabilities[0])}</b> first, "
        f"<b>{num(probabilities[-1])}</b> last. Expected: "
        f"<b>{num(result['expected'])}</b> of {_count(blocks)}; this draw keeps "
        f"<b>{num(result['kept_blocks'])}</b>.</p>"
        f"<p>Branch evaluations in this draw: <b>{result['evaluated']}</b> of "
        f"{result['cells']} ran, <b>{result['thrown_away']}</b> for nothing: "
        f"<b>{num(result['saved'])} %</b> saved.</p>"
        f"<p>Dark channels at the output: {', '.join(map(str, dark))}.</p>"
    )
    return View(svg, WIDTH, y + 8, result["ok"], verdict, summary, detail)


def _survival(result: dict[str, Any], cell: float) -> str:
    """A step for each block, between 0 and 1."""
    line = ""
    for i, p in enumerate(result["survival"]):
        y = num(62 - 40 * p)
        line += f"{'L' if i else 'M'}{num(LEFT + i * cell)} {y}h{num(cell)}"
    return path("x-wire", line)


def _count(n: int) -> str:
    return f"{n} block" if n == 1 else f"{n} blocks"


SCRIPT = r"""
function draws(seed,n){
var a=seed|0,t,out=[];
while(n--){
a=a+1831565813|0;
t=Math.imul(a^a>>>15,a|1);
t^=t+Math.imul(t^t>>>7,t|61);
out.push(((t^t>>>14)>>>0)/4294967296)}
return out}
function round(v,unit){return Math.floor(v*unit+.5)/unit}
function compute(s){
var n=s.num_blocks,N=s.samples,batch=s.mode=="batch",p=s.drop_prob,i,lost=0,
drops=[],kept=[],widths=[],survivors=0,rows=batch?1:N,u=draws(s.seed,rows*n);
for(i=0;i<n;i++){
drops.push(s.rule=="paper"?p*(i+1)/n:s.rule=="from zero"?p*i/n:
s.rule=="end to end"?p*i/Math.max(1,n-1):p);
lost+=drops[i];
widths.push(Math.floor((32*n+96*(i+1)+n)/(2*n)))}
for(i=0;i<N;i++)kept.push(batch&&i?kept[0]:drops.map(function(q,k){
return u[i*n+k]>=q?"1":"0"}).join(""));
kept.forEach(function(r){survivors+=r.split("1").length-1});
var cells=N*n,evaluated=batch?survivors:cells,
average=batch?round(100*lost/n,100):0,first=round(100*(1-drops[0]),100);
return{settings:s,survival:drops.map(function(q){return round(1-q,1e4)}),
expected:round(n-lost,100),kept:kept,kept_blocks:round(survivors/N,100),
cells:cells,evaluated:evaluated,thrown_away:evaluated-survivors,
saved:round(100*(cells-evaluated)/cells,100),average:average,first:first,
widths:widths,dark:kept.map(function(r){
var k=r.lastIndexOf("1");return widths[n-1]-(k<0?16:widths[k])}),
ok:average>=25&&first>=95}}
function count(n){return n+(n==1?" block":" blocks")}
function view(r,start){
var s=r.settings,n=s.num_blocks,N=s.samples,batch=s.mode=="batch",cell=338/n,
top=94,gap=cell>=8?2:cell>=5?1:.5,ran="",wasted="",lit="",y,total=0,
svg=text("x-soft",36,14,"survival of each block")+rect("x-box",36,20,338,44)+
path("x-wire",r.survival.map(function(p,i){
return(i?"L":"M")+num(36+i*cell)+" "+num(62-40*p)+"h"+num(cell)}).join(""))+
text("x-soft x-end",30,28,"1")+text("x-soft x-end",30,67,"0")+
text("x-soft",36,top-8,"branches, samples × "+count(n))+
rect("x-box",36,top,338,N*12+4);
r.kept.forEach(function(row,y){row.split("").forEach(function(k,i){
var line="M"+num(36+i*cell+gap/2)+" "+(top+8+y*12)+"h"+num(cell-gap);
if(k=="1")ran+=line;else if(!batch)wasted+=line})});
svg+=(ran?path("x-bar",ran,10):"")+(wasted?path("x-bar-bad",wasted,4):"");
y=top+N*12+20;
svg+=text("",36,y,"thick: ran and counted")+
(batch?text("x-ok x-end",374,y,"empty: never ran"):
text("x-bad x-end",374,y,"thin: ran for nothing"));
top=y+28;
svg+=text("x-soft",36,top-8,"the 48 new channels at the output")+
rect("x-box",36,top,338,N*8+4);
r.dark.forEach(function(d,i){total+=d;
if(d<48)lit+="M36 "+(top+6+i*8)+"H"+num(36+338*(48-d)/48)});
svg+=lit?path("x-bar",lit,6):"";
y=top+N*8+20;
svg+=text("",36,y,"empty: dark, "+num(total/N)+" on average");
var why="saves "+num(r.average)+" % on average",
first="the first block survives in "+num(r.first)+" % of steps",
runs="<b>"+r.evaluated+"</b> of "+r.cells+" ran";
return{svg:svg,width:380,height:y+8,ok:r.ok,
verdict:r.ok?"✓ "+why+", and "+first:
!batch?"✗ saves 0 %: in row mode every branch runs for the whole batch":
r.average<25?"✗ "+why+", 25 % were asked for":
"✗ "+why+", but "+first+", 95 % were asked for",
summary:"Mode "+s.mode+", rule "+s.rule+": "+num(r.expected)+" of "+count(n)+
" survive on average, "+num(r.kept_blocks)+" in this draw. "+r.evaluated+" of "+
r.cells+" branch evaluations ran, "+r.thrown_away+" for nothing.",
detail:"<p>Survival: <b>"+num(r.survival[0])+"</b> first, <b>"+
num(r.survival[n-1])+"</b> last. Expected: <b>"+num(r.expected)+"</b> of "+
count(n)+"; this draw keeps <b>"+num(r.kept_blocks)+
"</b>.</p><p>Branch evaluations in this draw: "+runs+", <b>"+r.thrown_away+
"</b> for nothing: <b>"+num(r.saved)+
" %</b> saved.</p><p>Dark channels at the output: "+r.dark.join(", ")+".</p>"}}
"""


def stochastic_grid(
    num_blocks: int = 18,
    mode: str = "row",
    rule: str = "constant",
    drop_prob: float = 0.3,
    samples: int = 8,
    seed: int = 1,
    title: str = "Stochastic-depth grid",
    goal: str = "Save at least 25 % of the branch evaluations on average, and let the "
    "first block survive in at least 95 % of steps.",
) -> Explorer:
    """The figure, opened in row mode with one drop probability for all, or otherwise.

    Args:
        num_blocks, mode, rule, drop_prob, samples, seed: as in `compute`, within the
            ranges of the controls (num_blocks to 54, drop_prob in steps of 0.05,
            samples to 16, seed from 1 to 999).
        title, goal: plain text above the picture.

    Raises:
        TypeError, ValueError: as `compute`, or a value that no control can show.
    """
    first = compute(num_blocks, mode, rule, drop_prob, samples, seed)
    return Explorer(
        name="stochastic_grid",
        title=title,
        goal=goal,
        settings=first["settings"],
        defaults=OPENING,
        controls=CONTROLS,
        compute=compute,
        view=view,
        script=SCRIPT,
    )
