"""The page in a real Chromium: by keys, by touch, reloaded, twice, with 200 classes, in the dark."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import browser, colours, contrast, luminance, needed, phone, scheme
from dalcli_runner import ok
from label_pages import Served, handed_out, serving
from PIL import Image
from workspaces import ask, make

from dalcli.labeling.request import LabelRequest

needed()

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

LABELS = "SELECT c.name FROM standing_vote AS v LEFT JOIN class AS c ON c.position = v.class ORDER BY v.id"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def driver(chromium: Any) -> Iterator[Any]:
    """The one browser in a fresh tab; whatever it had to complain about fails the test."""
    chromium.switch_to.new_window("tab")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    scheme(chromium, "light")
    chromium.get_log("browser")
    yield chromium
    complaints = [
        entry
        for entry in chromium.get_log("browser")
        if "Content Security" in entry["message"] or entry["source"] == "javascript"
    ]
    while len(chromium.window_handles) > 1:
        chromium.switch_to.window(chromium.window_handles[-1])
        chromium.close()
    chromium.switch_to.window(chromium.window_handles[0])
    assert complaints == []


class Page:
    """What somebody sees and does."""

    def __init__(self, driver: Any, served: Served) -> None:
        self.driver = driver
        driver.get(served.page.address)
        self.until(lambda: self.picture() or self.text("#end-title"))

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 15
        while not holds():
            assert time.monotonic() < deadline, (self.done(), self.text("#error"), self.text("#end-title"))
            time.sleep(0.02)

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def picture(self) -> str:
        """The id of the image that is seen, if one is."""
        script = (
            "const i = document.querySelector('#frame:not(.busy) img');"
            "return i && i.complete && i.naturalWidth ? i.src.split('/').pop() : '';"
        )
        return str(self.driver.execute_script(script))

    def keys(self, *keys: str) -> None:
        actions = ActionChains(self.driver)
        if keys[0] == Keys.CONTROL:
            actions.key_down(keys[0]).send_keys(*keys[1:]).key_up(keys[0]).perform()
        else:
            actions.send_keys(*keys).perform()

    def answer(self, *keys: str) -> None:
        """Press keys, and wait for the next image."""
        before = self.picture()
        self.keys(*keys)
        self.until(lambda: self.picture() != before and (self.picture() or self.text("#end-title")))

    def done(self) -> str:
        return self.text("#done")

    def classes(self) -> list[str]:
        return [each.text for each in self.driver.find_elements(By.CSS_SELECTOR, ".class .name")]


def of_classes(root: Path, names: list[str], count: int = 4) -> Path:
    """A workspace whose classes have these names, with a batch out."""
    root.mkdir(parents=True)
    (root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0\n")
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    for number in range(count):
        Image.new("RGB", (300, 200), (40 * number, 99, 20)).save(root / f"{number}.png")
    ok(root, "init", *(f"{number}.png" for number in range(count)), "--classes", "classes.txt")
    ok(root, "query", "--budget", str(count), "--strategy", "random")
    return root


def guess(root: Path, position: int) -> None:
    connection = sqlite3.connect(root / ".dalcli" / "state.db")
    connection.execute("UPDATE batch_row SET pseudo_label = ?, confidence = 0.874", (position,))
    connection.commit()
    connection.close()


def test_a_batch_is_labeled_by_keys_alone(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4)
    with serving(root, LabelRequest(annotator="ann")) as served:
        page = Page(driver, served)
        assert (page.done(), page.text("#who")) == ("0 of 4", "ann")
        page.answer("1")
        page.answer("2")
        page.answer(Keys.ARROW_RIGHT)
        page.keys("+")
        page.until(lambda: page.find("#missing-dialog").is_displayed())
        page.answer("fox", Keys.ENTER)
        page.until(lambda: page.text("#end-title") == "All done")
        assert page.done() == "4 of 4"
        assert "an hour" in page.text("#pace")
        assert ask(root, "SELECT count(*) FROM standing_vote WHERE annotator = 'ann' AND seconds < 60") == [(4,)]
        page.keys(Keys.ARROW_LEFT)  # from the end, too
        page.until(lambda: page.picture() and page.done() == "3 of 4")
        assert sorted(str(row[0]) for row in ask(root, LABELS)) == ["None", "cat", "dog"]
        assert ok(root, "status", "--json").json["proposed_classes"] == {}


def test_undo_shows_the_image_again_and_a_reload_loses_nothing(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4)
    with serving(root) as served:
        page = Page(driver, served)
        first = page.picture()
        page.answer("1")
        second = page.picture()
        page.answer("2")
        driver.refresh()
        page.until(page.picture)
        assert page.done() == "2 of 4"
        page.answer(Keys.BACKSPACE)
        assert (page.picture(), page.done()) == (second, "1 of 4")
        page.answer(Keys.CONTROL, "z")
        assert (page.picture(), page.done()) == (first, "0 of 4")
        assert not page.find("#undo").is_enabled()
        page.answer("2")
        assert page.picture() == second
    assert [row[0] for row in ask(root, LABELS)] == ["dog"]


def test_a_server_that_was_killed_costs_no_answer(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    with serving(root, LabelRequest(token="t" * 16)) as served:
        page = Page(driver, served)
        shown, port = page.picture(), served.port
    page.keys("1")
    page.until(lambda: "does not answer" in page.text("#error"))
    assert page.picture() == shown  # nothing goes on until it is recorded
    with serving(root, LabelRequest(token="t" * 16, port=port)):
        page.answer("1")
        assert not page.find("#error").is_displayed()
    assert [row[0] for row in ask(root, LABELS)] == ["cat"]


def test_two_tabs_show_two_images_and_a_closed_one_gives_its_image_back(driver: Any, tmp_path: Path) -> None:
    with serving(handed_out(tmp_path / "w", 2)) as served:
        first = Page(driver, served).picture()
        left = driver.current_window_handle
        driver.switch_to.new_window("tab")
        page = Page(driver, served)
        second = page.picture()
        assert second != first
        page.answer("1")
        assert page.text("#end-title") == "Nothing left for you"
        assert "last 1" in page.text("#end-text")
        here = driver.current_window_handle
        driver.switch_to.window(left)
        driver.close()
        driver.switch_to.window(here)
        page.until(lambda: page.picture() == first)


def test_the_guess_is_marked_not_chosen_and_can_be_hidden(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4)
    guess(root, 1)
    with serving(root) as served:
        page = Page(driver, served)
        assert page.text(".class.guess .name") == "dog"
        assert page.text(".class.guess .model") == "model 87%"
        page.keys(Keys.ENTER)  # agrees with nothing
        time.sleep(0.3)
        assert page.done() == "0 of 4"
        page.answer("=")
        assert page.text("#guesses") == "model right: 1 of 1 (100%)"
        page.answer("1")
        assert page.text("#guesses") == "model right: 1 of 2 (50%)"
        page.keys("#")
        page.until(lambda: not driver.find_elements(By.CSS_SELECTOR, ".class.guess"))
        page.keys("=")
        page.answer("1")
        assert page.done() == "3 of 4"
        page.keys("#")
    assert [row[0] for row in ask(root, LABELS)] == ["dog", "cat", "cat"]


def test_two_hundred_classes_are_found_by_typing(driver: Any, tmp_path: Path) -> None:
    names = [f"species {number:03d}" for number in range(197)] + ["Café crème", "great owl", "owlet"]
    root = of_classes(tmp_path / "w", names)
    guess(root, 150)
    with serving(root) as served:
        page = Page(driver, served)
        assert len(page.classes()) == 200
        assert page.classes()[:2] == ["species 150", "species 000"]  # the guess stands first
        page.keys("owl")
        assert page.classes() == ["owlet", "great owl"]  # names that begin with it, then words that do
        page.answer(Keys.ENTER)
        page.keys("cafe cr")  # digits and accents need not be typed as they are
        assert page.classes() == ["Café crème"]
        page.answer(Keys.ENTER)
        page.keys("/042")
        page.answer(Keys.ARROW_DOWN, Keys.ENTER)
        page.keys("zzz")
        assert page.find("#nothing-found").is_displayed()
        page.keys(Keys.ENTER)
        page.keys(Keys.ESCAPE)
        assert len(page.classes()) == 200
        page.answer("1")
    labels = {row[0] for row in ask(root, LABELS)}
    assert labels == {"owlet", "Café crème", "species 042", "species 000"}


def test_classes_called_by_digits_have_those_keys(driver: Any, tmp_path: Path) -> None:
    root = of_classes(tmp_path / "w", [str(number) for number in range(10)], 2)
    with serving(root) as served:
        page = Page(driver, served)
        page.answer("0")
        page.answer("7")
    assert sorted(row[0] for row in ask(root, LABELS)) == ["0", "7"]


def test_zoom_shows_every_pixel_and_moves_by_keys(driver: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "w", 1)
    Image.new("RGB", (3000, 2000), (200, 40, 90)).save(root / "large.jpg")
    ok(root, "pool", "add", "large.jpg")
    ok(root, "query", "--budget", "2")
    with serving(root) as served:
        page = Page(driver, served)
        if driver.execute_script("return document.querySelector('#frame img').naturalWidth") == 4:
            assert driver.execute_script("return document.querySelector('#frame img').className") == "tiny"
            page.answer("1")
        width = "return document.querySelector('#frame img').getBoundingClientRect().width"
        left = "return document.querySelector('#frame').scrollLeft"
        assert driver.execute_script(width) < 1000
        page.keys(Keys.SPACE)
        assert driver.execute_script(width) == 3000
        at = driver.execute_script(left)
        page.keys(Keys.ARROW_RIGHT)
        page.until(lambda: driver.execute_script(left) > at)
        page.keys(Keys.SPACE)
        assert driver.execute_script(width) < 1000
        page.find("#frame img").click()
        assert driver.execute_script(width) == 3000


def test_photographs_stand_upright(driver: Any, tmp_path: Path) -> None:
    root = make(tmp_path / "w", 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40), (200, 40, 90)).save(root / "turned.jpg", exif=exif)
    ok(root, "pool", "add", "turned.jpg")
    ok(root, "query", "--budget", "2")
    with serving(root) as served:
        page = Page(driver, served)
        sizes = set()
        for _ in range(2):
            sizes.add(
                tuple(
                    driver.execute_script(
                        "const i = document.querySelector('#frame img'); return [i.naturalWidth, i.naturalHeight]"
                    )
                )
            )
            page.answer("1")
        assert sizes == {(4, 4), (40, 80)}


def test_an_image_that_is_gone_says_so_and_is_skipped(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    (root / ok(root, "batch", "show", "b-0001", "--csv").rows[0]["path"]).unlink()
    with serving(root) as served:
        driver.get(served.page.address)
        page = Page.__new__(Page)
        page.driver = driver
        page.until(lambda: "missing" in page.text("#note"))
        page.answer(Keys.ARROW_RIGHT)
        page.until(lambda: page.done() == "1 of 2")
        assert not page.find("#note").is_displayed()
        driver.get_log("browser")


def test_a_batch_released_meanwhile_is_over(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 3)
    with serving(root) as served:
        page = Page(driver, served)
        ok(root, "batch", "release", "b-0001")
        page.answer("1")
        assert page.text("#end-title") == "All done"
        ok(root, "query", "--budget", "1", "--strategy", "random")
        page.until(page.picture)  # it is noticed without a reload


def test_disputes_are_shown_with_what_was_said(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 1)
    sample = ok(root, "batch", "show", "b-0001", "--csv").rows[0]["sample_id"]
    (root / "l.csv").write_text(f"sample_id,label,annotator\n{sample},cat,ann\n{sample},dog,<b>bob</b>\n")
    ok(root, "ingest-labels", "l.csv")
    with serving(root, LabelRequest(relabel=True, annotator="ann")) as served:
        page = Page(driver, served)
        assert "ann: cat" in page.text("#said")
        assert "<b>bob</b>: dog" in page.text("#said")  # as text
        page.answer("2")
        assert "disputed" in page.text("#end-text")
    assert ok(root, "status", "--json").json["states"]["training"]["labeled"] == 1


def test_who_labels_can_be_changed(driver: Any, tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 3)
    with serving(root) as served:
        page = Page(driver, served)
        assert page.text("#who") == "no name"
        page.find("#who").click()
        page.keys("bob", Keys.ENTER)
        page.until(lambda: page.text("#who") == "bob")
        page.answer("1")
        driver.refresh()
        page.until(page.picture)
        page.answer("1")
    assert ask(root, "SELECT DISTINCT annotator FROM vote") == [("bob",)]


def test_a_narrow_screen_that_is_touched_has_all_of_it(driver: Any, tmp_path: Path) -> None:
    names = [f"class number {number}" for number in range(40)]
    with serving(of_classes(tmp_path / "w", names)) as served:
        phone(driver)
        page = Page(driver, served)
        inside = """return [...document.querySelectorAll('#frame img, #search, #skip, #undo, #missing, #zoom, #done')]
            .every((e) => { const b = e.getBoundingClientRect();
            return b.width > 0 && b.left >= 0 && b.right <= innerWidth && b.top >= 0 && b.bottom <= innerHeight; })"""
        assert driver.execute_script(inside)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        heights = "return [...document.querySelectorAll('.class, #others button')].map((e) => e.offsetHeight)"
        assert min(driver.execute_script(heights)) >= 44
        assert not page.find("#skip kbd").is_displayed()
        before = page.picture()
        page.find(".class").click()
        page.until(lambda: page.picture() not in {"", before})
        assert page.done() == "1 of 4"


@pytest.mark.parametrize("name", ["light", "dark"])
def test_contrast_of_every_text_is_enough(driver: Any, tmp_path: Path, name: str) -> None:
    """WCAG 2.2 AA (1.4.3): 4.5 to 1, for text as it is drawn."""
    root = handed_out(tmp_path / "w", 3)
    guess(root, 1)
    scheme(driver, name)
    with serving(root, LabelRequest(annotator="ann")) as served:
        page = Page(driver, served)
        page.answer("1")
        driver.execute_script("""for (const id of ['error', 'said', 'nothing-found', 'note', 'end']) {
            const e = document.getElementById(id); e.hidden = false; e.textContent ||= 'x'; }
            document.querySelector('#proposal-problem').textContent = 'x';
            for (const d of document.querySelectorAll('dialog')) d.show();""")
        found = colours(driver)
        assert len(found) > 25
        body = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (luminance(body) < 0.1) == (name == "dark")
        assert [each for each in found if contrast(each[1], each[2]) < 4.5] == []


def test_everything_has_a_name_for_readers(driver: Any, tmp_path: Path) -> None:
    with serving(handed_out(tmp_path / "w", 2)) as served:
        page = Page(driver, served)
        page.until(page.picture)
        nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = {"button", "searchbox", "textbox", "image", "progressbar"}
        controls = [node for node in nodes if node.get("role", {}).get("value") in roles and not node["ignored"]]
        assert len(controls) >= 8
        assert [node for node in controls if not node.get("name", {}).get("value")] == []
        page.answer("1")
        page.until(lambda: driver.execute_script("return document.querySelector('#announce').textContent") != "")
