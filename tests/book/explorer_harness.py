"""What the browser tests of the explorers share.

A later explorer is one more entry in `CASES`: its module's function and `compute`.
Random settings and the ways to operate the inputs come from its controls.
"""

from __future__ import annotations

import html
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Frame, Locator, Page

from d2lutils.explorers import Control, Explorer, View, choice, number, slider, switch
from d2lutils.explorers.base import esc, num
from d2lutils.explorers.base import text as svg_text
from d2lutils.explorers.batch_fold import batch_fold
from d2lutils.explorers.batch_fold import compute as fold_compute
from d2lutils.explorers.dimensions import LAST, dimensions
from d2lutils.explorers.dimensions import compute as dimensions_compute
from d2lutils.explorers.kernel_mixer import compute as mixer_compute
from d2lutils.explorers.kernel_mixer import kernel_mixer
from d2lutils.explorers.memory_ledger import compute as memory_compute
from d2lutils.explorers.memory_ledger import memory_ledger
from d2lutils.explorers.pyramid_widths import compute as pyramid_compute
from d2lutils.explorers.pyramid_widths import pyramid_widths
from d2lutils.explorers.residual_builder import compute as residual_compute
from d2lutils.explorers.residual_builder import residual_builder
from d2lutils.explorers.stochastic_grid import compute as stochastic_compute
from d2lutils.explorers.stochastic_grid import stochastic_grid


def from_controls(explorer: Explorer, rng: random.Random) -> dict[str, Any]:
    """Settings that the controls can show; every third setting stays as it opens."""
    settings = dict(explorer.settings)
    for control in explorer.controls:
        if rng.random() < 1 / 3:
            continue
        if control.kind == "select":
            settings[control.name] = rng.choice(control.options)[0]
        elif control.kind == "checkbox":
            settings[control.name] = rng.random() < 0.5
        else:
            steps = round((control.high - control.low) / control.step)
            # The low end is where things stop fitting: visit it often.
            k = rng.randint(0, steps if rng.random() < 0.7 else min(steps, 10))
            value = round(control.low + k * control.step, 10)
            settings[control.name] = int(value) if value == int(value) else value
    return settings


@dataclass(frozen=True)
class Case:
    """One explorer to test."""

    make: Callable[..., Explorer]
    compute: Callable[..., dict[str, Any]]
    draw: Callable[[Explorer, random.Random], dict[str, Any]] = from_controls
    corners: tuple[dict[str, Any], ...] = ()

    def settings(self, count: int, seed: int) -> list[dict[str, Any]]:
        """The corners, then random settings."""
        explorer, rng = self.make(), random.Random(seed)
        drawn = [explorer.settings | corner for corner in self.corners]
        return drawn + [self.draw(explorer, rng) for _ in range(count - len(drawn))]


def draw_dimensions(explorer: Explorer, rng: random.Random) -> dict[str, Any]:
    """From the controls, with many short axes, windows that exist, inputs to pin."""
    s = from_controls(explorer, rng)
    n = s["n"] if rng.random() < 0.3 else rng.choice([*range(1, 40), *range(190, 257)])
    pin = -1 if rng.random() < 0.4 else rng.randrange(n)
    windows = dimensions_compute(**s | {"n": n})["windows"]
    last = s["step"] >= windows - 1
    return s | {"n": n, "pin": pin, "step": LAST if last else s["step"]}


def draw_fold(explorer: Explorer, rng: random.Random) -> dict[str, Any]:
    """From the controls, half of them mended, with channels to follow that exist."""
    s = from_controls(explorer, rng)
    if rng.random() < 0.5:
        s |= {"order": "example", "handed": "own"}
    return s | {"pin": rng.randrange(-1, s["batch_size"] * s["channels"])}


def toy_compute(x: float = 0.5, n: int = 3, kind: str = "a<b", on: bool = False) -> Any:
    return {"x": x, "y": n * x if on else n + x, "kind": kind}


def toy_view(result: dict[str, Any], start: dict[str, Any]) -> View:
    y = num(result["y"])
    words = f"{result['kind']} & {y} from {num(start['x'])}"
    mark = "✓" if result["y"] > 4 else "✗"
    svg = svg_text("x-bold", 10, 20, words)
    return View(svg, 300, 40, result["y"] > 4, f"{mark} {words}", words, esc(words))


