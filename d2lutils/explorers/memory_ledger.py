"""The memory ledger: which bytes one training step of NiN takes, and which it does not.

It opens on NiN at 224 with Adam and 64 images: red, 499.02 MiB. In-place ReLU does not
move the bar. Half precision does not halve it, since the places of the maxima stay 8
bytes each in PyTorch. 32 images just miss the goal with Adam and with momentum, but fit
with plain SGD, or in Gluon, whose places are 4 bytes.

The numbers are those of `d2lutils.ledger`, in plain arithmetic from the chain of
layers; a test holds both equal.
"""

from __future__ import annotations

import json
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
    switch,
    text,
)

__all__ = ["compute", "memory_ledger", "view"]

# A block: kernel size, stride, padding and the widths of its convolutions, a ReLU after
# each. A pooling: 3x3 with stride 2, whether it rounds up. Then the mean of each map.
NETS: dict[str, dict[str, Any]] = {
    "nin": {
        "label": "NiN",
        "channels": 1,
        "smallest": 67,
        "plan": [
            ["block", 11, 4, 0, 96, 96, 96],
            ["max", 0],
            ["block", 5, 1, 2, 256, 256, 256],
            ["max", 0],
            ["block", 3, 1, 1, 384, 384, 384],
            ["max", 0],
            ["dropout"],
            ["block", 3, 1, 1, 10, 10, 10],
        ],
    },
    "cifar": {
        "label": "NiN for CIFAR",
        "channels": 3,
        "smallest": 6,
        "plan": [
            ["block", 5, 1, 2, 192, 160, 96],
            ["max", 1],
            ["dropout"],
            ["block", 5, 1, 2, 192, 192, 192],
            ["avg", 1],
            ["dropout"],
            ["block", 3, 1, 1, 192, 192, 10],
        ],
    },
    "small": {
        "label": "nin_small",
        "channels": 1,
        "smallest": 15,
        "plan": [
            ["block", 3, 1, 1, 24, 24, 24],
            ["max", 0],
            ["block", 5, 1, 2, 48, 48, 48],
            ["max", 0],
            ["block", 3, 1, 1, 64, 64, 64],
            ["max", 0],
            ["dropout"],
            ["logits", 3, 1, 1, 64, 64, 10],
        ],
    },
}
ITEMS = {"float32": 4, "float16": 2, "float64": 8}
STATES = {"sgd": 0, "momentum": 1, "adam": 2}
PLACES = {"pytorch": 8, "gluon": 4}  # bytes of the place of a maximum
MODES = ("training", "inference")
IMAGES, LIMIT = 32, 256 * 2**20  # the goal

# Name and how it is drawn: class and dashes of a thick line.
PARTS = {
    "parameters": ("x-bar-pin", ""),
    "gradients": ("x-bar-pin", "3 1"),
    "state": ("x-bar-pin", "1 2"),
    "input": ("x-bar", "2 1"),
    "activations": ("x-bar", ""),
    "indices": ("x-bar-bad", ""),
    "masks": ("x-bar-bad", "2 1"),
    "live": ("x-bar", ""),
}
WORDS = {"state": "optimiser's state", "indices": "places of maxima"}
WORDS |= {"masks": "dropout masks", "live": "largest live set"}

OPENING: dict[str, Any] = {
    "net": "nin",
    "framework": "pytorch",
    "batch_size": 64,
    "size": 224,
    "optimizer": "adam",
    "dtype": "float32",
    "inplace": False,
    "dropout": True,
    "mode": "training",
}

CONTROLS = (
    slider("size", "Image size", 28, 256),
    number("batch_size", "Batch size", 1, 256),
    choice("net", "Net", *((name, net["label"]) for name, net in NETS.items())),
    choice(
        "framework", "Framework", ("pytorch", "PyTorch"), ("gluon", "Gluon (MXNet)")
    ),
    choice(
        "optimizer",
        "Optimiser",
        ("sgd", "SGD"),
        ("momentum", "SGD, momentum"),
        ("adam", "Adam"),
    ),
    choice("dtype", "Numbers", *((name, name) for name in ITEMS)),
    choice("mode", "Mode", *((name, name) for name in MODES)),
    switch("inplace", "In-place ReLU"),
    switch("dropout", "Dropout"),
)


