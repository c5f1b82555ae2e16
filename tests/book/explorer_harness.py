"""What the browser tests of the explorers share: where they stand, hands, and eyes."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from explorer_cases import Case
from playwright.sync_api import Frame, Locator, Page

from d2lutils.explorers import Control
from d2lutils.explorers.base import num


def show(page: Page, body: str, on_html: str = "", on_body: str = "") -> None:
    """Open a page of its own with `body`."""
    page.set_content(
        f'<!doctype html><html lang="en" {on_html}><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Explorer</title></head><body {on_body}>{body}</body></html>"
    )


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
    """Click the part of the picture that sets `control` to `value`, the last drawn."""
    target = root.locator(f'input[name="{control.name}"]')
    if float(target.input_value()) != value:
        part = f'[data-set="{control.name}"][data-to="{num(value)}"]'
        root.locator(part).last.click()
    assert float(target.input_value()) == value


def operate_by_keys(root: Locator, case: Case, typed_before: str = "") -> None:
    """Change a setting by a key and start over; press the part that Tab leads to.

    `typed_before` are keys that do nothing on these controls.
    """
    explorer, press = case.make(), root.page.keyboard.press
    verdict, again = root.locator(".x-verdict"), root.locator("button")
    control, key, value = case.press
    root.locator(f'[name="{control}"]').focus()
    for pressed in (*typed_before, key):
        press(pressed)
    assert verdict.inner_text() == explorer.words(**{control: value})[0]
    again.press("Enter")
    assert verdict.inner_text() == explorer.words()[0]
    part = root.locator('svg [data-set][tabindex="0"]')
    if part.count():
        target = root.locator(f'[name="{part.get_attribute("data-set")}"]')
        wanted = part.get_attribute("data-to")
        part.focus()
        for pressed in (*typed_before, "Enter"):
            press(pressed)
        assert target.input_value() == wanted
        again.press("Enter")


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
