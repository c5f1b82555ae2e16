"""The batch fold: a batch, each example with its own kernel, as one convolution.

N examples of I channels become one example of N * I channels, and the layer a
convolution with N groups, each with the kernel of its example. It opens on a batch of
one, folded channel by channel: wrong, though its output is right and its test green.
Two changes, the fewest, solve it: a larger batch turns the test red, the order by
example mends it.

Everything is a 1x1 convolution to one output channel, in small whole numbers: an
output is a sum of products, compared with that of the loop over the examples. The
numbers are chosen so that an output is right only where the same products are summed
(tests hold that), never because two sums happen to be equal.

What a batch can hide is computed, not told:

- the order by channel: a batch of one or a single channel, and nothing else but
  examples that are all one number. Of equal examples it mixes up the channels. Two
  channels and three examples let the middle one slip through: it reads channel 0 of the
  last and channel 1 of the first, which are its own numbers;
- examples in reverse: equal examples, whatever their kernels;
- kernels in reverse: equal kernels, so equal examples where the kernels are computed
  from them, but not where the kernels are given.

The middle example of an odd batch keeps its place in both reverses.
"""

from __future__ import annotations

from typing import Any

from d2lutils import checks
from d2lutils.explorers.base import (
    Explorer,
    View,
    choice,
    clicked,
    num,
    number,
    part,
    path,
    rect,
    slider,
    text,
)

__all__ = ["batch_fold", "compute", "view"]

NAMES = "ABCD"
# One number for each channel of each example, and one weight for each of its kernel.
SAMPLES = ((6, 1, 7, 3), (5, 2, 1, 6), (1, 3, 4, 7), (7, 1, 5, 4))
KERNELS = ((4, 2, 5, 3), (3, 1, 4, 5), (2, 3, 1, 5), (5, 3, 1, 4))
CONSTANT = 2
MOST = 4  # examples, and channels

ORDERS = {"example": "by example", "channel": "by channel", "reverse": "reversed"}
ALIKE = {"distinct": "different", "equal": "equal", "constant": "one number"}
SOURCES = {"routed": "from routing", "given": "different", "shared": "equal"}
HANDED = {"own": "each its own", "reverse": "reversed"}
MISTAKES = {
    "channel": "an order by channel",
    "reverse": "reversed examples",
    "kernels": "reversed kernels",
}

OPENING: dict[str, Any] = {
    "batch_size": 1,
    "channels": 3,
    "order": "channel",
    "samples": "distinct",
    "kernels": "routed",
    "handed": "own",
    "pin": -1,
}

CONTROLS = (
    number("batch_size", "Batch size", 1, MOST),
    slider("channels", "Channels", 1, MOST),
    choice("order", "Order of the fold", *ORDERS.items()),
    choice("samples", "Examples", *ALIKE.items()),
    choice("kernels", "Kernels", *SOURCES.items()),
    choice("handed", "Kernels handed out", *HANDED.items()),
    clicked("pin", "Channel followed", -1, MOST * MOST - 1),
)


def _fold(order: str, n: int, channels: int) -> list[list[int]]:
    """Example and channel at each position of the folded strip."""
    strip = []
    for p in range(n * channels):
        e, c = divmod(p, channels)
        if order == "channel":
            e, c = p % n, p // n
        strip.append([n - 1 - e if order == "reverse" else e, c])
    return strip


def _outputs(
    x: list[list[int]], kernels: list[list[int]], strip: list[list[int]], hands: range
) -> list[int]:
    """What the groups add up: group g has the kernel of example hands[g]."""
    width = len(kernels[0])
    return [
        sum(
            kernels[hand][i] * x[e][c]
            for i, (e, c) in enumerate(strip[g * width : (g + 1) * width])
        )
        for g, hand in enumerate(hands)
    ]