def compute(
    net: str = "nin",
    framework: str = "pytorch",
    batch_size: int = 64,
    size: int = 224,
    optimizer: str = "adam",
    dtype: str = "float32",
    inplace: bool = False,
    dropout: bool = True,
    mode: str = "training",
) -> dict[str, Any]:
    """Bytes of one training step and of inference, as `d2lutils.ledger` counts them.

    Args:
        net: "nin" and "small" for images of one channel, "cifar" for three.
        framework: "pytorch" or "gluon".
        batch_size: images; size: their height and width.
        optimizer: "sgd", "momentum" or "adam".
        dtype: "float32", "float16" or "float64", for parameters and activations alike.
        inplace: whether ReLUs work in place (PyTorch only).
        dropout: whether there is any, else its share is 0.
        mode: "training" or "inference": what the figure shows.

    Returns:
        A dict that JSON can hold:

        - "settings": the arguments;
        - "error": why there is no such net, else "", and then no more keys than "ok";
        - "parts": bytes of a training step after its forward pass, by name;
        - "training", "inference": their sum, and parameters with the largest live set;
        - "rows": what training keeps of the input and of each layer: "group", "name",
          "activations", "indices", "masks";
        - "ops": what each operation of inference needs at the same time: "group",
          "name", "input", "maps", "indices"; "largest": the first of the largest;
        - "crossover": the smallest batch whose kept bytes exceed all that has the size
          of the parameters; "fixed" and "example": the bytes of the latter, and those
          that one image adds;
        - "spared": what in-place ReLU takes off, by mode;
        - "ok": whether a training step of NiN on at least 32 images fits into 256 MiB.

    Raises:
        TypeError, ValueError: a bad argument, named. An image too small for the net is
            no error here, but a result.
    """
    owner = "memory_ledger"
    s = {
        "net": checks.choice(owner, "net", net, tuple(NETS)),
        "framework": checks.choice(owner, "framework", framework, tuple(PLACES)),
        "batch_size": checks.positive(owner, "batch_size", batch_size),
        "size": checks.positive(owner, "size", size),
        "optimizer": checks.choice(owner, "optimizer", optimizer, tuple(STATES)),
        "dtype": checks.choice(owner, "dtype", dtype, tuple(ITEMS)),
        "inplace": checks.boolean(owner, "inplace", inplace),
        "dropout": checks.boolean(owner, "dropout", dropout),
        "mode": checks.choice(owner, "mode", mode, MODES),
    }
    chain = NETS[net]
    if size < chain["smallest"]:
        error = (
            f"{chain['label']} needs at least {chain['smallest']} pixels, not {size}"
        )
        return {"settings": s, "error": error, "ok": False}
    torch = framework == "pytorch"
    plain, reused = _walk(s, False), _walk(s, torch)
    now = reused if inplace else plain
    fixed = now["parameters"] * (2 + STATES[optimizer])
    parts = {
        "parameters": now["parameters"],
        "gradients": now["parameters"],
        "state": now["parameters"] * STATES[optimizer],
        "input": now["rows"][0]["activations"],
    }
    for name in ("activations", "indices", "masks"):
        parts[name] = sum(row[name] for row in now["rows"][1:])
    training = sum(parts.values())
    example = (training - fixed) // batch_size
    fits = mode == "training" and batch_size >= IMAGES and training <= LIMIT
    return {
        "settings": s,
        "error": "",
        "parts": parts,
        "training": training,
        "inference": now["parameters"] + now["live"],
        "rows": now["rows"],
        "ops": now["ops"],
        "largest": now["largest"],
        "crossover": fixed // example + 1,
        "fixed": fixed,
        "example": example,
        "spared": {
            "training": plain["kept"] - reused["kept"],
            "inference": plain["live"] - reused["live"],
        },
        "ok": net == "nin" and fits,
    }