def toy(**changes: Any) -> Explorer:
    """The kinds of controls that the real explorers do not use yet."""
    settings = {"x": 0.5, "n": 3, "kind": "a<b", "on": False}
    return Explorer(
        name="toy",
        title="Toy & <b>",
        goal="Make it more than 4",
        settings=settings | changes,
        defaults=settings,
        controls=(
            slider("x", "Share", 0, 1, 0.05),
            number("n", "Number", 1, 9),
            choice("kind", "Kind", ("a<b", "a<b"), ('"q"', "quoted")),
            switch("on", "Multiply"),
        ),
        compute=toy_compute,
        view=toy_view,
        script="""
function compute(s){return{x:s.x,y:s.on?s.n*s.x:s.n+s.x,kind:s.kind}}
function view(r,start){
var t=r.kind+" & "+num(r.y)+" from "+num(start.x);
return{svg:text("x-bold",10,20,t),width:300,height:40,ok:r.y>4,
verdict:(r.y>4?"✓ ":"✗ ")+t,summary:t,detail:esc(t)}}
""",
    )


CASES = {
    "residual_builder": Case(
        residual_builder,
        residual_compute,
        corners=(
            {"padding": 1, "shortcut": "projection"},
            {"length": 1, "kernel_size": 9, "chain_length": 6},
            {"length": 128, "in_channels": 64, "channels": 1, "shortcut": "zeros"},
            {
                "length": 128,
                "in_channels": 64,
                "channels": 63,
                "kernel_size": 9,
                "padding": 4,
                "stride": 1,
                "chain_length": 6,
            },
            {
                "length": 128,
                "kernel_size": 1,
                "padding": 4,
                "stride": 1,
                "chain_length": 6,
            },
            {"length": 10, "padding": 2},
            {"length": 8, "kernel_size": 4, "chain_length": 4, "padding": 1},
            {"channels": 16, "padding": 1, "shortcut": "zeros"},
        ),
    ),
    "pyramid_widths": Case(
        pyramid_widths,
        pyramid_compute,
        corners=(
            {"rounding": "exact"},
            {"alpha": 108},
            {"alpha": 1},
            {"alpha": 1, "widening": "multiplicative"},
            {"alpha": 300, "widening": "multiplicative", "depth": 272},
            {"alpha": 300, "widening": "multiplicative", "block": "bottleneck"},
            # The sixth root of 64 is 2, on the nose.
            {
                "depth": 20,
                "alpha": 64,
                "block": "bottleneck",
                "widening": "multiplicative",
            },
            {"depth": 164, "alpha": 270, "block": "bottleneck", "rounding": "exact"},
        ),
    ),
    "stochastic_grid": Case(
        stochastic_grid,
        stochastic_compute,
        corners=(
            {"mode": "batch", "rule": "paper", "drop_prob": 0.5},
            {"mode": "batch", "rule": "end to end", "drop_prob": 0.5},
            {"mode": "batch", "rule": "from zero", "drop_prob": 0.5},
            {"mode": "batch", "rule": "from zero", "drop_prob": 1},
            {"mode": "batch", "rule": "constant", "drop_prob": 1},
            {"num_blocks": 1, "rule": "end to end", "samples": 1, "drop_prob": 1},
            {"num_blocks": 54, "samples": 16, "drop_prob": 1, "seed": 999},
            {"num_blocks": 54, "mode": "batch", "rule": "paper", "drop_prob": 0.5},
        ),
    ),
    "dimensions": Case(
        dimensions,
        dimensions_compute,
        draw_dimensions,
        corners=(
            {"n": 227},
            {"padding": 1},
            {"padding": 2, "pin": 3},
            {"ceil_mode": True, "pin": 219},
            {"n": 60},
            {"chain": "conv", "ceil_mode": True},
            {"chain": "conv", "n": 20, "kernel_size": 2, "stride": 5, "pin": 10},
            {"chain": "conv", "n": 32, "kernel_size": 1, "stride": 2, "padding": 8},
            {"chain": "conv", "n": 30, "kernel_size": 3, "dilation": 4, "step": 0},
            # PyTorch drops the window that would start in the padding.
            *(
                {
                    "chain": "pool",
                    "n": 5,
                    "kernel_size": 2,
                    "stride": 3,
                    "padding": 1,
                    "ceil_mode": True,
                    "framework": framework,
                }
                for framework in ("pytorch", "gluon")
            ),
            {"chain": "pool", "padding": 6},
            {"chain": "pool", "dilation": 2, "framework": "gluon"},
        ),
    ),
    "memory_ledger": Case(
        memory_ledger,
        memory_compute,
        corners=(
            {"batch_size": 32, "optimizer": "sgd"},
            {"inplace": True},
            {"dtype": "float16", "framework": "gluon"},
            {"size": 66},
            {"size": 67, "dtype": "float64"},
            {"net": "cifar", "size": 256, "batch_size": 256, "dtype": "float64"},
            {"net": "cifar", "size": 32, "inplace": True, "mode": "inference"},
            {"net": "small", "size": 28, "dropout": False},
            {"net": "small", "dtype": "float16", "mode": "inference"},
        ),
    ),
    "kernel_mixer": Case(
        kernel_mixer,
        mixer_compute,
        corners=(
            {"inside": False},
            {"solo": 0},
            {"vertical": 0, "horizontal": 0},
            {"vertical": 0, "horizontal": 0, "blur": 0, "identity": 0},
            {"solo": 2, "blur": 0},
            {"vertical": 1, "horizontal": 1, "blur": 1, "identity": 1, "side": 256},
            {"side": 1, "blur": 0.3, "identity": 0.7},
            {"vertical": 0.1, "horizontal": 0, "blur": 0, "identity": 0.3},
        ),
    ),
    "batch_fold": Case(
        batch_fold,
        fold_compute,
        draw_fold,
        corners=(
            {"batch_size": 3},
            {"batch_size": 3, "order": "example"},
            {"batch_size": 4, "channels": 4, "order": "example", "pin": 15},
            {"batch_size": 4, "channels": 4, "pin": 6, "handed": "reverse"},
            {"batch_size": 3, "channels": 2, "samples": "equal"},
            {"batch_size": 4, "samples": "constant", "kernels": "given"},
            {"batch_size": 1, "order": "example"},
        ),
    ),
    "toy": Case(toy, toy_compute),
}