def compute(
    batch_size: int = 1,
    channels: int = 3,
    order: str = "channel",
    samples: str = "distinct",
    kernels: str = "routed",
    handed: str = "own",
    pin: int = -1,
) -> dict[str, Any]:
    """Fold a batch into the groups of one convolution, and compare with the loop.

    Args:
        batch_size: examples, 1 to 4.
        channels: of each example, 1 to 4.
        order: of the folded channels: "example" (right), "channel" (transposed first),
            "reverse" (by example, the last one first).
        samples: "distinct", "equal", or "constant": equal and all one number.
        kernels: "routed" (computed from the example, so equal for equal examples),
            "given" (all different) or "shared" (all equal).
        handed: which kernel a group gets: its "own", or in "reverse".
        pin: a position of the strip to follow; -1, or one beyond the last, for none.

    Returns:
        A dict that JSON can hold:

        - "settings": the arguments;
        - "x", "kernels": a row of numbers for each example;
        - "strip": [example, channel] at each position; "hands": the example whose
          kernel each group has; "fits": at each position, whether the weight there is
          meant for that channel of that example;
        - "outputs", "loop": what comes out and what should, "right": where they agree,
          "wrong": where not, counted; "lucky": the groups that are right although they
          do not add up what the loop does;
        - "shows": outputs that each single mistake would change on this batch;
        - "mended": whether there is no mistake in the settings;
        - "pin": None, or of the position followed the "position", "example",
          "channel", the "kernel" (an example) that reads it and "as" (a channel);
        - "ok": whether the fold is mended and the batch would show every mistake.

    Raises:
        TypeError, ValueError: a bad argument, named.
    """
    owner = "batch_fold"
    n = checks.integer(owner, "batch_size", batch_size)
    checks.number(owner, "batch_size", n, 1, MOST)
    width = checks.integer(owner, "channels", channels)
    checks.number(owner, "channels", width, 1, MOST)
    checks.choice(owner, "order", order, tuple(ORDERS))
    checks.choice(owner, "samples", samples, tuple(ALIKE))
    checks.choice(owner, "kernels", kernels, tuple(SOURCES))
    checks.choice(owner, "handed", handed, tuple(HANDED))
    pin = checks.integer(owner, "pin", pin)
    if pin < -1:
        raise ValueError(f"{owner}: pin must be at least -1, got {pin}")

    equal = samples != "distinct"
    alike = kernels == "shared" or (kernels == "routed" and equal)
    rows = [list(SAMPLES[0 if equal else e][:width]) for e in range(n)]
    if samples == "constant":
        rows = [[CONSTANT] * width] * n
    weights = [list(KERNELS[0 if alike else e][:width]) for e in range(n)]
    own, back = range(n), range(n - 1, -1, -1)
    hands = own if handed == "own" else back
    strip = _fold(order, n, width)
    outputs = _outputs(rows, weights, strip, hands)
    loop = _outputs(rows, weights, _fold("example", n, width), own)

    def changed(order: str, hands: range) -> int:
        other = _outputs(rows, weights, _fold(order, n, width), hands)
        return sum(a != b for a, b in zip(other, loop, strict=True))

    right = [a == b for a, b in zip(outputs, loop, strict=True)]
    shows = {
        "channel": changed("channel", own),
        "reverse": changed("reverse", own),
        "kernels": changed("example", back),
    }
    lucky = [
        g
        for g, hand in enumerate(hands)
        if right[g]
        and (hand, strip[g * width : (g + 1) * width])
        != (g, [[g, i] for i in range(width)])
    ]
    mended = order == "example" and handed == "own"
    followed = None
    if 0 <= pin < n * width:
        g, i = divmod(pin, width)
        followed = {
            "position": pin,
            "example": strip[pin][0],
            "channel": strip[pin][1],
            "kernel": hands[g],
            "as": i,
        }
    return {
        "settings": {
            "batch_size": n,
            "channels": width,
            "order": order,
            "samples": samples,
            "kernels": kernels,
            "handed": handed,
            "pin": pin,
        },
        "x": rows,
        "kernels": weights,
        "strip": strip,
        "hands": list(hands),
        "fits": [at == [hands[p // width], p % width] for p, at in enumerate(strip)],
        "outputs": outputs,
        "loop": loop,
        "right": right,
        "wrong": right.count(False),
        "lucky": lucky,
        "shows": shows,
        "mended": mended,
        "pin": followed,
        "ok": mended and all(shows.values()),
    }


# The picture. All rows have the same columns, so that channels, their weights and the
# outputs stand below each other.
WIDTH, HEIGHT, LEFT, SPAN, CELL = 400, 312, 56, 340, 36
BATCH, STRIP, WEIGHTS, SUMS = 24, 100, 162, 216  # top of each row
# A colour for each example. Where light-dark() is not known, the letters have to do.
_FILLS = (
    ("#bfdbfa", "#1d4b7a"),
    ("#fbdcab", "#6d4a10"),
    ("#e4ccf5", "#593483"),
    ("#bfe3e4", "#175c60"),
)
STYLE = "".join(
    f".d2x .x-e{i}{{stroke:var(--edge);fill:var(--panel);"
    f"fill:light-dark({light},{dark})}}"
    for i, (light, dark) in enumerate(_FILLS)
)


def view(result: dict[str, Any], start: dict[str, Any]) -> View:
    """The strips, the kernels, the outputs, the verdict, the sums and the calls."""
    s, strip, pin = result["settings"], result["strip"], result["pin"]
    n, width, wrong = s["batch_size"], s["channels"], result["wrong"]
    w = min(56, SPAN / (n * width))
    total = n * width

    def x(p: float) -> float:
        return LEFT + p * w

    def cell(p: int, y: int, e: int, c: int, value: str) -> str:
        """Channel `c` of example `e` in column `p`."""
        left = x(p) + (0.5 if p % width else 2)
        right = x(p + 1) - (0.5 if (p + 1) % width else 2)
        svg = rect(f"x-e{e}", left, y, right - left, CELL, 3)
        svg += text("x-mid", (left + right) / 2, y + 15, f"{NAMES[e]}{c}")
        return svg + text("x-mid", (left + right) / 2, y + 31, value)

    def label(y: int, first: str, second: str) -> str:
        return text("", 4, y + 15, first) + text("x-soft", 4, y + 31, second)

    svg = f"<style>{STYLE}</style>"
    shape = f"({n}, {width}, H, W) → (1, {total}, H, W), groups={n}"
    svg += text("x-bold", 4, 14, shape)
    svg += label(BATCH, "batch", f"of {n}") + label(STRIP, "folded", "into 1")
    svg += label(WEIGHTS, "groups", "kernels") + label(SUMS, "outputs", "loop's")
    wires = brackets = good = bad = sums = ""
    cells = parts = ""
    for p, (e, c) in enumerate(strip):
        g, i = divmod(p, width)
        hand, at = result["hands"][g], num(x(p + 0.5))
        cells += cell(p, BATCH, g, i, str(result["x"][g][i]))
        wires += f"M{num(x(e * width + c + 0.5))} {BATCH + CELL}L{at} {STRIP}"
        on = pin is not None and pin["position"] == p
        body = cell(p, STRIP, e, c, str(result["x"][e][c]))
        # With the words that stand in it, or what is heard is not what is seen.
        name = f"{NAMES[e]}{c} {result['x'][e][c]}, position {p}"
        parts += part("pin", -1 if on else p, name, on, body)
        cells += cell(p, WEIGHTS, hand, i, f"×{result['kernels'][hand][i]}")
        if result["fits"][p]:
            good += f"M{at} {WEIGHTS - 15}v12"
        else:
            bad += f"M{num(x(p + 0.5) - 4)} {WEIGHTS - 13}l8 8m0 -8l-8 8"
    for g, right in enumerate(result["right"]):
        left, end = x(g * width) + 2, x((g + 1) * width) - 2
        middle = (left + end) / 2
        brackets += f"M{num(left)} {STRIP + CELL + 2}v6H{num(end)}v-6"
        brackets += f"M{num(middle)} {WEIGHTS + CELL + 1}v15m-4 -5l4 5l4 -5"
        sums += rect("x-right" if right else "x-wrong", left, SUMS, end - left, CELL, 3)
        words = f"{result['outputs'][g]} {'✓' if right else '✗'}"
        style = f"x-bold x-mid {'x-ok' if right else 'x-bad'}"
        sums += text(style, middle, SUMS + 15, words)
        sums += text("x-mid", middle, SUMS + 31, f"{NAMES[g]}: {result['loop'][g]}")
    svg += path("x-bar", wires, 1.5) + path("x-wire", brackets)
    svg += (path("x-wire-ok", good) if good else "") + (
        path("x-wire-bad", bad) if bad else ""
    )
    svg += cells + sums + parts
    if pin is not None:
        p, q = pin["position"], pin["example"] * width + pin["channel"]
        frame = f"h{num(w)}v{CELL + 2}h{num(-w)}z"
        d = "".join(
            f"M{num(x(column))} {y - 1}{frame}"
            for column, y in ((q, BATCH), (p, STRIP), (p, WEIGHTS))
        )
        d += f"M{num(x(q + 0.5))} {BATCH + CELL + 1}L{num(x(p + 0.5))} {STRIP - 1}"
        svg += path("x-bar-pin", d, 2.5)

    test = f"{n - wrong} of {_count(n, 'output')} as in the loop"
    svg += rect("x-wrong" if wrong else "x-right", 4, 260, 392, 26, 5)
    words = f"✗ the test fails: {test}" if wrong else f"✓ the test passes: {test}"
    svg += text("x-bad" if wrong else "x-ok", 12, 278, words)
    hint = "click a folded channel: whose is it, and who reads it?"
    followed = ""
    if pin is not None:
        here = f"{NAMES[pin['example']]}{pin['channel']}"
        read = f"{NAMES[pin['kernel']]}{pin['as']}"
        followed = f"position {pin['position']} is {here}; kernel "
        followed += f"{NAMES[pin['kernel']]} " + (
            "reads it as such ✓" if here == read else f"takes it for {read} ✗"
        )
    svg += text("" if followed else "x-soft", 4, 305, followed or hint)

    hidden = [words for name, words in MISTAKES.items() if not result["shows"][name]]
    if result["ok"]:
        verdict = f"✓ mended: {test}, and this batch would show every mistake"
    elif result["mended"]:
        verdict = f"✗ mended, but this batch would hide {_listed(hidden)}"
    elif wrong:
        verdict = f"✗ exposed: {wrong} of {n} outputs wrong. Now mend the fold"
    else:
        verdict = "✗ nobody notices: the test passes, and the fold is wrong"
    order = " ".join(f"{NAMES[e]}{c}" for e, c in strip)
    hands = ", ".join(NAMES[e] for e in result["hands"])
    outputs, loop = (", ".join(map(str, result[key])) for key in ("outputs", "loop"))
    summary = f"Folded: {order}. Kernels: {hands}. Outputs: {outputs}; "
    summary += f"the loop's: {loop}."
    if followed:
        summary += f" Followed: {followed}."
    detail = _detail(result, start)
    return View(svg, WIDTH, HEIGHT, result["ok"], verdict, summary, detail)


def _listed(words: list[str]) -> str:
    return " and ".join(", ".join(words).rsplit(", ", 1))


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _detail(result: dict[str, Any], start: dict[str, Any]) -> str:
    """The sums, what the batch would show, and the calls."""
    s, strip, n = result["settings"], result["strip"], len(result["loop"])
    width = s["channels"]
    lines = []
    for g, hand in enumerate(result["hands"]):
        terms = " + ".join(
            f"{result['kernels'][hand][i]}·{result['x'][e][c]}"
            for i, (e, c) in enumerate(strip[g * width : (g + 1) * width])
        )
        got, want = result["outputs"][g], result["loop"][g]
        end = "✓" if got == want else f"✗ the loop's is {want}"
        lines.append(f"{NAMES[g]}: {terms} = {got} {end}")
    shows = ", ".join(
        f"{words} <b>{result['shows'][name]}</b>" for name, words in MISTAKES.items()
    )
    sums = "\n".join(lines)
    detail = f"<code>{sums}</code>"
    if result["lucky"]:
        lucky = _listed([NAMES[g] for g in result["lucky"]])
        detail += f"<p>Right only because the numbers are the same: {lucky}.</p>"
    detail += f"<p>Of {_count(n, 'output')} a single mistake would make wrong on this "
    detail += f"batch: {shows}.</p>"
    if s["samples"] != "distinct" and s["kernels"] == "routed":
        detail += "<p>Equal examples get the same routing, so equal kernels.</p>"

    def mark(word: object, *names: str) -> str:
        new = any(s[name] != start[name] for name in names)
        return f"<mark>{word}</mark>" if new else str(word)

    total = mark(n * width, "batch_size", "channels")
    groups, wide = mark(n, "batch_size"), mark(width, "channels")
    orders = {"example": "", "channel": ".transpose(0, 1)", "reverse": ".flip(0)"}
    back = {"own": "", "reverse": ".flip(0)"}
    x = mark("x" + orders[s["order"]], "order")
    k = mark("kernels" + back[s["handed"]], "handed")
    detail += (
        f"PyTorch<code>strip = {x}.reshape(1, {total}, H, W)\n"
        f"y = F.conv2d(strip, {k}.flatten(0, 1), groups={groups})</code>"
    )
    x = mark("x" + orders[s["order"]].replace("transpose", "swapaxes"), "order")
    k = mark("kernels" + back[s["handed"]], "handed")
    x, k = x.replace("flip(", "flip(axis="), k.replace("flip(", "flip(axis=")
    return detail + (
        f"Gluon<code>strip = {x}.reshape((1, {total}, H, W))\n"
        f"y = mx.nd.Convolution(strip, {k}.reshape((-1, {wide}, 1, 1)),\n"
        f"    kernel=(1, 1), num_filter={groups}, num_group={groups}, "
        "no_bias=True)</code>"
    )


SCRIPT = r"""
var NAMES="ABCD",X=[[6,1,7,3],[5,2,1,6],[1,3,4,7],[7,1,5,4]],
K=[[4,2,5,3],[3,1,4,5],[2,3,1,5],[5,3,1,4]],
MISTAKES={channel:"an order by channel",reverse:"reversed examples",
kernels:"reversed kernels"};
function range(n,f){var out=[],i;for(i=0;i<n;i++)out.push(f(i));return out}
function compute(s){
var n=s.batch_size,I=s.channels,equal=s.samples!="distinct",
alike=s.kernels=="shared"||s.kernels=="routed"&&equal,
x=range(n,function(e){return X[equal?0:e].slice(0,I).map(function(v){
return s.samples=="constant"?2:v})}),
k=range(n,function(e){return K[alike?0:e].slice(0,I)}),
own=range(n,Number),back=own.slice().reverse(),hands=s.handed=="own"?own:back;
function fold(order){return range(n*I,function(p){
var e=Math.floor(p/I),c=p%I;
if(order=="channel"){e=p%n;c=Math.floor(p/n)}
return[order=="reverse"?n-1-e:e,c]})}
function outputs(order,hands){
var strip=fold(order);
return hands.map(function(h,g){
return range(I,function(i){var at=strip[g*I+i];return k[h][i]*x[at[0]][at[1]]})
.reduce(function(a,b){return a+b})})}
var strip=fold(s.order),out=outputs(s.order,hands),loop=outputs("example",own);
function changed(order,hands){return outputs(order,hands).filter(function(v,g){
return v!=loop[g]}).length}
var shows={channel:changed("channel",own),reverse:changed("reverse",own),
kernels:changed("example",back)},
mended=s.order=="example"&&s.handed=="own",p=s.pin;
return{settings:s,x:x,kernels:k,strip:strip,hands:hands,
fits:strip.map(function(at,p){
return at[0]==hands[Math.floor(p/I)]&&at[1]==p%I}),
outputs:out,loop:loop,right:out.map(function(v,g){return v==loop[g]}),
wrong:changed(s.order,hands),
lucky:own.filter(function(g){return out[g]==loop[g]&&
(hands[g]!=g||strip.slice(g*I,g*I+I).some(function(at,i){
return at[0]!=g||at[1]!=i}))}),shows:shows,mended:mended,
pin:p>=0&&p<n*I?{position:p,example:strip[p][0],channel:strip[p][1],
kernel:hands[Math.floor(p/I)],as:p%I}:null,
ok:mended&&!!(shows.channel&&shows.reverse&&shows.kernels)}}

function count(n){return n+(n==1?" output":" outputs")}
function listed(all){
return all.length>1?all.slice(0,-1).join(", ")+" and "+all[all.length-1]:all[0]}
function view(r,start){
var s=r.settings,n=s.batch_size,I=s.channels,pin=r.pin,total=n*I,
w=Math.min(56,340/total),wires="",brackets="",good="",bad="",sums="",cells="",
parts="",followed="",d,q,at,read,
svg="<style>"+["#bfdbfa,#1d4b7a","#fbdcab,#6d4a10","#e4ccf5,#593483",
"#bfe3e4,#175c60"].map(function(c,i){
return".d2x .x-e"+i+"{stroke:var(--edge);fill:var(--panel);fill:light-dark("+c+")}"
}).join("")+"</style>"+
text("x-bold",4,14,"("+n+", "+I+", H, W) → (1, "+total+", H, W), groups="+n)+
label(24,"batch","of "+n)+label(100,"folded","into 1")+
label(162,"groups","kernels")+label(216,"outputs","loop's");
function label(y,a,b){return text("",4,y+15,a)+text("x-soft",4,y+31,b)}
function x(p){return 56+p*w}
function cell(p,y,e,c,v){
var a=x(p)+(p%I?.5:2),b=x(p+1)-((p+1)%I?.5:2);
return rect("x-e"+e,a,y,b-a,36,3)+text("x-mid",(a+b)/2,y+15,NAMES[e]+c)+
text("x-mid",(a+b)/2,y+31,v)}
r.strip.forEach(function(z,p){
var e=z[0],c=z[1],i=p%I,g=(p-i)/I,h=r.hands[g],m=num(x(p+.5)),
on=pin!==null&&pin.position==p;
cells+=cell(p,24,g,i,r.x[g][i]);
wires+="M"+num(x(e*I+c+.5))+" 60L"+m+" 100";
parts+=part("pin",on?-1:p,NAMES[e]+c+" "+r.x[e][c]+", position "+p,on,
cell(p,100,e,c,r.x[e][c]));
cells+=cell(p,162,h,i,"×"+r.kernels[h][i]);
if(r.fits[p])good+="M"+m+" 147v12";
else bad+="M"+num(x(p+.5)-4)+" 149l8 8m0 -8l-8 8"});
r.right.forEach(function(ok,g){
var a=x(g*I)+2,b=x((g+1)*I)-2,m=(a+b)/2;
brackets+="M"+num(a)+" 138v6H"+num(b)+"v-6M"+num(m)+" 199v15m-4 -5l4 5l4 -5";
sums+=rect(ok?"x-right":"x-wrong",a,216,b-a,36,3)+
text("x-bold x-mid "+(ok?"x-ok":"x-bad"),m,231,r.outputs[g]+(ok?" ✓":" ✗"))+
text("x-mid",m,247,NAMES[g]+": "+r.loop[g])});
svg+=path("x-bar",wires,1.5)+path("x-wire",brackets)+
(good?path("x-wire-ok",good):"")+(bad?path("x-wire-bad",bad):"")+cells+sums+parts;
if(pin){
q=pin.example*I+pin.channel;
d=[[q,24],[pin.position,100],[pin.position,162]].map(function(z){
return"M"+num(x(z[0]))+" "+(z[1]-1)+"h"+num(w)+"v38h"+num(-w)+"z"}).join("");
svg+=path("x-bar-pin",d+"M"+num(x(q+.5))+" 61L"+num(x(pin.position+.5))+" 99",2.5);
at=NAMES[pin.example]+pin.channel;
read=NAMES[pin.kernel]+pin.as;
followed="position "+pin.position+" is "+at+"; kernel "+NAMES[pin.kernel]+
(at==read?" reads it as such ✓":" takes it for "+read+" ✗")}
var wrong=r.wrong,test=n-wrong+" of "+count(n)+" as in the loop",
hidden=Object.keys(MISTAKES).filter(function(k){
return!r.shows[k]}).map(function(k){return MISTAKES[k]});
svg+=rect(wrong?"x-wrong":"x-right",4,260,392,26,5)+
text(wrong?"x-bad":"x-ok",12,278,
(wrong?"✗ the test fails: ":"✓ the test passes: ")+test)+
text(followed?"":"x-soft",4,305,
followed||"click a folded channel: whose is it, and who reads it?");
return{svg:svg,width:400,height:312,ok:r.ok,
verdict:r.ok?"✓ mended: "+test+", and this batch would show every mistake":
r.mended?"✗ mended, but this batch would hide "+listed(hidden):
wrong?"✗ exposed: "+wrong+" of "+n+" outputs wrong. Now mend the fold":
"✗ nobody notices: the test passes, and the fold is wrong",
summary:"Folded: "+r.strip.map(function(z){return NAMES[z[0]]+z[1]}).join(" ")+
". Kernels: "+r.hands.map(function(e){return NAMES[e]}).join(", ")+
". Outputs: "+r.outputs.join(", ")+"; the loop's: "+r.loop.join(", ")+"."+
(followed?" Followed: "+followed+".":""),
detail:detailOf(r,start)}}
function detailOf(r,start){
var s=r.settings,n=s.batch_size,I=s.channels;
function mark(t,a,b){
return s[a]!==start[a]||b&&s[b]!==start[b]?"<mark>"+t+"</mark>":t}
var total=mark(n*I,"batch_size","channels"),groups=mark(n,"batch_size"),
move={example:"",channel:".transpose(0, 1)",reverse:".flip(0)"}[s.order],
back=s.handed=="own"?"":".flip(0)",
gluon=function(t){return t.replace("transpose","swapaxes").replace("p(","p(axis=")};
return"<code>"+r.hands.map(function(h,g){
return NAMES[g]+": "+range(I,function(i){
var at=r.strip[g*I+i];
return r.kernels[h][i]+"·"+r.x[at[0]][at[1]]}).join(" + ")+" = "+r.outputs[g]+
(r.right[g]?" ✓":" ✗ the loop's is "+r.loop[g])}).join("\n")+
"</code>"+(r.lucky[0]>=0?"<p>Right only because the numbers are the same: "+
listed(r.lucky.map(function(g){return NAMES[g]}))+".</p>":"")+
"<p>Of "+count(n)+" a single mistake would make wrong on this batch: "+
Object.keys(MISTAKES).map(function(k){
return MISTAKES[k]+" <b>"+r.shows[k]+"</b>"}).join(", ")+".</p>"+
(s.samples!="distinct"&&s.kernels=="routed"?
"<p>Equal examples get the same routing, so equal kernels.</p>":"")+
"PyTorch<code>strip = "+mark("x"+move,"order")+".reshape(1, "+total+
", H, W)\ny = F.conv2d(strip, "+mark("kernels"+back,"handed")+
".flatten(0, 1), groups="+groups+")</code>Gluon<code>strip = "+
mark("x"+gluon(move),"order")+".reshape((1, "+total+
", H, W))\ny = mx.nd.Convolution(strip, "+mark("kernels"+gluon(back),"handed")+
".reshape((-1, "+mark(I,"channels")+", 1, 1)),\n    kernel=(1, 1), num_filter="+groups+
", num_group="+groups+", no_bias=True)</code>"}
"""


def batch_fold(
    batch_size: int = 1,
    channels: int = 3,
    order: str = "channel",
    samples: str = "distinct",
    kernels: str = "routed",
    handed: str = "own",
    pin: int = -1,
    title: str = "Batch fold",
    goal: str = (
        "This fold is wrong, and its test is green. Find a batch that turns the test "
        "red, then mend the fold."
    ),
) -> Explorer:
    """The figure, opened on a batch of one in the wrong order or on other settings.

    Args:
        batch_size, channels, order, samples, kernels, handed, pin: as in `compute`;
            pin to 15.
        title, goal: plain text above the picture.

    Raises:
        TypeError, ValueError: as `compute`, or a pin that no control can show.
    """
    first = compute(batch_size, channels, order, samples, kernels, handed, pin)
    return Explorer(
        name="batch_fold",
        title=title,
        goal=goal,
        settings=first["settings"],
        defaults=OPENING,
        controls=CONTROLS,
        compute=compute,
        view=view,
        script=SCRIPT,
    )
