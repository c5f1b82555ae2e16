"""The contract of an interactive figure, and the code that all of them share.

An explorer is two pure functions, written once in Python and once in JavaScript:

- `compute(**settings)` → JSON-able dict: all that is true of these settings;
- `view(result, start)` → `View`: how it looks; `start` are the opening settings.

Python draws the first frame with them, so the figure is useful without script. The
script then wakes the controls, recomputes and redraws. Tests hold both languages
together: `root.compute(settings)` and `root.view(settings)` in the page equal
Python's `compute` and `view`, the picture character by character.

What a new explorer writes: `compute`, `view`, the same two functions in JavaScript
(`compute(s)` and `view(r, start)`, the latter with the keys of `View`), and a tuple
of controls. In JavaScript it finds the helpers `esc`, `num`, `rect`, `text`, `path`
and `part`, twins of the Python ones below.

Two things are there for those that need them:

- Clickable parts of the picture. `part(...)` wraps SVG that sets a control when it is
  clicked, or focused and Enter or Space pressed. The script makes buttons of them,
  which together are one stop of the Tab key: the pressed one, else the last. The
  arrow keys, Home and End go from part to part in the order in which they are drawn,
  and a redraw keeps the focus on the part with the same label. The control is one of
  the others (not a switch), or `clicked(...)`, which has no input of its own. Paths
  drawn after the parts let clicks through. A rectangle of class x-pin is what the
  reader has chosen; text right behind it is readable on it.
- Sliders whose end moves with the other settings: `View.limits`. `compute` has to
  take larger values, too, as the last one that there is.

A `<details>` in `View.detail` stays open when the reader has opened it.

The fragment needs nothing from outside, so it works in a page of the book, from a
file, in JupyterLab and in a sandboxed frame. Where HTML is not shown at all,
`repr(explorer)` says the same in words. A notebook that JupyterLab does not trust
loses style, script and picture; what is left would be a heap of words and dead
controls. So all of it is `hidden` and only the style shows it, and words that the
style hides take its place.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from d2lutils import checks

__all__ = [
    "Control",
    "Explorer",
    "View",
    "choice",
    "clicked",
    "esc",
    "num",
    "number",
    "part",
    "path",
    "rect",
    "slider",
    "switch",
    "text",
]

Settings = dict[str, Any]


@dataclass(frozen=True)
class Control:
    """One labelled input. Make it with `slider`, `number`, `choice`, `switch` or
    `clicked`.

    Attributes:
        name: the setting that it moves.
        label: what the reader sees.
        kind: "range", "number", "select", "checkbox" or "hidden".
        low, high, step: the values of a slider or number.
        options: (value, words) of a choice.
    """

    name: str
    label: str
    kind: str
    low: float = 0
    high: float = 0
    step: float = 1
    options: tuple[tuple[str, str], ...] = ()

    def check(self, owner: str, value: Any) -> None:
        """Raise ValueError or TypeError unless the control can show `value`."""
        if self.kind == "checkbox":
            checks.boolean(owner, self.name, value)
        elif self.kind == "select":
            values = [option for option, _ in self.options]
            checks.choice(owner, self.name, value, values)
        else:
            checks.number(owner, self.name, value, self.low, self.high)
            steps = (value - self.low) / self.step
            if abs(steps - round(steps)) > 1e-9:
                raise ValueError(
                    f"{owner}: {self.name} must go in steps of {num(self.step)} from "
                    f"{num(self.low)}, got {value}"
                )

    def markup(self, value: Any, limit: float | None = None) -> str:
        """The label with its input, set to `value`, or to `limit` where that is less.

        A slider of more than 100 steps gets a row of its own.
        """
        name, label = esc(self.name), esc(self.label)
        high = self.high if limit is None else min(limit, self.high)
        if self.kind == "hidden":
            return (
                f'<input type="hidden" name="{name}" value="{num(value)}" '
                'autocomplete="off">'
            )
        if self.kind == "select":
            options = "".join(
                f'<option value="{esc(option)}"{" selected" * (option == value)}>'
                f"{esc(words)}</option>"
                for option, words in self.options
            )
            return (
                f'<label><span>{label}</span><select name="{name}" autocomplete="off">'
                f"{options}</select></label>"
            )
        if self.kind == "checkbox":
            return (
                f'<label class="x-switch"><input type="checkbox" name="{name}" '
                f'autocomplete="off"{" checked" * value}> <span>{label}</span></label>'
            )
        shown = wide = ""
        if self.kind == "range":
            value = min(value, high)
            shown = f' <b aria-hidden="true">{num(value)}</b>'
            if self.high - self.low > 100 * self.step:
                wide = ' class="x-wide"'
        return (
            f'<label{wide}><span>{label}{shown}</span><input type="{self.kind}" '
            f'name="{name}" min="{num(self.low)}" max="{num(high)}" '
            f'step="{num(self.step)}" value="{num(value)}" autocomplete="off"></label>'
        )


def slider(name: str, label: str, low: float, high: float, step: float = 1) -> Control:
    """A slider from `low` to `high`, for few values."""
    return Control(name, label, "range", low, high, step)


def number(name: str, label: str, low: float, high: float, step: float = 1) -> Control:
    """A field to type a number from `low` to `high` into, for many values."""
    return Control(name, label, "number", low, high, step)


def choice(name: str, label: str, *options: tuple[str, str]) -> Control:
    """A list of (value, words) to choose one from."""
    return Control(name, label, "select", options=options)


def switch(name: str, label: str) -> Control:
    """Something on or off."""
    return Control(name, label, "checkbox")


def clicked(name: str, label: str, low: float, high: float) -> Control:
    """A whole number that only clicks on a `part` of the picture change."""
    return Control(name, label, "hidden", low, high)


@dataclass(frozen=True)
class View:
    """What a reader sees of one result.

    Attributes:
        svg: what stands inside the `<svg>`.
        width, height: of its view box. It is drawn 300 to 480 pixels wide, so with
            a width of about 400 text of size 13 stays readable on a phone.
        ok: whether the puzzle is solved.
        verdict: the result in one line of plain text, first a ✓ or ✗.
        summary: more of it in plain text: the picture's alternative, and the
            second line of the fallback.
        detail: HTML below the controls.
        limits: the largest value, in this state, of sliders by name. At its end such
            a slider stands for its `high`, and so stays at the end when that moves.
            In JavaScript it may be left out.
    """

    svg: str
    width: int
    height: int
    ok: bool
    verdict: str
    summary: str
    detail: str = ""
    limits: dict[str, float] = field(default_factory=dict)


def esc(words: object) -> str:
    """`words` as HTML text or attribute value."""
    return html.escape(str(words))


def num(value: float) -> str:
    """A number with at most two decimals, written as JavaScript writes it."""
    rounded = math.floor(value * 100 + 0.5) / 100
    return str(int(rounded)) if rounded == int(rounded) else repr(rounded)


def rect(
    style: str, x: float, y: float, width: float, height: float, radius: float = 0
) -> str:
    """An SVG rectangle of class `style`."""
    return (
        f'<rect class="{style}" x="{num(x)}" y="{num(y)}" width="{num(width)}" '
        f'height="{num(height)}" rx="{num(radius)}"/>'
    )


def text(style: str, x: float, y: float, words: object) -> str:
    """SVG text of class `style` (x-end: right-aligned, x-mid: centred)."""
    return f'<text class="{style}" x="{num(x)}" y="{num(y)}">{esc(words)}</text>'


def path(style: str, d: str, width: float = 0, dash: str = "") -> str:
    """An SVG path; `width` and `dash` are the stroke's, where given."""
    stroke = f' stroke-width="{num(width)}"' if width else ""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="{style}" d="{d}"{stroke}{dashes}/>'