def _walk(s: dict[str, Any], inplace: bool) -> dict[str, Any]:
    """Through the net layer by layer; each tensor is kept at most once."""
    chain, torch = NETS[s["net"]], s["framework"] == "pytorch"
    item, batch, n = ITEMS[s["dtype"]], s["batch_size"], s["size"]
    channels, parameters, places = chain["channels"], 0, PLACES[s["framework"]]
    rows: list[dict[str, Any]] = []
    ops: list[dict[str, Any]] = []
    tensors: list[dict[str, Any]] = []
    now: dict[str, Any] = {}

    def layer(
        group: str,
        name: str,
        input_kept: bool,
        output_kept: bool,
        same: bool = False,
        indices: int = 0,
        mask: int = 0,
        runs: bool = True,
    ) -> None:
        """One more layer: its output, what backward needs, what inference needs."""
        nonlocal now
        count = item * batch * channels * n * n
        if input_kept:
            now["kept"] = True
        read = 0 if now is tensors[0] else now["bytes"]
        if not same:
            now = {"bytes": count, "kept": False}
            tensors.append(now)
        elif output_kept:  # in place: the row of who keeps it
            now["row"] = len(rows)
        now.setdefault("row", len(rows))
        if output_kept:
            now["kept"] = True
        wide = batch * channels * n * n
        rows.append(
            {
                "group": group,
                "name": name,
                "activations": 0,
                "indices": indices * wide,
                "masks": mask * wide,
            }
        )
        if runs:
            maps = read if same else read + count
            idle = tensors[0]["bytes"]
            held = {"input": idle, "maps": maps, "indices": 0}
            held["indices"] = indices * wide if torch else 0
            ops.append({"group": group, "name": name} | held)

    now = {"bytes": item * batch * channels * n * n, "kept": False, "row": 0}
    tensors.append(now)
    rows.append({"group": "in", "name": "input", "activations": 0})
    rows[0] |= {"indices": 0, "masks": 0}
    numbers = {"block": 0, "p": 0, "d": 0}
    for kind, *arguments in chain["plan"]:
        if kind in ("block", "logits"):
            numbers["block"] += 1
            group = f"block {numbers['block']}"
            k, stride, padding, *widths = arguments
            for i, width in enumerate(widths):
                n = (n + 2 * padding - k) // stride + 1
                parameters += item * width * (channels * k * k + 1)
                channels, k, stride, padding = width, 1, 1, 0
                layer(group, f"{group}, convolution {i + 1}", True, False)
                if kind == "logits" and i == len(widths) - 1:
                    break  # no ReLU after the last
                layer(group, f"{group}, ReLU {i + 1}", False, True, inplace)
        elif kind == "dropout":
            numbers["d"] += 1
            mask = item if s["dropout"] else 0
            # PyTorch returns its very input at share 0, Gluon a copy.
            same = torch and not s["dropout"]
            name = f"dropout {numbers['d']}"
            layer("d", name, False, False, same, 0, mask, runs=False)
        else:
            numbers["p"] += 1
            n = (n - 3 + arguments[0]) // 2 + 1
            indices = places if kind == "max" else 0
            name = f"pooling {numbers['p']}"
            layer("p", name, True, not torch, False, indices)
    n = 1
    layer("m", "mean", not torch, not torch)
    for tensor in tensors:
        if tensor["kept"]:
            rows[tensor["row"]]["activations"] += tensor["bytes"]
    needs = [op["input"] + op["maps"] + op["indices"] for op in ops]
    rows = [row for row in rows if row["activations"] + row["indices"] + row["masks"]]
    return {
        "parameters": parameters,
        "rows": rows,
        "ops": ops,
        "kept": sum(r["activations"] + r["indices"] + r["masks"] for r in rows),
        "live": max(needs),
        "largest": needs.index(max(needs)),
    }


def _commas(n: int) -> str:
    return f"{n:,}"