@dataclass
class Tab:
    """A page, with what it asked for and complained about."""

    page: Page
    folder: Path
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.folder.as_uri(), "about:", "data:")):
            self.problems.append(f"request: {request.url}")

    def show(
        self, body: str, html_attributes: str = "", body_attributes: str = ""
    ) -> None:
        """Open `body` as a file."""
        page = self.folder / "page.html"
        page.write_text(
            f'<!doctype html><html lang="en" {html_attributes}><head>'
            '<meta charset="utf-8"><title>Explorer</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"</head><body {body_attributes}>{body}</body></html>",
            encoding="utf-8",
        )
        self.page.goto(page.as_uri())


def in_frame(fragment: str) -> str:
    """A page that shows the fragment in a sandboxed frame, as Colab does."""
    inner = f'<!doctype html><html lang="en"><title>f</title><body>{fragment}'
    return (
        '<iframe sandbox="allow-scripts" title="output" width="780" height="900" '
        f'srcdoc="{html.escape(inner)}"></iframe>'
    )


def inserted(fragment: str) -> str:
    """A page that inserts the fragment later and revives its script: JupyterLab."""
    return (
        f'<div id="out"></div><template id="t">{fragment}</template><script>'
        "setTimeout(function(){var o=document.getElementById('out');"
        "o.innerHTML=document.getElementById('t').innerHTML;"
        "o.querySelectorAll('script').forEach(function(old){"
        "var s=document.createElement('script');s.textContent=old.textContent;"
        "old.replaceWith(s)})},50)</script>"
    )


def late(fragment: str) -> str:
    """A page whose script runs well before its root is there."""
    root, script = fragment.split("<script>")
    return (
        f'<script>{script}<div id="out"></div><template id="t">{root}</template>'
        "<script>setTimeout(function(){document.getElementById('out').innerHTML="
        "document.getElementById('t').innerHTML},300)</script>"
    )


PLACES: dict[str, Callable[[str], str]] = {
    "file": str,
    "frame": in_frame,
    "inserted": inserted,
    "late": late,
}


def live_root(where: Page | Frame, name: str) -> Locator:
    """The explorer's root once its script has taken hold of it."""
    selector = f'[data-explorer="{name}"]'
    where.wait_for_function(
        "s=>{const r=document.querySelector(s);return r&&r.compute}", arg=selector
    )
    return where.locator(selector)


def operate(root: Locator, control: Control, value: Any) -> None:
    """Set one control the way a reader does: keys, typing, choosing."""
    target = root.locator(f'[name="{control.name}"]')
    if control.kind == "select":
        target.select_option(value)
    elif control.kind == "checkbox":
        target.set_checked(value)
    elif control.kind == "number":
        target.fill(num(value))
    elif control.kind == "hidden":
        pick(root, control, value)
    else:
        now = float(target.input_value())
        for key, end in (("Home", control.low), ("End", control.high)):
            if abs(value - end) < abs(value - now) - 2 * control.step:
                target.press(key)
                now = float(target.input_value())
        steps = round((value - now) / control.step)
        for _ in range(abs(steps)):
            target.press("ArrowRight" if steps > 0 else "ArrowLeft")


