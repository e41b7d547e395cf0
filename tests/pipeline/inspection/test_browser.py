"""A person's walk through every screen in a real browser: keys, marks, two tabs, a slide that vanishes, a name with a script."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.inspection.browsing import Tab, open_browser, serving
from tests.pipeline.inspection.case import HOSTILE, case_of
from tests.pipeline.inspection.test_archive import xrays  # noqa: F401

MARKED = "tr[aria-selected=true], .cell[aria-selected=true]"
UNNAMED = """() => [...document.querySelectorAll('a, button, input, select, textarea, img, canvas[role], [role=application],'
    + '[role=listbox]')]
  .filter((element) => element.checkVisibility() && !(element.getAttribute('aria-label') || element.innerText?.trim() || element.title
    || element.hasAttribute('alt') || [...(element.labels ?? [])].some((label) => label.innerText.trim())))
  .map((element) => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture
def archive(made, tmp_path):
    folder = tmp_path / "slides"
    shutil.copytree(made / "slides", folder)
    return folder


@pytest.fixture
def served(runs, archive, tmp_path):
    """The case, and where it is served."""
    case = case_of(runs, tmp_path / "marks.sqlite", archive)
    with serving(case.pages) as place:
        yield case, place


@pytest.fixture
def context(browser):
    found = browser.new_context(viewport={"width": 1300, "height": 850})
    yield found
    found.close()


def test_the_list_is_sorted_filtered_and_opened(served, context):
    _, place = served
    tab = Tab(context, place)

    def rows():
        return tab.run(
            "[...document.querySelectorAll('tbody tr')].map((row) => row.querySelector('th').innerText)"
        )

    assert len(rows()) == 3
    assert tab.run("document.querySelector('th[aria-sort=descending]').innerText").startswith("Highest")
    tab.page.click("[data-sort=source]")
    tab.until(lambda: rows() == [f"{HOSTILE}.tif", "a.tif", "b.tif"][::-1], "sorted by name, downwards")
    tab.page.click("[data-sort=source]")
    tab.until(lambda: rows()[0] == f"{HOSTILE}.tif", "sorted by name, upwards")
    assert tab.run("document.activeElement.dataset.sort") == "source"  # the focus stays where it was
    tab.page.fill("[data-filter=text]", "onerror")
    tab.until(lambda: rows() == [f"{HOSTILE}.tif"], "filtered by name")
    tab.page.select_option("[data-filter=list]", "items")
    tab.until(lambda: len(rows()) == 42, "the tiles of that slide")
    assert tab.run("document.title") == "esad view: run/run, other/run"
    tab.go("view=list")
    tab.until(lambda: len(rows()) == 3, "all slides again")
    tab.key("Escape", "n")  # out of the field, where n is a letter
    tab.until(lambda: tab.state("slide") != "", "a slide is chosen by key")
    tab.page.click("text=b.tif")
    tab.until(lambda: tab.state("view") == "slide", "a click opens the slide")
    tab.ready_slide()
    assert "b.tif" in tab.text("#slide")
    assert (tab.faults, tab.dialogs) == ([], [])


def test_marks_by_key_are_kept_seen_in_a_second_tab_and_undone(served, context):
    case, place = served
    tab = Tab(context, place, "view=gallery", expected=("409",))
    tab.until(
        lambda: tab.run("document.querySelectorAll('.cell[data-row]').length") > 40, "the gallery is filled"
    )
    best = case.get("/api/list", limit=3)["rows"]
    tab.key("n")
    tab.until(lambda: tab.text("#item-name") == best[0]["item_id"], "the highest score is first")
    tab.key("2")
    tab.say_name("Ada")
    current = case.pages.marks.current
    tab.until(lambda: best[0]["item_id"] in current("item"), "marked")
    entry = current("item")[best[0]["item_id"]]
    assert (entry.mark, entry.reader) == ("anomaly", "Ada")
    tab.until(
        lambda: (
            tab.run("document.querySelector('[data-mark=anomaly]')?.getAttribute('aria-pressed')") == "true"
        ),
        "shown",
    )
    tab.key("u", "1")  # quicker than the page draws: the mark goes to the next open item
    tab.until(lambda: best[1]["item_id"] in current("item"), "the next one is marked")
    assert current("item")[best[1]["item_id"]].mark == "normal"
    tab.key("c")
    tab.page.keyboard.type("a nest <b>n</b>")
    tab.key("Control+Enter")
    tab.until(lambda: current("item")[best[1]["item_id"]].comment == "a nest <b>n</b>", "the comment is kept")
    tab.key("Escape")
    other = Tab(context, place, f"view=gallery&row={best[1]['row']}", expected=("409",))
    assert "a nest <b>n</b>" in other.text("#item")
    assert other.page.input_value("#comment") == "a nest <b>n</b>"
    case.mark(best[1]["row"], "unsure", reader="Bo")  # a third reader, whom this tab has not seen
    other.key("2")
    other.say_name("Cy")
    other.until(lambda: "Bo marked it unsure meanwhile" in other.text("#status"), "nothing is written over")
    assert current("item")[best[1]["item_id"]].reader == "Bo"
    other.until(lambda: "Bo" in other.text("#item"), "what Bo said is shown now")
    tab.page.bring_to_front()
    tab.run("window.dispatchEvent(new Event('focus'))")
    tab.until(lambda: "unsure, Bo" in tab.text("#item"), "the first tab sees it, too")
    case.client.post("/api/undo", json={"reader": "Bo"})
    for _ in range(3):
        tab.key("z")
    tab.until(lambda: current("item") == {}, "all of Ada's are undone")
    assert (tab.faults, other.faults, tab.dialogs, other.dialogs) == ([], [], [], [])


def test_a_gallery_holds_what_is_in_sight_and_is_walked_by_arrows(served, context):
    _, place = served
    tab = Tab(context, place, "view=gallery&size=240")
    cells = lambda: tab.run("document.querySelectorAll('.cell').length")  # noqa: E731
    tab.until(lambda: cells() > 5, "cells")
    assert cells() < 60  # of 126
    assert tab.run("document.querySelector('.cell').getAttribute('aria-setsize')") == "126"
    tab.run("document.querySelector('.cells').focus()")
    tab.key("End")
    tab.until(
        lambda: (
            tab.run("document.querySelector('.cell[aria-selected=true]')?.getAttribute('aria-posinset')")
            == "126"
        ),
        "the last one",
    )
    tab.key("Home", "ArrowRight", "ArrowDown")
    tab.until(
        lambda: (
            tab.run("document.querySelector('.cells').getAttribute('aria-activedescendant')")
            not in (None, "cell-125")
        ),
        "moved",
    )
    background = "getComputedStyle(document.querySelector('.cell[data-row]')).backgroundImage"
    assert tab.run(background).startswith('url("http://127.0.0.1')
    tab.page.select_option("[data-filter=order]", "runs:1")
    tab.until(
        lambda: (tab.state("sort"), tab.state("desc")) == ("runs", ""), "ordered by where runs disagree"
    )
    assert tab.faults == []


def colour_at(picture: Image.Image, x: float, y: float) -> np.ndarray:
    return np.asarray(picture)[round(y), round(x), :3].astype(int)


def test_heat_is_drawn_on_its_tile_to_the_last_corner(served, context):
    case, place = served
    slide = 1
    tab = Tab(context, place, f"view=slide&slide={slide}&layers=heat-100&from=0")
    tab.ready_slide()
    tab.page.wait_for_timeout(400)  # the animation of the first view ends
    shot = Image.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
    boxes, rows = case.subject.boxes(slide), case.subject.rows_of_slide(slide)
    on_screen = lambda x, y: tab.run(f"window.esad.slide.onScreen({x}, {y})")  # noqa: E731
    from esad.pipeline.inspection.layers import palette

    low, high = case.pages.layers.scale(0)
    scores = case.subject.runs[0].figures["score"].to_numpy()[rows]
    expected = palette(256)[np.rint(np.clip((scores - low) / (high - low), 0, 1) * 255).astype(int)].astype(
        int
    )
    for number in (0, 5, len(rows) - 1):
        x, y, width, height = boxes[number]
        for across, down in ((0.06, 0.06), (0.94, 0.94), (0.5, 0.5)):
            found = colour_at(shot, *on_screen(x + across * width, y + down * height))
            assert np.abs(found - expected[number]).max() <= 6, (number, across, found, expected[number])
    right, bottom = boxes[-1][:2] + boxes[-1][2:]
    outside = colour_at(shot, *on_screen(right + 6, bottom - 60))
    assert min(np.abs(outside - colour).max() for colour in expected) > 6  # the slide itself
    x, y = on_screen(*(boxes[5][:2] + boxes[5][2:] / 2))
    tab.page.mouse.click(x, y)
    tab.until(lambda: tab.state("row") == str(rows[5]), "a click opens the tile under it")
    tab.until(lambda: tab.text("#item-name") == case.subject.items["item_id"].iloc[rows[5]], "and shows it")

    def frame():
        box = "document.querySelector('.chosen').getBoundingClientRect()"
        return tab.run(f"(({{left, top, right, bottom}}) => [left, top, right, bottom])({box})")

    corners = lambda: [*on_screen(*boxes[5][:2]), *on_screen(*(boxes[5][:2] + boxes[5][2:]))]  # noqa: E731
    tab.until(lambda: np.abs(np.subtract(frame(), corners())).max() < 1.5, "its frame lies around it")
    assert tab.faults == []


def resting(tab):
    """The link to where a slide is, and where a place of it is on the screen, once the movement has ended."""
    now = lambda: (tab.run("location.hash"), tab.run("window.esad.slide.onScreen(500, 500)"))  # noqa: E731
    seen = [("", [0, 0])]

    def rests():
        seen.append(now())
        tab.page.wait_for_timeout(400)
        return seen[-1] == now() and "zoom=" in seen[-1][0]

    tab.page.wait_for_timeout(300)
    tab.until(rests, "the slide rests")
    return seen[-1]


def test_layers_scale_and_a_link_to_a_place(served, context):
    _, place = served
    tab = Tab(context, place, "view=slide&slide=1")
    tab.ready_slide()
    assert tab.run("document.querySelector('[data-layer=heat]').checked")
    tab.key("h", "b", "d", "k")
    tab.until(lambda: tab.state("layers") == "boxes-100.candidates-100.marks-100", "layers by key")
    tab.ready_slide()
    tab.key("h", "[", "[")
    tab.until(lambda: "heat-40" in tab.state("layers"), "faded")
    assert tab.run("document.querySelector('[data-layer=outlines]').disabled")
    um, wide = tab.run(
        "(({dataset, style}) => [Number(dataset.um), parseFloat(style.width)])(document.querySelector('.rule'))"
    )
    left, right = (tab.run(f"window.esad.slide.onScreen({x}, 0)")[0] for x in (0, 1000))
    assert wide / um == pytest.approx((right - left) / (1000 * 0.46), rel=0.01)  # screen pixels a micrometre
    assert "\u00d7" in tab.text(".place")  # the magnification
    before = tab.run("window.esad.slide.onScreen(500, 500)")
    tab.key("+")
    link, at = resting(tab)
    assert np.abs(np.subtract(before, at)).max() > 10
    other = Tab(context, place, link.removeprefix("#"))
    other.ready_slide()
    other.until(
        lambda: np.abs(np.subtract(other.run("window.esad.slide.onScreen(500, 500)"), at)).max() < 3,
        "the link leads to the same place",
    )
    tab.page.mouse.move(600, 500)
    tab.until(lambda: "px" in tab.text(".place") and "µm" in tab.text(".place"), "coordinates")
    tab.key("r")
    tab.until(lambda: tab.state("run") == "1", "the next run")
    tab.page.select_option("#compare", "0")
    tab.until(lambda: tab.run("document.querySelectorAll('.viewer').length") == 2, "two runs side by side")
    tab.ready_slide()
    pair = [tab.run(f"window.esad.slide.onScreen(500, 500, {which})")[1] for which in (0, 1)]
    assert pair[0] == pytest.approx(pair[1], abs=2)
    assert (tab.faults, other.faults) == ([], [])


def test_a_slide_that_vanishes_is_shown_from_its_tiles_and_the_page_says_so(served, archive, context):
    _, place = served
    tab = Tab(context, place, "view=slide&slide=1")
    tab.ready_slide()
    assert tab.run("document.getElementById('notice').hidden")
    (archive / "a.tif").unlink()
    tab.go("view=list")
    tab.go("view=slide&slide=1")
    tab.until(lambda: "a.tif is not in the archive any more" in tab.text("#notice"), "it is said")
    tab.ready_slide()
    assert tab.faults == []


def test_a_name_with_a_script_is_a_text_on_every_screen(served, context):
    case, place = served
    row = int(case.subject.rows_of_slide(0)[0])
    case.mark(row, "anomaly", comment=HOSTILE, reader=HOSTILE)
    tab = Tab(context, place, f"row={row}")
    for view in ("list", "gallery", "slide&slide=0"):
        tab.go(f"view={view}&row={row}&text=")
        tab.until(lambda: HOSTILE in tab.text("#item"), f"the item in {view}")
        tab.page.wait_for_timeout(150)
        assert tab.run("document.querySelectorAll('img[src=x], [onerror], script:not([src])').length") == 0
    tab.until(lambda: HOSTILE in tab.text("#slide"), "the slide's name")
    tab.go(f"view=list&text={HOSTILE}&group={HOSTILE}&label={HOSTILE}&sort={HOSTILE}&layers={HOSTILE}&run=99")
    tab.page.wait_for_timeout(300)
    assert (tab.faults, tab.dialogs) == ([], [])


def test_everything_has_a_name_and_fits_a_window_at_200_percent(served, browser):
    _, place = served
    context = browser.new_context(viewport={"width": 640, "height": 420}, device_scale_factor=2)
    tab = Tab(context, place, "row=0")
    for view in ("list", "gallery", "slide&slide=1"):
        tab.go(f"view={view}&row=0")
        tab.until(lambda: tab.text("#item-name"), "the item")
        tab.page.wait_for_timeout(200)
        assert tab.page.evaluate(UNNAMED) == [], view
        assert tab.run("document.scrollingElement.scrollWidth <= innerWidth"), view
    tab.key("?")
    tab.page.wait_for_selector("#help[open]")
    assert "next item without a mark" in tab.text("#help")
    tab.page.click("#help input[type=checkbox]")
    tab.key("Escape")
    tab.page.wait_for_selector("#help[open]", state="detached")
    tab.go("view=list")
    tab.until(lambda: tab.run("!document.getElementById('list').hidden"), "the list")
    tab.key("g")  # letters are off now
    tab.page.wait_for_timeout(150)
    assert tab.state("view") in ("", "list")
    assert tab.run("document.documentElement.lang") == "en"
    assert tab.faults == []
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_of_accessibility(served, browser, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    ).Axe()
    _, place = served
    context = browser.new_context(viewport={"width": 1300, "height": 850}, color_scheme=scheme)
    tab = Tab(context, place, "row=0")
    for view in ("list", "gallery&within=1", "slide&slide=1"):
        tab.go(f"view={view}&row=0")
        tab.until(lambda: tab.text("#item-name"), "the item")
        tab.page.wait_for_timeout(300)
        found = axe.run(tab.page).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in found] == [], view
    tab.key("?")
    tab.page.wait_for_selector("#help[open]")
    assert axe.run(tab.page).violations_count == 0
    context.close()