def _mib(n: int) -> str:
    """Bytes in MiB, two decimals, rounded half up."""
    hundredths = (100 * n + 2**19) // 2**20
    return f"{_commas(hundredths // 100)}.{hundredths % 100:02d} MiB"


# The picture: the bar, its parts with their bytes, the batch sizes, and a column for
# each layer.
WIDTH, LEFT, SPAN, ROW, TALL = 380, 6, 368, 17, 62


def _stack(parts: list[tuple[str, int]], scale: float) -> str:
    """The bar: parts one after another."""
    svg, x = rect("x-box", LEFT, 22, SPAN, 22), float(LEFT)
    for name, count in parts:
        if count:
            style, dash = PARTS[name]
            svg += path(style, f"M{num(x)} 33h{num(count * scale)}", 18, dash)
        x += count * scale
    return svg


def _table(parts: list[tuple[str, int]], total: int) -> str:
    """A line for each part: how it is drawn, its name, its bytes."""
    svg, y = text("x-soft x-end", 374, 78, "bytes"), 95
    for name, count in parts:
        style, dash = PARTS[name]
        svg += path(style, f"M{LEFT} {y - 4}h16", 10, dash)
        svg += text("", 28, y, WORDS.get(name, name))
        svg += text("x-end", 246, y, _mib(count))
        svg += text("x-soft x-end", 374, y, _commas(count))
        y += ROW
    svg += text("x-bold", 28, y, "together") + text("x-bold x-end", 246, y, _mib(total))
    return svg + text("x-bold x-end", 374, y, _commas(total))


def _at(batch: int) -> float:
    """Where a batch size stands: evenly from one power of two to the next."""
    k = 0
    while 2 ** (k + 1) <= batch:
        k += 1
    return 20 + 42.5 * (k + batch / 2**k - 1)


def _batches(result: dict[str, Any], y: int) -> str:
    """The batch sizes with the crossover and the batch of now."""
    batch, crossover = result["settings"]["batch_size"], result["crossover"]
    here, there = _at(batch), _at(crossover)
    svg = text("x-bold", LEFT, y, "batch size")
    words = f"crossover {crossover}"
    svg += text(
        "x-end" if there > 240 else "",
        there - 4 if there > 240 else there + 4,
        y + 19,
        words,
    )
    svg += path("x-bar-pin", f"M20 {y + 32}H{num(there)}", 8)
    svg += path("x-bar", f"M{num(there)} {y + 32}H360", 8)
    svg += path("x-wire", f"M{num(there)} {y + 8}V{y + 38}")
    for k in range(9):
        svg += text("x-soft x-mid", _at(2**k), y + 62, 2**k)
    return svg + path("x-wire-pin", f"M{num(here)} {y + 39}l-5 9h10zv-13")


def _columns(result: dict[str, Any], y: int) -> str:
    """A column of bytes for each layer, or for each operation of inference."""
    training = result["settings"]["mode"] == "training"
    bars = result["rows" if training else "ops"]
    names = ("activations", "indices", "masks")
    styles = ("activations", "indices", "masks")
    if not training:
        names, styles = ("input", "maps", "indices"), ("input", "live", "indices")
    sums = [sum(bar[name] for name in names) for bar in bars]
    most = max(sums)
    first = sums.index(most)
    words = "kept of each layer" if training else "needed by each operation"
    svg = text("x-bold", LEFT, y, words)
    svg += text("", LEFT, y + 17, f"most: {bars[first]['name']}, {_mib(most)}")
    bottom, wide = y + 27 + TALL, SPAN / len(bars)
    svg += path("x-wire", f"M{LEFT} {bottom}h{SPAN}")
    start = 0
    for i, bar in enumerate(bars):
        x, up = num(LEFT + (i + 0.5) * wide), float(bottom)
        for name, style in zip(names, styles, strict=True):
            high = TALL * bar[name] / most
            if bar[name]:
                look, dash = PARTS["input" if bar["name"] == "input" else style]
                svg += path(look, f"M{x} {num(up)}v{num(-high)}", wide - 2, dash)
            up -= high
        if i + 1 == len(bars) or bars[i + 1]["group"] != bar["group"]:
            middle = LEFT + (start + i + 1) / 2 * wide
            svg += text("x-soft x-mid", middle, bottom + 15, bar["group"])
            start = i + 1
    words = "in input, p pooling, d dropout, m mean"
    return svg + text("x-soft", LEFT, bottom + 33, words)