def part(name: str, value: float, label: str, pressed: bool, body: str) -> str:
    """A part of the picture that sets the control `name` to `value` when clicked.

    Args:
        name, value: of the control; for a part that is `pressed` the value that lets
            go of it again.
        label: what a screen reader says; no two parts of a picture share one.
        pressed: whether it is on now.
        body: its SVG.
    """
    return (
        f'<g data-set="{esc(name)}" data-to="{num(value)}"{" data-on" * pressed} '
        f'aria-label="{esc(label)}">{body}</g>'
    )


class Explorer:
    """An interactive figure; the last expression of a notebook cell shows it.

    Args:
        name: the explorer's name, lower case with underscores.
        title: its heading, plain text.
        goal: what the reader is to reach, plain text.
        settings: all arguments of `compute`, as the figure opens.
        defaults: those that `root.compute` fills in where it is given fewer.
        controls: inputs, each for one of the settings.
        compute, view: see the module.
        script: JavaScript that defines `compute(s)` and `view(r, start)`.

    Raises:
        ValueError, TypeError: a bad name, a control without a setting, or a setting
            that its control cannot show.
    """

    def __init__(
        self,
        name: str,
        title: str,
        goal: str,
        settings: Settings,
        defaults: Settings,
        controls: tuple[Control, ...],
        compute: Callable[..., dict[str, Any]],
        view: Callable[[dict[str, Any], Settings], View],
        script: str,
    ) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(
                f"Explorer: name must be lower case with underscores, got {name!r}"
            )
        for control in controls:
            if control.name not in settings:
                raise ValueError(
                    f"Explorer: no setting for the control {control.name!r}, "
                    f"got {', '.join(settings)}"
                )
            control.check(name, settings[control.name])
        self.name, self.title, self.goal = name, title, goal
        self.settings, self.defaults = dict(settings), dict(defaults)
        self.controls, self.script = tuple(controls), script
        self._compute, self._view = compute, view
        key = json.dumps([name, title, goal, settings], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:10]
        self.id = f"d2x-{name.replace('_', '-')}-{digest}"

    @property
    def result(self) -> dict[str, Any]:
        """What `compute` says about the opening settings."""
        return self._compute(**self.settings)

    @property
    def first(self) -> View:
        """The first frame."""
        return self._view(self.result, self.settings)

    def view(self, **changes: Any) -> View:
        """The view after `changes` to the opening settings."""
        return self._view(self._compute(**self.settings | changes), self.settings)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.settings.items())
        view = self.first
        return f"{self.name}({arguments})\n{view.verdict}\n{view.summary}"

    def _repr_html_(self) -> str:
        """The fragment: style, first frame, controls (asleep), script."""
        view = self.first
        inputs = "".join(
            control.markup(self.settings[control.name], view.limits.get(control.name))
            for control in self.controls
        )
        ends = {c.name: c.high for c in self.controls if c.name in view.limits}
        config = {"id": self.id, "start": self.settings, "defaults": self.defaults}
        config |= {"ends": ends} if ends else {}
        script = _RUNTIME.replace("/*config*/", _in_script(config))
        script = script.replace("/*explorer*/", self.script.strip())
        return (
            f'<div class="d2x" id="{self.id}" data-explorer="{esc(self.name)}" '
            f'data-ok="{_word(view.ok)}" role="group" aria-label="{esc(self.title)}">'
            f"<style>{_CSS}</style>"
            f'<p class="x-title"><b>{esc(self.title)}</b> {esc(self.goal)}</p>'
            f'<div class="x-plain"><p>{esc(view.verdict)}</p><p>{esc(view.summary)}</p>'
            "<p>Run this cell to use the controls.</p></div>"
            '<div class="x-columns" hidden="hidden">'
            f'<svg role="img" viewBox="0 0 {view.width} {view.height}" '
            f'aria-label="{esc(view.summary)}">{view.svg}</svg>'
            '<div class="x-side">'
            f'<p class="x-verdict" role="status">{esc(view.verdict)}</p>'
            "<fieldset disabled>"
            f"<legend>{esc(self.title)}: settings</legend>{inputs}"
            '<div class="x-row"><button type="button">Start over</button>'
            '<span class="x-count">Nothing changed yet.</span></div></fieldset>'
            "<noscript><p>The controls need JavaScript. The picture shows the opening "
            "settings.</p></noscript>"
            f'<div class="x-detail">{view.detail}</div>'
            "</div></div></div>"
            f"<script>{script}</script>"
        )


