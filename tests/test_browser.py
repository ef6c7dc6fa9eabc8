"""The report in a headless browser: no error, no request, nothing cut off, nothing in the way of a reader."""

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from judgedcheckout import make_root, real
from windowsets import example_windows, series_windows, text_windows

from unrolled.report import report_files

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SCREENS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: chromium, google-chrome or chrome"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report on real data, one on stand-ins with a hostile name, and the committed one."""
    windows = [series_windows(110, name="log_return"), example_windows(), text_windows(2450)]
    found = {"committed": ROOT / "reports" / "index.html"}
    for name, chosen in (("real", [real(w) for w in windows]), ("stand-in", windows)):
        root = make_root(tmp_path_factory.mktemp(name), *chosen, missing=("<script>document.title='broken'</script>",))
        found[name] = root / "index.html"
        found[name].write_text(report_files(root)["index.html"])
    return found


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[tuple[Any, list[str]]]:
    """The page at one width and colour scheme, and all that it complained of or asked for."""
    name, (width, scheme) = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page, said = context.new_page(), []
    address = pages[name].as_uri()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith((address, "data:")) else None)
    page.goto(address)
    yield page, said
    context.close()


EVERY = [(name, screen) for name in ("real", "stand-in", "committed") for screen in SCREENS]
NAMES = [f"{name}-{width}-{scheme}" for name, (width, scheme) in EVERY]


@pytest.mark.parametrize("opened", EVERY, indirect=True, ids=NAMES)
def test_it_opens_without_an_error_or_a_request_and_fits(opened: tuple[Any, list[str]]) -> None:
    page, said = opened
    assert page.title() == "unrolled: report"
    drawings = page.locator("svg[role=img]:visible")
    assert drawings.count() > 0
    boxes = [drawing.bounding_box() for drawing in drawings.all()]
    assert all(box["width"] > 100 and box["height"] > 100 for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert said == []


@pytest.mark.parametrize("opened", EVERY, indirect=True, ids=NAMES)
def test_nothing_is_in_the_way_of_a_reader(opened: tuple[Any, list[str]]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page, _ = opened
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    # Every rule is applied either way; without this it also tells of all that is well, which takes twice as long.
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("opened", [("real", SCREENS[0]), ("real", SCREENS[2])], indirect=True, ids=["wide", "phone"])
def test_values_are_read_out_under_the_pointer_and_by_keys(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    figure = page.locator("[data-lines]").first
    readout = figure.locator(".readout")
    figure.focus()
    page.keyboard.press("Home")
    first = readout.inner_text()
    assert re.match(r"\w{3} 20\d\d-\d\d-\d\d: actual \d+ GWh, gru-0 ", first)
    page.keyboard.press("ArrowRight")
    assert readout.inner_text() != first
    drawing = figure.locator("svg:visible")
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 16, box["y"] + box["height"] / 2)
    page.keyboard.press("End")
    last = readout.inner_text()
    page.keyboard.press("Home")
    page.mouse.move(box["x"] + box["width"] - 15, box["y"] + box["height"] / 2)
    assert readout.inner_text() == last
    assert figure.locator("svg:visible .pointer.shown").count() == 1


@pytest.mark.parametrize("opened", [("real", SCREENS[0])], indirect=True, ids=["wide"])
def test_the_skip_link_and_the_tables_are_reached_by_keyboard(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    scrolling = page.evaluate(
        "[...document.querySelectorAll('*')].filter((e) => e.scrollWidth > e.clientWidth + 1 && "
        "['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).every((e) => e.tabIndex === 0)"
    )
    assert scrolling
