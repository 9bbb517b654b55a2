"""A report in a real Chromium: at three widths, light and dark, and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import browser, colours, contrast, luminance, needed, scheme
from dalcli_runner import ok
from planned_workspaces import planned
from report_pages import SECTIONS

needed()

ROUNDS = {0: [], 1: [60], 5: [60, 120, 200, 300, 420], 12: [60 * n for n in range(1, 13)]}
LONG = "x" * 300


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    made = {}
    for rounds, sizes in ROUNDS.items():
        root = planned(tmp_path_factory.mktemp("report") / f"r{rounds}", sizes, config="plan: {target: 0.9}")
        ok(root, "classes", "rename", "cat", LONG)
        made[rounds] = root / "report.html"
        ok(root, "report", "--output", made[rounds])
    return made


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def show(driver: Any, page: Path, width: int, name: str = "light") -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme(driver, name)
    driver.get(page.as_uri())


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_and_nothing_is_missing(
    driver: Any, pages: dict[int, Path], rounds: int, width: int
) -> None:
    driver.get_log("browser")
    show(driver, pages[rounds], width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    drawn = driver.execute_script("return [...document.querySelectorAll('section')].map((e) => [e.id, e.offsetHeight])")
    assert [name for name, _ in drawn] == SECTIONS
    assert min(height for _, height in drawn) > 30
    # Each section says something: a table, a drawing, pictures or a sentence, beside its heading.
    silent = driver.execute_script(
        "return [...document.querySelectorAll('section')].filter((e) => !e.querySelector('table, svg, figure, p, dl'))"
        ".map((e) => e.id)"
    )
    assert silent == []
    wide = driver.execute_script(
        "return [...document.querySelectorAll('section *')].filter((e) => e.getClientRects().length &&"
        " e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, [tabindex=\"0\"]'))"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("name", ["light", "dark"])
def test_contrast_of_every_text_is_enough(driver: Any, pages: dict[int, Path], name: str) -> None:
    """WCAG 2.2 AA (1.4.3): 4.5 to 1, for text as it is drawn."""
    for page in pages.values():
        show(driver, page, 1280, name)
        body = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (luminance(body) < 0.1) == (name == "dark")
        found = colours(driver)
        assert len(found) > 30
        assert [each for each in found if contrast(each[1], each[2]) < 4.5] == []


@pytest.mark.parametrize("name", ["light", "dark"])
def test_contrast_of_charts_and_shades(driver: Any, pages: dict[int, Path], name: str) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for what is written into a chart or on a shade, 3 to 1 (1.4.11) for what is drawn."""
    show(driver, pages[12], 1280, name)
    ground = driver.execute_script("return getComputedStyle(document.querySelector('section')).backgroundColor")
    drawn = driver.execute_script("""
        return [...document.querySelectorAll('.chart.wide *')].map((e) => [e.className.baseVal, getComputedStyle(e)])
            .filter(([kind]) => kind).map(([kind, s]) => [kind, s.fill, s.stroke]);""")
    strokes = {"target", "whisker", "forecast", "measured", "past"}
    seen = {kind: stroke if kind in strokes else fill for kind, fill, stroke in drawn}
    assert seen.keys() >= {"scale", "axis", "point", "training", "target", "whisker", "measured"}
    for kind in seen.keys() - {"grid", "tick", "band"}:  # the band is told by the lines in it
        least = 4.5 if kind in {"scale", "axis"} else 3.0
        assert contrast(seen[kind], ground) >= least, (kind, seen[kind], ground)
    shades = driver.execute_script("""
        const row = document.querySelector('table.heat tbody tr');
        return [...Array(10).keys()].map((n) => { const cell = row.appendChild(document.createElement('td'));
            cell.className = `h${n}`; const s = getComputedStyle(cell); return [s.color, s.backgroundColor]; });""")
    assert len({ground for _, ground in shades}) == 10
    assert [pair for pair in shades if contrast(*pair) < 4.5] == []


def test_it_is_read_by_keys_alone(driver: Any, pages: dict[int, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(driver, pages[12], 1280)
    reached = []
    for _ in range(20):
        ActionChains(driver).send_keys(Keys.TAB).perform()
        reached.append(driver.execute_script("const e = document.activeElement; return e.getAttribute('href') || e.id"))
        ring = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none" or reached[-1] in (None, ""), reached
    assert {f"#{name}" for name in SECTIONS} <= set(reached)


def test_on_paper_it_is_a4_and_light(driver: Any, pages: dict[int, Path]) -> None:
    show(driver, pages[12], 1280, "dark")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    body = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert body in {"rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"}
    ink = [each for each in colours(driver) if luminance(each[1]) > 0.4]
    assert ink == []
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    assert len(printed) > 10_000
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