def _word(ok: bool) -> str:
    return "yes" if ok else "no"


def _in_script(value: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026")


# One palette for light and one for dark. Right and wrong differ in hue (bluish green
# and vermilion, which colour-blind readers tell apart) and always in words, too.
_LIGHT = (
    "color-scheme:light;--paper:#fff;--panel:#f3f5f8;--line:#b9c2ce;--ink:#1c2430;"
    "--soft:#4d5866;--bar:#66768c;--ok:#00705a;--ok-paper:#e3f4ee;"
    "--bad:#ad3212;--bad-paper:#fcebe5;--edge:#7b8796;--focus:#1a5fb4"
)
_DARK = (
    "color-scheme:dark;--paper:#161b22;--panel:#212935;--line:#465366;--ink:#e8edf3;"
    "--soft:#b3bfcd;--bar:#8d9db3;--ok:#5fe0b8;--ok-paper:#12352c;"
    "--bad:#ff8a6b;--bad-paper:#44221a;--edge:#8793a3;--focus:#82b7ff"
)
# The book's theme puts HTML outputs on a light ground in dark mode; not these.
# The book says data-theme, Colab theme, JupyterLab data-jp-theme-light. Where none of
# them speaks, the system does.
_CSS = (
    f".d2x{{{_LIGHT}}}"
    "@media (prefers-color-scheme:dark){html:not([data-theme],[theme]) "
    f"body:not([data-jp-theme-light]) .d2x{{{_DARK}}}}}"
    f'html[data-theme="dark"] .d2x,html[theme="dark"] .d2x,'
    f'[data-jp-theme-light="false"] .d2x{{{_DARK}}}'
    + re.sub(
        r"\s*\n\s*",
        "",
        """
.d2x{box-sizing:border-box;max-width:1100px;margin:1em 0;padding:12px;
border:1px solid var(--line);border-left:5px solid var(--bad);border-radius:8px;
background:var(--paper);color:var(--ink);
font:15px/1.45 var(--sans,system-ui,-apple-system,Roboto,sans-serif)}
.d2x *{box-sizing:border-box}
.d2x[data-ok=yes]{border-left-color:var(--ok)}
.d2x p{margin:0 0 8px;color:inherit;font-size:inherit}
.d2x .x-title b{display:block}
.d2x .x-plain{display:none}
.d2x .x-columns{display:flex!important;flex-wrap:wrap;gap:12px 20px;
align-items:flex-start}
.d2x svg{flex:1 1 300px;width:100%;min-width:0;max-width:480px;height:auto;
margin:0 auto;overflow:visible}
.d2x .x-side{flex:1 1 300px;min-width:0;max-width:600px}
.d2x .x-verdict{padding:7px 10px;border-radius:6px;font-weight:600;
color:var(--bad);background:var(--bad-paper);min-height:calc(2.9em + 14px);
display:flex;align-items:center}
.d2x[data-ok=yes] .x-verdict{color:var(--ok);background:var(--ok-paper)}
.d2x fieldset{display:grid;grid-template-columns:repeat(auto-fill,minmax(125px,1fr));
gap:8px 16px;min-width:0;margin:0 0 10px;padding:0;border:0}
.d2x legend{position:absolute;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%)}
.d2x label{display:block;margin:0;font-size:13px;color:var(--soft)}
.d2x label b{color:var(--ink);font-variant-numeric:tabular-nums}
.d2x label span{display:block;margin-bottom:3px}
.d2x .x-switch span{display:inline}
.d2x .x-wide{grid-column:1/-1}
.text_html:has(>.d2x){padding:0!important;background:none!important}
.d2x input,.d2x select,.d2x button{font:inherit;font-size:14px;color:var(--ink);
accent-color:var(--focus);margin:0}
.d2x input:not([type=checkbox]),.d2x select{display:block;width:100%;min-height:28px}
.d2x input[type=number],.d2x select,.d2x button{background:var(--paper);
border:1px solid var(--edge);border-radius:5px;padding:2px 6px}
.d2x button{background:var(--panel);padding:4px 12px;cursor:pointer}
.d2x :focus-visible{outline:3px solid var(--focus);outline-offset:2px}
.d2x [aria-invalid=true]{outline:2px solid var(--bad)}
.d2x .x-row{grid-column:1/-1;display:flex;flex-wrap:wrap;align-items:center;
gap:4px 12px;font-size:14px}
.d2x .x-detail{font-size:13.5px;color:var(--soft)}
.d2x .x-detail p{margin:0 0 6px}
.d2x .x-detail b{color:var(--ink)}
.d2x code{display:block;margin:1px 0 6px;padding:5px 8px;border:0;border-radius:5px;
background:var(--panel);color:var(--ink);
font:12.5px/1.5 ui-monospace,Menlo,Consolas,monospace;
white-space:pre-wrap;overflow-wrap:break-word}
.d2x code mark{padding:0;background:none;color:inherit;font-weight:700;
border-bottom:2px solid var(--focus)}
.d2x text{fill:var(--ink);font-size:12.5px}
.d2x .x-soft{fill:var(--soft)}
.d2x .x-bold{font-weight:700}
.d2x .x-big{font-size:15px;font-weight:700}
.d2x .x-end{text-anchor:end}
.d2x .x-mid{text-anchor:middle}
.d2x .x-ok{fill:var(--ok)}
.d2x .x-bad{fill:var(--bad)}
.d2x .x-box{fill:var(--panel);stroke:var(--line)}
.d2x .x-void{fill:var(--paper);stroke:var(--line);stroke-dasharray:4 3}
.d2x .x-wrong{fill:var(--bad-paper);stroke:var(--bad);stroke-width:1.5}
.d2x .x-right{fill:var(--ok-paper);stroke:var(--ok);stroke-width:1.5}
.d2x path{fill:none}
.d2x [data-set]{cursor:pointer}
.d2x [data-set]~path{pointer-events:none}
.d2x .x-pin{fill:var(--focus);stroke:var(--focus)}
.d2x .x-pin+text{fill:var(--paper)}
.d2x .x-wire-pin{stroke:var(--focus);stroke-width:1.5}
.d2x .x-bar-pin{stroke:var(--focus)}
.d2x .x-wire{stroke:var(--soft);stroke-width:1.5}
.d2x .x-wire-bad{stroke:var(--bad);stroke-width:1.5}
.d2x .x-wire-ok{stroke:var(--ok);stroke-width:1.5}
.d2x .x-bar{stroke:var(--bar)}
.d2x .x-bar-bad{stroke:var(--bad)}
@media (prefers-reduced-motion:no-preference){
.d2x[data-ok=yes] .x-verdict{animation:d2x-glow 1.2s}
@keyframes d2x-glow{from{box-shadow:0 0 0 0 var(--ok)}
to{box-shadow:0 0 0 14px transparent}}}
""",
    )
)

# The script: helpers, the explorer's two functions, then what wakes the controls. It
# may run before its own root exists (Colab), so it looks again for five seconds.
# The same figure twice on a page: the second root gets an id of its own. JupyterLab
# looks at the element with the focus, and at none around it, for the attribute that
# keeps its shortcuts away; without it an arrow key on a slider goes to the next cell.
_RUNTIME = r"""(function(){"use strict";
var C=/*config*/;
function esc(t){return String(t).replace(/[&<>"']/g,function(c){
return{"&":"&amp;","<":"&lt;",">":"&gt;",'"':"&quot;","'":"&#x27;"}[c]})}
function num(v){return String(Math.floor(v*100+.5)/100)}
function rect(c,x,y,w,h,r){return'<rect class="'+c+'" x="'+num(x)+'" y="'+num(y)+
'" width="'+num(w)+'" height="'+num(h)+'" rx="'+num(r||0)+'"/>'}
function text(c,x,y,t){return'<text class="'+c+'" x="'+num(x)+'" y="'+num(y)+'">'+
esc(t)+'</text>'}
function path(c,d,w,dash){return'<path class="'+c+'" d="'+d+'"'+
(w?' stroke-width="'+num(w)+'"':'')+(dash?' stroke-dasharray="'+dash+'"':'')+'/>'}
function part(n,v,l,on,b){return'<g data-set="'+esc(n)+'" data-to="'+num(v)+'"'+
(on?" data-on":"")+' aria-label="'+esc(l)+'">'+b+'</g>'}
/*explorer*/
function wake(root){
var svg=root.querySelector("svg"),set=root.querySelector("fieldset"),
inputs=[].slice.call(set.querySelectorAll("[name]")),
find=function(c){return root.querySelector(c)};
root.compute=function(s){return compute(Object.assign({},C.defaults,s))};
root.view=function(s){return Object.assign({limits:{}},
view(root.compute(s),C.start))};
function valueOf(i){
var end=(C.ends||{})[i.name];
return i.type=="checkbox"?i.checked:i.tagName=="SELECT"?i.value:
end===undefined?Number(i.value):i.value===i.want[0]?i.want[1]:
i.value==i.max?end:Number(i.value)}
function parts(){return[].slice.call(svg.querySelectorAll("[data-set]"))}
function stopAt(p){parts().forEach(function(q){
q.setAttribute("role","button");
q.setAttribute("aria-pressed","on"in q.dataset);
q.setAttribute("tabindex",q==p?0:-1)})}
function go(p){stopAt(p);p.focus({preventScroll:true})}
function press(p){
set.querySelector('[name="'+p.dataset.set+'"]').value=p.dataset.to;update()}
function reset(){inputs.forEach(function(i){put(i,C.start[i.name])})}
function same(a,p){return a.getAttribute("aria-label")==p.getAttribute("aria-label")}
function put(i,v){
if(i.type=="checkbox")i.checked=v;else i.value=v;
i.want=[i.value,v];mark(i)}
function mark(i){
if(i.type=="range")say(i.parentNode.querySelector("b"),num(i.value))}
function say(e,t){if(e.textContent!=t)e.textContent=t}
function update(){
var s=Object.assign({},C.start),wrong=null,n=0;
inputs.forEach(function(i){
var bad=!i.checkValidity()||(i.type=="number"&&i.value==="");
if(bad){i.setAttribute("aria-invalid","true");wrong=wrong||i}
else{i.removeAttribute("aria-invalid");s[i.name]=valueOf(i)}
mark(i);
if(s[i.name]!==C.start[i.name])n++});
if(wrong){root.dataset.ok="no";
say(find(".x-verdict"),"✗ "+wrong.parentNode.textContent.trim()+": a number from "+
wrong.min+" to "+wrong.max+(wrong.step==1?", without decimals":""));return}
var v=root.view(s),all=parts(),k=all.indexOf(document.activeElement),
open=find(".x-detail details[open]");
inputs.forEach(function(i){
if(i.name in v.limits){i.max=v.limits[i.name];put(i,s[i.name])}});
root.dataset.ok=v.ok?"yes":"no";
svg.setAttribute("viewBox","0 0 "+v.width+" "+v.height);
svg.setAttribute("aria-label",v.summary);
svg.innerHTML=v.svg;
var now=parts();
if(now[0]){
svg.setAttribute("role","group");
if(k<0)stopAt(find("[data-on]")||now.pop());
else go(now.filter(same.bind(null,all[k]))[0]||now[k]||now[0])}
say(find(".x-verdict"),v.verdict);
find(".x-detail").innerHTML=v.detail;
if(open&&(open=find(".x-detail details")))open.open=true;
say(find(".x-count"),n==0?"Nothing changed yet.":v.ok?"Solved with "+n+
(n==1?" change.":" changes."):n+(n==1?" setting":" settings")+" changed.")}
root.addEventListener("focusin",function(e){
e.target.dataset.lmSuppressShortcuts=true});
set.addEventListener("input",update);
set.addEventListener("change",update);
svg.addEventListener("click",function(e){
var p=e.target.closest("[data-set]");
if(p)press(p)});
svg.addEventListener("keydown",function(e){
var p=e.target.closest("[data-set]"),all=parts(),k=all.indexOf(p),end=all.length-1,
to={ArrowLeft:k-1,ArrowUp:k-1,ArrowRight:k+1,ArrowDown:k+1,Home:0,End:end}[e.key];
if(!p||e.altKey||e.ctrlKey||e.metaKey)return;
if(e.key=="Enter"||e.key==" ")press(p);
else if(to===undefined)return;
else go(all[Math.max(0,Math.min(end,to))]);
e.preventDefault()});
set.querySelector("button").addEventListener("click",function(){
reset();update()});
set.disabled=false;
reset();
update()}
function boot(tries){
var all=[].slice.call(document.querySelectorAll('[id="'+C.id+'"]')),late=!all.length;
all.forEach(function(root,k){if(root.compute)return;
if(!root.querySelector(".x-detail")){late=true;return}
for(k=2;document.querySelectorAll('[id="'+root.id+'"]').length>1;k++)
root.id=C.id+"-"+k;
wake(root)});
if(late&&tries)setTimeout(function(){boot(tries-1)},50)}
boot(100)})();"""