def view(result: dict[str, Any], start: dict[str, Any]) -> View:
    """The bar, its parts, the crossover, the layers, and why it is so."""
    s = result["settings"]
    if result["error"]:
        words = f"✗ {result['error']}"
        svg = text("x-bold", LEFT, 14, NETS[s["net"]]["label"])
        svg += text("x-bad", LEFT, 36, words)
        summary = f"No output: {result['error']}."
        return View(svg, WIDTH, 48, False, words, summary, f"<p>{summary}</p>")
    training = s["mode"] == "training"
    parts = list(result["parts"].items())
    if not training:
        parameters = result["parts"]["parameters"]
        live = result["inference"] - parameters
        parts = [("parameters", parameters), ("live", live)]
    total = result[s["mode"]]
    scale = SPAN / max(total, LIMIT)
    words = "one training step, after its forward pass" if training else "inference"
    svg = text("x-bold", LEFT, 14, words) + _stack(parts, scale)
    x = LEFT + LIMIT * scale
    right = x > 100
    svg += path("x-wire", f"M{num(x)} 18V54")
    svg += text("x-end" if right else "", x - 4 if right else x + 4, 57, "256 MiB")
    svg += _table(parts, total)
    y = 95 + ROW * len(parts) + 28
    if training:
        svg += _batches(result, y)
        y += 90
    svg += _columns(result, y)
    return View(svg, WIDTH, y + TALL + 66, result["ok"], *_words(result, parts, total))


def _words(
    result: dict[str, Any], parts: list[tuple[str, int]], total: int
) -> tuple[str, str, str]:
    """Verdict, summary and details."""
    s, label = result["settings"], NETS[result["settings"]["net"]]["label"]
    training, batch = s["mode"] == "training", s["batch_size"]
    images = f"{batch} image{'s' * (batch > 1)}"
    if not training:
        verdict = f"✗ inference takes {_mib(total)}; a training step was asked for"
    elif s["net"] != "nin":
        verdict = f"✗ {_mib(total)}, but of {label}; NiN was asked for"
    elif batch < IMAGES:
        verdict = f"✗ {_mib(total)}, but on {images}; {IMAGES} were asked for"
    elif result["ok"]:
        verdict = f"✓ {_mib(total)}: a training step on {images} fits"
    else:
        still = ", in-place ReLU or not" if s["inplace"] else ""
        verdict = f"✗ {_mib(total)}, {_mib(total - LIMIT)} too much{still}"
    summary = f"{label}, {s['mode']}, {images} of {s['size']} pixels: "
    summary += ", ".join(f"{WORDS.get(n, n)} {_mib(c)}" for n, c in parts)
    summary += f"; together {_mib(total)}."
    if training:
        summary += f" Crossover at batch {result['crossover']}."
    largest = result["ops"][result["largest"]]["name"]
    spared = result["spared"][s["mode"]]
    if s["framework"] == "gluon":
        why = "Gluon has no such argument; the switch does nothing."
    elif training:
        why = (
            f"<b>{_commas(spared)} bytes</b> less. Backward of a ReLU needs its "
            "output, so that is kept either way. What in-place overwrites, the "
            "convolution's own output, nothing keeps."
        )
    elif spared:
        why = (
            f"<b>{_commas(spared)} bytes</b> less at the largest moment, which then is "
            "another operation's."
        )
    else:
        why = (
            "<b>0 bytes</b> less at the largest moment: another operation needs as "
            "much."
        )
    detail = f"<p><b>In-place ReLU:</b> {why}</p>"
    if training:
        detail += (
            f"<p><b>Crossover:</b> parameters, gradients and state take "
            f"{_commas(result['fixed'])} bytes at any batch, one image "
            f"{_commas(result['example'])} more. From batch {result['crossover']} on "
            "the images take more.</p>"
            "<p><b>Not here:</b> work space, and gradients of activations, which "
            "backward makes.</p>"
            "<details><summary>Hint</summary><p>float16 halves numbers, not places: "
            "PyTorch's are 8 bytes each, Gluon's 4. On 32 images the optimiser's state "
            "decides.</p></details>"
        )
    else:
        detail += f"<p><b>Largest live set:</b> {largest}. The input is held.</p>"
    return verdict, summary, detail


