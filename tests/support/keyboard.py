"""A person without a mouse: keys alone, and at each step the focus must be in sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.async_api import Page

MOST = 250
"""Steps to somewhere, at most."""
_FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const box = one.getClientRects()[0] || one.getBoundingClientRect();
  const left = Math.max(box.left, 0), right = Math.min(box.right, innerWidth);
  const top = Math.max(box.top, 0), bottom = Math.min(box.bottom, innerHeight);
  const places = [[left + Math.min(20, (right - left) / 2), top + Math.min(20, (bottom - top) / 2)],
    [(left + right) / 2, (top + bottom) / 2]];
  const there = places.map(([x, y]) => document.elementFromPoint(x, y));
  return {
    name: one.getAttribute("name") || "", id: one.id, href: one.getAttribute("href") || "", tag: one.localName,
    value: one.value ?? "", words: (one.innerText || "").trim(),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: left < right && top < bottom && there.some((it) => it && (one.contains(it) || it.contains(one))),
  };
}"""


@dataclass(frozen=True, slots=True)
class Keyboard:
    """Of one page."""

    page: Page

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def type(self, text: str) -> None:
        await self.page.keyboard.type(text)

    async def at(self) -> dict[str, Any]:
        """What has the focus."""
        found: dict[str, Any] = await self.page.evaluate(_FOCUS)
        return found

    async def to(self, *, by: str = "Tab", **wanted: str) -> dict[str, Any]:
        """Step until what has the focus is so; on the way each must be seen, and be seen to have it."""
        for _ in range(MOST):
            await self.press(by)
            found = await self.at()
            if found["tag"] == "body":  # the round goes through the browser's own window
                continue
            assert found["outlined"], f"nobody sees that this has the focus: {found}"
            assert found["seen"], f"this has the focus and is not in sight: {found}"
            if all(found[name] == value for name, value in wanted.items()):
                return found
        raise AssertionError(f"no way to {wanted} by {by}")

    async def choose(self, value: str) -> None:
        """The option of the field that has the focus."""
        await self.press("Home")
        for _ in range(MOST):
            if (await self.at())["value"] == value:
                return
            await self.press("ArrowDown")
        raise AssertionError(f"there is no option {value}")
