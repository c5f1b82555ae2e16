"""What the browser tests of the explorers share: hands to operate them, and eyes."""

from __future__ import annotations

from typing import Any

from explorer_cases import Case
from playwright.sync_api import Frame, Locator, Page

from d2lutils.explorers import Control
from d2lutils.explorers.base import num

ROLES: dict[str, Any] = {
    "range": "slider",
    "number": "spinbutton",
    "select": "combobox",
    "checkbox": "checkbox",
}


def live_root(where: Page | Frame, name: str) -> Locator:
    """The explorer's root once its script has taken hold of it."""
    selector = f'[data-explorer="{name}"]'
    where.wait_for_function("s => document.querySelector(s)?.compute", arg=selector)
    return where.locator(selector)


def verdict(root: Locator) -> str:
    """What a screen reader announces."""
    return root.get_by_role("status").inner_text()


def operate(root: Locator, control: Control, value: Any) -> None:
    """Set one control, found by the name that a screen reader says."""
    if control.kind == "hidden":
        now = root.locator(f'input[name="{control.name}"]')
        if float(now.input_value()) != value:
            # The part that is drawn last lies on top.
            part = f'[data-set="{control.name}"][data-to="{num(value)}"]'
            root.locator(part).last.click()
        assert float(now.input_value()) == value
        return
    target = root.get_by_role(ROLES[control.kind], name=control.label, exact=True)
    if control.kind == "select":
        target.select_option(value)
    elif control.kind == "checkbox":
        target.set_checked(value)
    else:
        target.fill(num(value))


def operate_by_keys(root: Locator, case: Case, typed_before: str = "") -> None:
    """Change a setting by a key and start over; press the part that Tab leads to.

    ``typed_before`` are keys that do nothing on these controls.
    """
    explorer, press = case.make(), root.page.keyboard.press
    again = root.get_by_role("button", name="Start over")
    control, key, value = case.press
    root.locator(f'[name="{control}"]').focus()
    for pressed in (*typed_before, key):
        press(pressed)
    assert verdict(root) == explorer.words(**{control: value})[0]
    again.press("Enter")
    assert verdict(root) == explorer.words()[0]
    part = root.locator('svg [data-set][tabindex="0"]')
    if part.count():
        target = root.locator(f'[name="{part.get_attribute("data-set")}"]')
        wanted = part.get_attribute("data-to")
        part.focus()
        for pressed in (*typed_before, "Enter"):
            press(pressed)
        assert target.input_value() == wanted
        again.press("Enter")


# Contrast of every visible text with what is painted right behind it. axe does not
# judge text in an SVG.
CONTRAST = r"""root => {
const rgb = (color) => color.match(/[\d.]+/g).map(Number);
const luminance = (color) => {
  const [r, g, b] = color.slice(0, 3).map((v) =>
    (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const drawn = (e) => e instanceof SVGElement && e.localName !== "svg";
const painted = (e) => {
  const s = getComputedStyle(e);
  if (!drawn(e)) return rgb(s.backgroundColor)[3] === 0 ? null : rgb(s.backgroundColor);
  const paint = [s.fill, s.stroke].find((color) => color !== "none");
  return e.localName !== "text" && paint ? rgb(paint) : null;
};
const ancestors = (e) => e ? [e, ...ancestors(e.parentElement)] : [];
const texts = [...root.querySelectorAll("*")].filter((e) =>
  !e.closest("style, script, legend, option") && e.checkVisibility()
  && (e.matches("input[type=number], select")
    || [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())));
return texts.map((e) => {
  e.scrollIntoView({ block: "center" });
  const { x, y, width, height } = e.getBoundingClientRect();
  const there = document.elementsFromPoint(x + width / 2, y + height / 2);
  const at = there.indexOf(e); // words in two lines may not reach their middle
  const behind = (at < 0 ? ancestors(e) : there.slice(at)).map(painted).find(Boolean);
  const s = getComputedStyle(e);
  const [light, dark] = [rgb(drawn(e) ? s.fill : s.color), behind ?? [255, 255, 255]]
    .map(luminance).sort((a, b) => b - a);
  return { text: e.textContent || e.value, ratio: (light + 0.05) / (dark + 0.05) };
});
}"""

# Texts of the picture that overlap, leave the picture, or leave their box.
CLIPPED = r"""root => {
const svg = root.querySelector("svg"), view = svg.getBoundingClientRect(), found = [];
const boxes = [...svg.querySelectorAll("rect")].map((e) => e.getBoundingClientRect());
const texts = [...svg.querySelectorAll("text")].filter((e) => e.textContent.trim());
const inside = (a, b) => a.left >= b.left - 0.5 && a.right <= b.right + 0.5
  && a.top >= b.top - 1.5 && a.bottom <= b.bottom + 1.5;
texts.forEach((e, i) => {
  const a = e.getBoundingClientRect(), x = a.x + a.width / 2, y = a.y + a.height / 2;
  if (!inside(a, view)) found.push(`outside the picture: ${e.textContent}`);
  for (const b of boxes)
    if (x > b.left && x < b.right && y > b.top && y < b.bottom && !inside(a, b))
      found.push(`outside its box: ${e.textContent}`);
  for (const other of texts.slice(i + 1)) {
    const b = other.getBoundingClientRect();
    if (a.left < b.right - 1 && b.left < a.right - 1
        && a.top < b.bottom - 3 && b.top < a.bottom - 3)
      found.push(`overlap: ${e.textContent} | ${other.textContent}`);
  }
});
return found;
}"""
