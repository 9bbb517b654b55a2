"""A real browser without a window: Chromium, driven by selenium. Where either is not, tests skip and say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def needed() -> None:
    """Skip where there is no browser."""
    pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[browser]'")
    if BROWSER is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")


@contextmanager
def browser(profile: Path, size: tuple[int, int] = (1280, 800), *flags: str) -> Iterator[Any]:
    """A browser with an empty profile."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", *flags):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def scheme(driver: Any, name: str) -> None:
    """``dark`` or ``light``, as the operating system would say."""
    features = [{"name": "prefers-color-scheme", "value": name}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def phone(driver: Any, width: int = 375, height: int = 700) -> None:
    """A narrow screen that is touched."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})


def colours(driver: Any) -> list[tuple[str, str, str]]:
    """Every element with text of its own that is drawn: what it is, the text's colour and that behind it."""
    found = driver.execute_script("""
        const ground = (e) => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor; if (c !== 'rgba(0, 0, 0, 0)') return c; }
            return 'rgb(255, 255, 255)'; };
        const ink = (e) => e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color;
        return [...document.querySelectorAll('body *')].filter((e) => e.getClientRects().length &&
            !['title', 'desc'].includes(e.tagName) &&
            ([...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.matches('input')))
            .map((e) => [e.outerHTML.slice(0, 60), ink(e), ground(e)]);""")
    return [(what, text, behind) for what, text, behind in found]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of two colours, as browsers write them: 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    values = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