SCRIPT = r"""
var NETS=/*nets*/,PARTS=/*parts*/,WORDS=/*words*/,
ITEMS={float32:4,float16:2,float64:8},STATES={sgd:0,momentum:1,adam:2},
LIMIT=268435456;
function sum(a,f){return a.reduce(function(t,v){return t+f(v)},0)}
function held(r){return r.activations+r.indices+r.masks}
function need(o){return o.input+o.maps+o.indices}
function walk(s,inplace){
var net=NETS[s.net],torch=s.framework=="pytorch",item=ITEMS[s.dtype],N=s.batch_size,
n=s.size,c=net.channels,parameters=0,rows=[],ops=[],count={block:0,p:0,d:0},
now={bytes:item*N*c*n*n,row:0},all=[now];
function row(g,name,indices,masks){
rows.push({group:g,name:name,activations:0,indices:indices,masks:masks})}
function layer(g,name,input,output,same,indices,mask,idle){
var wide=N*c*n*n,read=now==all[0]?0:now.bytes;
indices=(indices||0)*wide;
if(input)now.kept=1;
if(!same){now={bytes:item*wide,row:rows.length};all.push(now)}
else if(output)now.row=rows.length;
if(output)now.kept=1;
row(g,name,indices,(mask||0)*wide);
if(!idle)ops.push({group:g,name:name,input:all[0].bytes,
maps:same?read:read+item*wide,indices:torch?indices:0})}
row("in","input",0,0);
net.plan.forEach(function(p){
var k=p[1],stride=p[2],pad=p[3],g;
if(p[0]=="block"||p[0]=="logits"){
g="block "+ ++count.block;
p.slice(4).forEach(function(width,i){
n=Math.floor((n+2*pad-k)/stride)+1;
parameters+=item*width*(c*k*k+1);
c=width;k=stride=1;pad=0;
layer(g,g+", convolution "+(i+1),1,0);
if(p[0]=="block"||p[i+5])layer(g,g+", ReLU "+(i+1),0,1,inplace)})}
else if(p[0]=="dropout")layer("d","dropout "+ ++count.d,0,0,torch&&!s.dropout,0,
s.dropout?item:0,1);
else{
n=Math.floor((n-3+k)/2)+1;
layer("p","pooling "+ ++count.p,1,!torch,0,p[0]=="max"?torch?8:4:0)}});
n=1;
layer("m","mean",!torch,!torch);
all.forEach(function(t){if(t.kept)rows[t.row].activations+=t.bytes});
rows=rows.filter(held);
var needs=ops.map(need),live=Math.max.apply(0,needs);
return{parameters:parameters,rows:rows,ops:ops,kept:sum(rows,held),live:live,
largest:needs.indexOf(live)}}
function compute(s){
var net=NETS[s.net],training=s.mode=="training";
if(s.size<net.smallest)return{settings:s,error:net.label+" needs at least "+
net.smallest+" pixels, not "+s.size,ok:false};
var torch=s.framework=="pytorch",plain=walk(s,false),reused=walk(s,torch),
now=s.inplace?reused:plain,p=now.parameters,fixed=p*(2+STATES[s.optimizer]),
parts={parameters:p,gradients:p,state:p*STATES[s.optimizer],
input:now.rows[0].activations};
["activations","indices","masks"].forEach(function(k){
parts[k]=sum(now.rows.slice(1),function(r){return r[k]})});
var total=fixed+now.kept,example=now.kept/s.batch_size;
return{settings:s,error:"",parts:parts,training:total,inference:p+now.live,
rows:now.rows,ops:now.ops,largest:now.largest,
crossover:Math.floor(fixed/example)+1,fixed:fixed,example:example,
spared:{training:plain.kept-reused.kept,inference:plain.live-reused.live},
ok:s.net=="nin"&&training&&s.batch_size>=32&&total<=LIMIT}}
function commas(n){return String(n).replace(/\B(?=(\d{3})+$)/g,",")}
function mib(n){
var h=Math.floor((100*n+524288)/1048576);
return commas(Math.floor(h/100))+"."+(h%100<10?"0":"")+h%100+" MiB"}
function at(b){
var k=0;
while(Math.pow(2,k+1)<=b)k++;
return 20+42.5*(k+b/Math.pow(2,k)-1)}
function word(n){return WORDS[n]||n}
function batches(r,y){
var here=num(at(r.settings.batch_size)),x=at(r.crossover),far=x>240,k,
svg=text("x-bold",6,y,"batch size")+
text(far?"x-end":"",far?x-4:x+4,y+19,"crossover "+r.crossover)+
path("x-bar-pin","M20 "+(y+32)+"H"+num(x),8)+
path("x-bar","M"+num(x)+" "+(y+32)+"H360",8)+
path("x-wire","M"+num(x)+" "+(y+8)+"V"+(y+38));
for(k=0;k<9;k++)svg+=text("x-soft x-mid",at(1<<k),y+62,1<<k);
return svg+path("x-wire-pin","M"+here+" "+(y+39)+"l-5 9h10zv-13")}
function columns(r,y){
var training=r.settings.mode=="training",bars=training?r.rows:r.ops,
names=training?["activations","indices","masks"]:["input","maps","indices"],
styles=training?names:["input","live","indices"],
sums=bars.map(training?held:need),most=Math.max.apply(0,sums),
bottom=y+89,wide=368/bars.length,start=0,
svg=text("x-bold",6,y,training?"kept of each layer":"needed by each operation")+
text("",6,y+17,"most: "+bars[sums.indexOf(most)].name+", "+mib(most))+
path("x-wire","M6 "+bottom+"h368");
bars.forEach(function(b,i){
var x=num(6+(i+.5)*wide),up=bottom;
names.forEach(function(n,j){
var high=62*b[n]/most,p=PARTS[b.name=="input"?"input":styles[j]];
if(b[n])svg+=path(p[0],"M"+x+" "+num(up)+"v"+num(-high),wide-2,p[1]);
up-=high});
if(i+1==bars.length||bars[i+1].group!=b.group){
svg+=text("x-soft x-mid",6+(start+i+1)/2*wide,bottom+15,b.group);
start=i+1}});
return svg+text("x-soft",6,bottom+33,"in input, p pooling, d dropout, m mean")}
function view(r,start){
var s=r.settings,net=NETS[s.net],training=s.mode=="training",N=s.batch_size;
if(r.error){
var no="No output: "+r.error+".",bad="✗ "+r.error;
return{svg:text("x-bold",6,14,net.label)+text("x-bad",6,36,bad),width:380,
height:48,ok:false,verdict:bad,summary:no,detail:"<p>"+no+"</p>"}}
var total=r[s.mode],scale=368/Math.max(total,LIMIT),x=6,y=95,
parts=training?Object.keys(r.parts).map(function(k){return[k,r.parts[k]]}):
[["parameters",r.parts.parameters],["live",total-r.parts.parameters]],
svg=text("x-bold",6,14,training?"one training step, after its forward pass":
"inference")+rect("x-box",6,22,368,22),table=text("x-soft x-end",374,78,"bytes");
parts.forEach(function(p){
var q=PARTS[p[0]];
if(p[1])svg+=path(q[0],"M"+num(x)+" 33h"+num(p[1]*scale),18,q[1]);
x+=p[1]*scale;
table+=path(q[0],"M6 "+(y-4)+"h16",10,q[1])+text("",28,y,word(p[0]))+
text("x-end",246,y,mib(p[1]))+text("x-soft x-end",374,y,commas(p[1]));
y+=17});
x=6+LIMIT*scale;
svg+=path("x-wire","M"+num(x)+" 18V54")+
text(x>100?"x-end":"",x>100?x-4:x+4,57,"256 MiB")+table+
text("x-bold",28,y,"together")+text("x-bold x-end",246,y,mib(total))+
text("x-bold x-end",374,y,commas(total));
y+=28;
if(training){svg+=batches(r,y);y+=90}
svg+=columns(r,y);
var images=N+" image"+(N>1?"s":""),size=mib(total),spared=r.spared[s.mode],
less="<b>"+commas(spared)+" bytes</b> less";
return{svg:svg,width:380,height:y+128,ok:r.ok,
verdict:!training?"✗ inference takes "+size+"; a training step was asked for":
s.net!="nin"?"✗ "+size+", but of "+net.label+"; NiN was asked for":
N<32?"✗ "+size+", but on "+images+"; 32 were asked for":
r.ok?"✓ "+size+": a training step on "+images+" fits":
"✗ "+size+", "+mib(total-LIMIT)+" too much"+(s.inplace?", in-place ReLU or not":""),
summary:net.label+", "+s.mode+", "+images+" of "+s.size+" pixels: "+
parts.map(function(p){return word(p[0])+" "+mib(p[1])}).join(", ")+"; together "+
size+"."+(training?" Crossover at batch "+r.crossover+".":""),
detail:"<p><b>In-place ReLU:</b> "+(s.framework=="gluon"?
"Gluon has no such argument; the switch does nothing.":
training?less+". Backward of a ReLU needs its "+
"output, so that is kept either way. What in-place overwrites, the "+
"convolution's own output, nothing keeps.":
spared?less+" at the largest moment, which then is another operation's.":
less+" at the largest moment: another operation needs as much.")+"</p>"+(training?
"<p><b>Crossover:</b> parameters, gradients and state take "+commas(r.fixed)+
" bytes at any batch, one image "+commas(r.example)+" more. From batch "+
r.crossover+" on the images take more.</p>"+
"<p><b>Not here:</b> work space, and gradients of activations, which "+
"backward makes.</p>"+
"<details><summary>Hint</summary><p>float16 halves numbers, not places: "+
"PyTorch's are 8 bytes each, Gluon's 4. On 32 images the optimiser's state "+
"decides.</p></details>":
"<p><b>Largest live set:</b> "+r.ops[r.largest].name+". The input is held.</p>")}}
"""