def test_another_run_under_the_same_address_is_not_shown_from_the_browsers_store(
    runs, made, context, tmp_path
):
    """The port may be the same as yesterday: pictures that the browser kept are of another run then."""
    port, address = 0, "/slide/1/heat/11/0_0.png?run=0"
    kept = [case_of([run], tmp_path / f"{number}.sqlite", made / "slides") for number, run in enumerate(runs)]
    served = [case.client.get(address).content for case in kept]
    assert served[0] != served[1]
    for case, content in zip(kept, served, strict=True):
        with serving(case.pages, port) as place:
            port = place.port
            tab = Tab(context, place)
            asked = f"fetch({address!r}).then((answer) => answer.arrayBuffer()).then((found) => [...new Uint8Array(found)])"
            assert bytes(tab.run(asked)) == content
            tab.page.close()


def test_a_radiograph_is_windowed_by_dragging_and_by_keys(xrays, tmp_path, context):  # noqa: F811
    case = case_of([xrays / "run/run"], tmp_path / "marks.sqlite", xrays / "archive")
    with serving(case.pages) as place:
        tab = Tab(context, place, "view=picture&layers=none")
        drawn = "(() => { const c = document.querySelector('#picture .under'); return c?.width > 100 ? [...c.getContext('2d').getImageData(0, 0, 60, 60).data] : null; })()"  # noqa: E501
        tab.until(lambda: tab.run(drawn), "the picture is drawn")
        before = np.array(tab.run(drawn)).reshape(-1, 4)[:, 0]
        row = int(tab.state("row"))
        original, _ = case.pages.archive.picture(row)
        assert np.array_equal(before.reshape(60, 60), np.asarray(original)[:60, :60])
        box = tab.page.locator("#picture .stage").bounding_box()
        tab.page.mouse.move(box["x"] + 200, box["y"] + 200)
        tab.page.mouse.down()
        tab.page.mouse.move(box["x"] + 328, box["y"] + 200, steps=4)
        tab.page.mouse.up()
        tab.until(lambda: tab.state("window") == "128.128", "half as wide a window")
        windowed = lambda: np.array(tab.run(drawn)).reshape(-1, 4)[:, 0]  # noqa: E731
        tab.until(
            lambda: np.abs(windowed() - np.clip(((before - 127.5) / 127 + 0.5) * 255, 0, 255)).max() <= 1,
            "windowed",
        )
        tab.run("document.querySelector('#picture .stage').focus()")
        tab.key("Shift+ArrowUp")
        tab.until(lambda: tab.state("window") == "136.128", "level by key")
        tab.page.click("text=Reset window")
        tab.until(lambda: np.array_equal(windowed(), before), "as it was")
        assert "of what" not in tab.text("#status")
        assert tab.page.evaluate(UNNAMED) == []
        assert tab.faults == []