def pick(root: Locator, control: Control, value: Any) -> None:
    """Click parts of the picture, the nearest first, until `control` has `value`.

    Not on what is pressed, unless to let go of it.
    """
    target = root.locator(f'input[name="{control.name}"]')
    parts = root.locator(f'[data-set="{control.name}"]')
    for _ in range(5):
        if float(target.input_value()) == value:
            return
        offered = parts.evaluate_all(
            "all=>all.map(e=>[Number(e.dataset.to),'on' in e.dataset])"
        )
        _, near = min(
            (abs(to - value), -i)
            for i, (to, on) in enumerate(offered)
            if not on or to == value
        )
        parts.nth(-near).click()
    raise AssertionError(f"{control.name} never became {value}")


def put(root: Locator, settings: dict[str, Any]) -> None:
    """Set all controls at once, where how it is done is not the question.

    Twice: the first time may move the end of a slider.
    """
    for _ in range(2):
        root.evaluate(
            """(r,s)=>{for(const k in s){const i=r.querySelector(`[name="${k}"]`);
            if(i.type=='checkbox')i.checked=s[k];else i.value=s[k]}
            r.querySelector('fieldset').dispatchEvent(new Event('input'))}""",
            settings,
        )


# Contrast of every visible text with what is painted right behind it.
CONTRAST = r"""root=>{
const rgb=c=>{const m=c.match(/[\d.]+/g).map(Number);return m.length<4?[...m,1]:m};
const lum=c=>{const f=c.slice(0,3).map(v=>{v/=255;
  return v<=.03928?v/12.92:((v+.055)/1.055)**2.4});
  return .2126*f[0]+.7152*f[1]+.0722*f[2]};
const svg=e=>e instanceof SVGElement&&e.tagName!='svg';
const paint=e=>{const s=getComputedStyle(e);
  if(svg(e)){if(e.tagName=='text')return null;
    return s.fill!='none'?rgb(s.fill):s.stroke!='none'?rgb(s.stroke):null}
  const c=rgb(s.backgroundColor);return c[3]==1?c:null};
const out=[],seen=new Set();
const walk=document.createTreeWalker(root,NodeFilter.SHOW_TEXT);
const all=[...root.querySelectorAll('input[type=number],select')];
while(walk.nextNode()){const e=walk.currentNode.parentElement;
  if(walk.currentNode.data.trim()&&!e.closest('style,script,noscript,legend,option'))
    all.push(e)}
for(const e of all){
  if(seen.has(e))continue;seen.add(e);
  e.scrollIntoView({block:'center'});
  const b=e.getBoundingClientRect();
  const stack=document.elementsFromPoint(b.x+b.width/2,b.y+b.height/2);
  let i=stack.indexOf(e),back=null;
  const behind=i>=0?stack.slice(svg(e)?i+1:i):[];
  if(i<0)for(let p=e;p;p=p.parentElement)behind.push(p);
  for(const p of behind){back=paint(p);if(back)break}
  const s=getComputedStyle(e),fore=rgb(svg(e)?s.fill:s.color);
  const [a,d]=[lum(fore),lum(back||[255,255,255])].sort((x,y)=>y-x);
  out.push({text:(e.textContent||e.value).trim().slice(0,40),
    ratio:(a+.05)/(d+.05),fore,back})}
return out}"""

# Texts of the picture that overlap, leave the picture, or leave their box.
CLIPPED = r"""root=>{
const svg=root.querySelector('svg'),view=svg.getBoundingClientRect(),out=[];
const boxes=[...svg.querySelectorAll('rect')].map(e=>e.getBoundingClientRect());
const texts=[...svg.querySelectorAll('text')].filter(e=>e.textContent.trim());
const inside=(a,b)=>a.left>=b.left-.5&&a.right<=b.right+.5&&
  a.top>=b.top-1.5&&a.bottom<=b.bottom+1.5;
texts.forEach((e,i)=>{
  const a=e.getBoundingClientRect(),x=a.x+a.width/2,y=a.y+a.height/2;
  if(!inside(a,view))out.push('outside the picture: '+e.textContent);
  for(const b of boxes)
    if(x>b.left&&x<b.right&&y>b.top&&y<b.bottom&&!inside(a,b))
      out.push('outside its box: '+e.textContent);
  for(const f of texts.slice(i+1)){
    const b=f.getBoundingClientRect();
    if(a.left<b.right-1&&b.left<a.right-1&&a.top<b.bottom-3&&b.top<a.bottom-3)
      out.push('overlap: '+e.textContent+' | '+f.textContent)}});
return out}"""