def _script() -> str:
    script = SCRIPT
    for name, table in (("nets", NETS), ("parts", PARTS), ("words", WORDS)):
        known = json.dumps(table, separators=(",", ":"))
        script = script.replace(f"/*{name}*/", known)
    return script


def memory_ledger(
    net: str = "nin",
    framework: str = "pytorch",
    batch_size: int = 64,
    size: int = 224,
    optimizer: str = "adam",
    dtype: str = "float32",
    inplace: bool = False,
    dropout: bool = True,
    mode: str = "training",
    title: str = "Memory ledger",
    goal: str = "Fit one training step of NiN, on at least 32 images, into 256 MiB.",
) -> Explorer:
    """The figure, opened on NiN with Adam and 64 images, or otherwise.

    Args:
        net, framework, batch_size, size, optimizer, dtype, inplace, dropout, mode: as
            in `compute`, within the ranges of the controls (batch_size to 256, size
            from 28 to 256).
        title, goal: plain text above the picture.

    Raises:
        TypeError, ValueError: as `compute`, or a value that no control can show.
    """
    first = compute(
        net, framework, batch_size, size, optimizer, dtype, inplace, dropout, mode
    )
    return Explorer(
        name="memory_ledger",
        title=title,
        goal=goal,
        settings=first["settings"],
        defaults=OPENING,
        controls=CONTROLS,
        compute=compute,
        view=view,
        script=_script(),
    )
