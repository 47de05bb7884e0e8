"""The report in a browser: clicked through in headless Chromium, without a network, without a word on the console."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from shardtools.curation.edits import check_edits
from shardtools.curation.edits_file import read_edits_file
from shardtools.errors import SourceError
from shardtools.report import ReportOptions, write_report
from tests.helpers.report_pages import HOSTILE, HOSTILE_KEY, fashion_dataset, write, write_noise

NUM_SUSPECTS = 40
# A busy machine is no bug.
TIMEOUT_MILLISECONDS = 300_000

# What the page does on an event is done when the event is; `expect` waits for what the browser does in its own time: it
# fills cards, and draws those that are filled or moved, with its next frame.
expect.set_options(timeout=TIMEOUT_MILLISECONDS)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    classes = [HOSTILE, *(f"class-{number}" for number in range(1, 5))]
    facts = {"prompt": HOSTILE, "prompt_template": "a photo of c", "scene": HOSTILE, "guidance_scale": 2.0}
    keys = fashion_dataset(folder / "photos", 80, test_from=40, classes=classes, odd_keys={0: HOSTILE_KEY}, **facts)
    images = [key for row, key in enumerate(keys) if row >= 40 or row % 10 != 9]
    suggested = [None if row == 3 else row % 4 + 1 for row in range(NUM_SUSPECTS)]
    score = [abs(row - 20) / 20 for row in range(NUM_SUSPECTS)]
    write_noise(folder / "photos", images[:NUM_SUSPECTS], suggested=suggested, agreement=score)
    write_summary(folder / "photos" / "overlays" / "label_noise")
    write(
        folder / "photos",
        "duplicate_pairs",
        key=[images[0], images[1], images[2]],
        other_key=[images[50], images[3], "elsewhere"],
        other_dataset=[str(folder / "photos"), str(folder / "photos"), "s3://bucket/other"],
        other_split=["test", "train", "test"],
        kind=["perceptual", "exact", "perceptual"],
        distance=[7.0, 0.0, 12.0],
    )
    write(folder / "photos", "quality", key=images, brightness=[row / 80 for row in range(len(images))])
    nearest = pa.array([row % 2 for row in range(len(images))], pa.int32())
    write(folder / "photos", "nearest_class", key=images, nearest=nearest)
    write_report(folder / "photos", folder / "report.html", ReportOptions(title=HOSTILE, num_outliers=3))
    return folder / "report.html"


def write_summary(overlay: Path) -> None:
    """What an audit expects of its suspects, beside its overlay."""
    share = {"low": 0.1, "estimate": 0.25, "high": 0.5}
    cuts = [{"num_samples": n, "threshold": level, "precision": share, "recall": share} for n, level in ((21, 0.5),)]
    facts = {"num_audited": 70, "confidence": 0.9, "noise_rate": share, "cuts": cuts}
    sha256 = hashlib.sha256((overlay / "overlay.json").read_bytes()).hexdigest()
    head = {"format": "shardtools-label-audit", "format_version": 1, "overlay_sha256": sha256}
    (overlay / "summary.json").write_text(json.dumps(head | facts))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path is not None, "apt-get install chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@dataclass(slots=True)
class Opened:
    """A page in a fresh profile, and all that it said and asked for."""

    page: Page
    words: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def keys(self) -> list[str]:
        """Keys of the cards that are shown, in order; those far below the screen are not filled."""
        expect(self.page.locator(".view:not([hidden]) .card").first).not_to_be_empty()
        found: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('.view:not([hidden]) .card .key bdi')].map((one) => one.textContent)"
        )
        return found

    def focused(self) -> str:
        found: str = self.page.evaluate("document.activeElement.querySelector('.key bdi').textContent")
        return found

    def shown(self, name: str) -> str:
        return self.page.locator(f"#{name}-shown").inner_text()

    def edits(self, folder: Path) -> dict[str, object]:
        with self.page.expect_download() as download:
            self.page.click("#download")
        assert download.value.suggested_filename == "edits.json"
        download.value.save_as(folder / "edits.json")
        found: dict[str, object] = json.loads((folder / "edits.json").read_bytes())
        return found


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.words.append(message.text))
    found.page.on("pageerror", lambda error: found.words.append(str(error)))
    found.page.on("dialog", lambda dialog: dialog.accept())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(f"{report.as_uri()}#suspects")
    yield found
    context.close()
    assert found.words == []
    assert {url.split(":")[0] for url in found.requests} <= {"file", "data", "blob"}
    assert {url.split("#")[0] for url in found.requests if url.startswith("file:")} == {report.as_uri()}


def test_sections_filters_and_order(opened: Opened) -> None:
    page = opened.page
    assert page.locator("h1").inner_text().startswith("<script>alert(1)</script>")
    assert page.evaluate("document.querySelectorAll('h1 script, .card script, img[src=x]').length") == 0
    assert opened.shown("suspects") == "40 of 40 shown"
    assert opened.keys()[:2] == [HOSTILE_KEY, "image00001"]

    page.select_option("#suspects-suggested", "2")
    assert opened.shown("suspects") == "10 of 40 shown"
    page.select_option("#suspects-split", "test")
    few = opened.shown("suspects")
    assert few == "1 of 40 shown"
    page.select_option("#suspects-split", "")
    page.select_option("#suspects-suggested", "")
    page.locator("#suspects-least").fill("0.9")
    assert opened.shown("suspects") == "5 of 40 shown"
    page.locator("#suspects-least").fill("0")
    page.fill("#suspects-key", "IMAGE0001")
    assert opened.shown("suspects") == "9 of 40 shown"
    page.fill("#suspects-key", "no such key")
    assert opened.shown("suspects") == "0 of 40 shown"
    page.fill("#suspects-key", "")

    page.select_option("#suspects-sort", "score0")
    assert opened.keys()[0] == HOSTILE_KEY
    page.select_option("#suspects-order", "up")
    lowest = opened.keys()[0]
    assert lowest != HOSTILE_KEY
    page.select_option("#suspects-sort", "key")
    assert opened.keys()[0] == HOSTILE_KEY
    assert page.input_value("#suspects-order") == "up"

    for number, anchor in enumerate(("overview", "suspects", "duplicates", "quality", "classes", "prompts"), start=1):
        page.locator("h1").click()
        page.keyboard.press(str(number))
        assert page.locator(".view:visible").get_attribute("id") == anchor
        assert page.locator("nav a[aria-current]").get_attribute("href") == f"#{anchor}"


def test_a_key_acts_on_the_section_of_the_key_before(opened: Opened) -> None:
    page = opened.page
    press = "(key) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))"
    page.evaluate(f"['4', 'd'].forEach({press})")
    assert page.locator(".view:visible").get_attribute("id") == "quality"
    assert page.evaluate("document.activeElement.closest('.view').id") == "quality"
    assert page.locator("#quality .card[data-decision=drop]").count() == 1


def test_suspects_by_keyboard(opened: Opened, report: Path, tmp_path: Path) -> None:
    page = opened.page
    assert page.locator("#export").is_disabled()
    page.keyboard.press("j")
    assert opened.focused() == HOSTILE_KEY
    page.keyboard.press("d")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("r")
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("r")
    assert page.locator("#status").inner_text() == "There is no suggested label: press l to choose one"
    page.keyboard.press("l")
    page.keyboard.type("class-4")
    page.keyboard.press("Enter")
    assert opened.focused() == "image00003"
    page.keyboard.press("j")
    page.keyboard.press("d")
    page.keyboard.press("u")
    assert page.locator("#decided").inner_text() == "1 to drop, 2 to relabel, 1 right"
    page.keyboard.press("ArrowUp")
    assert opened.focused() == "image00001"
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert opened.focused() == HOSTILE_KEY
    page.keyboard.press("k")
    assert opened.focused() == HOSTILE_KEY
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Drop d"

    page.keyboard.press("/")
    page.keyboard.type("image00001")
    page.keyboard.press("Escape")
    assert opened.focused() == "image00001"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("d")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    assert "shardtools apply" in page.locator("#export-command").inner_text()
    edits = opened.edits(tmp_path)
    assert [(one["key"], one["action"]) for one in edits["edits"]] == [  # type: ignore[attr-defined]
        (HOSTILE_KEY, "drop"),
        ("image00001", "relabel"),
        ("image00003", "relabel"),
    ]
    assert [one.get("class_index") for one in edits["edits"]] == [None, 2, 4]  # type: ignore[attr-defined]
    check_edits_file(tmp_path / "edits.json", report)


def check_edits_file(path: Path, report: Path) -> None:
    """What `shardtools apply` makes of an exported file."""
    sha256 = hashlib.sha256((report.parent / "photos" / "dataset.json").read_bytes()).hexdigest()
    table = read_edits_file(str(path), dataset_sha256=sha256)
    checked = check_edits(table, keep=False, drop=False, where=str(path), error=SourceError)
    assert checked.table.num_rows == 3
    assert not checked.drops_others
    assert all(checked.table["reason"].to_pylist())


def test_decisions_stay_and_are_shared_by_the_sections(opened: Opened) -> None:
    page = opened.page
    page.locator(".card").first.get_by_role("button", name="Drop").click()
    page.select_option("#suspects-decision", "open")
    assert opened.shown("suspects") == "39 of 40 shown"
    page.reload()
    assert page.locator("#decided").inner_text() == "1 to drop"
    expect(page.locator(".card").first).to_have_attribute("data-decision", "drop")

    page.click("nav a[href='#duplicates']")
    assert opened.shown("pairs") == "3 of 3 shown"
    first = page.locator("#pairs-list > .card").first
    expect(first.locator(".badge.leak")).to_have_text("leak: test / train", use_inner_text=True)
    expect(first.locator(".key")).to_have_text(["image00054", HOSTILE_KEY], use_inner_text=True)
    assert first.locator(".copy").get_attribute("data-decision") == "drop"
    first.get_by_role("button", name="Drop right").click()
    assert page.locator("#decided").inner_text() == "Nothing decided yet"
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("f")
    assert page.locator("#status").inner_text() == "The left one is in another dataset"
    page.keyboard.press("d")
    assert page.locator("#decided").inner_text() == "1 to drop"
    page.select_option("#pairs-kind", "leak")
    assert opened.shown("pairs") == "2 of 3 shown"
    elsewhere = page.locator("#pairs-list .side").nth(2)
    expect(elsewhere).to_contain_text("s3://bucket/other", use_inner_text=True)
    assert elsewhere.inner_text().count("s3://bucket/other") == 1

    page.click("nav a[href='#quality']")
    assert opened.shown("outliers") == "6 of 6 shown"
    page.select_option("#outliers-kind", "1")
    assert opened.shown("outliers") == "3 of 6 shown"
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("d")
    assert page.locator("#decided").inner_text() == "2 to drop"
    page.click("#export")
    page.click("#forget")
    assert page.locator("#decided").inner_text() == "Nothing decided yet"


def test_a_cut_shows_its_suspects(opened: Opened) -> None:
    page = opened.page
    page.click("nav a[href='#suspects']")
    page.click("#suspects summary:has-text('What to expect')")
    assert "About 25.0% (10.0% to 50.0%) of 70 judged labels are wrong" in page.inner_text("#suspects")
    page.click("#suspects button[data-least]")
    assert page.inner_text("#suspects-least-value") == "0.50"
    assert page.inner_text("#suspects-shown") == f"21 of {NUM_SUSPECTS} shown"


def test_classes_lead_to_their_suspects(opened: Opened) -> None:
    page = opened.page
    page.click("nav a[href='#classes']")
    button = page.locator("button[data-given='0'][data-suggested='1']")
    button.click()
    assert page.locator(".view:visible").get_attribute("id") == "suspects"
    assert opened.shown("suspects") == "10 of 40 shown"
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_a_phone_and_a_browser_that_keeps_nothing(opened: Opened, report: Path) -> None:
    page = opened.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    page.reload()
    for anchor in ("overview", "suspects", "duplicates", "quality", "classes", "prompts"):
        page.click(f"nav a[href='#{anchor}']")
        expect(page.locator(f"#{anchor}")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), anchor
    page.click("nav a[href='#suspects']")
    assert not page.locator("#suspects-given").is_visible()
    page.locator(".card").first.get_by_role("button", name="Drop").click()
    assert "this browser stores nothing" in page.locator("#decided").inner_text()


def test_cards_are_filled_when_they_come_near(opened: Opened) -> None:
    page = opened.page
    page.set_viewport_size({"width": 600, "height": 400})
    page.reload()
    assert page.locator("#suspects-list > .card").count() == NUM_SUSPECTS
    expect(page.locator("#suspects-list > .card").first).not_to_be_empty()
    assert page.locator("#suspects-list > .card:not(:empty)").count() < NUM_SUSPECTS
    page.keyboard.press("j")
    page.keyboard.press("End")
    assert opened.focused() == opened.keys()[-1]
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_function("document.querySelector('#suspects-list > .card:last-child').childElementCount > 0")
