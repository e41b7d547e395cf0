"""The page as people meet it: on a phone, by keyboard, printed, without script, and by axe-core's rules."""

from __future__ import annotations

import re

import pytest

from esad.pipeline.reporting.page import policy

RULES = """async () => {
  const found = await axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]});
  return found.violations.map((each) => [each.id, each.nodes.length, each.nodes[0].html]);
}"""
COLUMN = """(column) => [...document.querySelector("#compared-table").closest("table").tBodies[0].rows]
  .map((row) => row.cells[column].textContent)"""
TABLES = "table.sortable"


@pytest.fixture(scope="module")
def opened(chromium, page_file):
    """A function that opens the page at a width; closes what it opened."""
    contexts = []

    def open_page(width=1280, script=True):
        context = chromium.new_context(viewport={"width": width, "height": 800}, java_script_enabled=script)
        contexts.append(context)
        page = context.new_page()
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1280, 375])
def test_axe_finds_no_fault(opened, axe, width):
    page = opened(width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate(axe)
    assert page.evaluate(RULES) == []


@pytest.mark.parametrize("width", [375, 320])
def test_on_a_phone_tables_scroll_and_the_page_does_not(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    boxes = page.evaluate(
        "[...document.querySelectorAll('.wide')].map((box) => [box.scrollWidth - box.clientWidth, box.getBoundingClientRect().right])"
    )
    assert max(hidden for hidden, _ in boxes) > 100
    assert max(right for _, right in boxes) <= width
    widest = page.evaluate(
        "Math.max(...[...document.images].map((each) => each.getBoundingClientRect().right))"
    )
    assert widest <= width


def test_nothing_is_fetched_and_no_other_script_runs(chromium, page_file):
    page = chromium.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: said.append(line.text))
    page.goto(page_file.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert said == []  # so no rule of the policy was broken by the page itself
    page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1'; document.body.append(one);"
        " const two = document.createElement('img'); two.src = 'http://127.0.0.1:9/x.png'; document.body.append(two); }"
    )
    assert page.evaluate("window.ran") is None
    assert sum("Content Security Policy" in line for line in said) == 2
    page.close()


def test_a_table_sorts_by_mouse_and_says_so(opened):
    page = opened()
    box = page.locator(TABLES, has=page.locator("#compared-table"))
    head = box.locator("th").nth(7)
    before = page.evaluate(COLUMN, 0)
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    numbers = [int(text) for text in page.evaluate(COLUMN, 7)]
    assert numbers == sorted(numbers)
    assert page.locator("#status").inner_text() == "Sorted by Items, ascending."
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    other = box.locator("th").first
    other.get_by_role("button").click()
    assert (other.get_attribute("aria-sort"), head.get_attribute("aria-sort")) == ("ascending", "none")
    for _ in range(2):
        other.get_by_role("button").click()
    assert page.evaluate(COLUMN, 0) == before
    assert other.get_attribute("aria-sort") == "none"


def test_a_table_sorts_by_keyboard_alone(opened):
    page = opened()
    button = page.locator(TABLES, has=page.locator("#runs-table")).locator("th button").nth(2)
    for _ in range(40):
        page.keyboard.press("Tab")
        if button.evaluate("(each) => each === document.activeElement"):
            break
    kinds = "[...document.querySelector('#runs-table').closest('table').tBodies[0].rows].map((row) => row.cells[2].textContent)"
    page.keyboard.press("Enter")
    assert page.evaluate(kinds) == ["radiographs", "table", "tiles"]
    page.keyboard.press("Space")
    assert page.evaluate(kinds) == ["tiles", "table", "radiographs"]


def test_numbers_are_sorted_as_numbers_and_what_is_missing_comes_last(opened):
    page = opened()
    page.evaluate(
        """() => {
          const body = document.querySelector("#compared-table").closest("table").tBodies[0];
          ["10", "9", ""].forEach((by, place) => {
            const cell = body.rows[place].cells[1];
            cell.dataset.by = by;
            cell.textContent = by;
          });
        }"""
    )
    button = page.locator(TABLES, has=page.locator("#compared-table")).locator("th button").nth(1)
    for expected in (["9", "10", ""], ["10", "9", ""]):
        button.click()
        assert page.evaluate(COLUMN, 1) == expected


def test_without_script_the_page_is_complete(opened, page_file):
    page = opened(script=False)
    assert page.locator("th button").count() == 0
    assert page.locator("table").count() == page_file.read_text().count("<table")
    assert page.locator("#compared-table").is_visible()


def test_printed_nothing_is_clipped_and_details_are_open(opened):
    page = opened(700)  # about the width of A4 less its margins
    page.emulate_media(media="print")
    settings = page.locator("details pre").first
    assert settings.is_visible()
    assert settings.bounding_box()["height"] > 40
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert not page.locator("nav").is_visible()
    right = page.evaluate(
        "Math.max(...[...document.querySelectorAll('img, table, pre')].map((each) => each.getBoundingClientRect().right))"
    )
    assert right <= 700
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    assert page.locator("tr").first.evaluate("(row) => getComputedStyle(row).breakInside") == "avoid"
    assert (
        page.locator("thead").first.evaluate("(head) => getComputedStyle(head).display")
        == "table-header-group"
    )


def test_printed_without_script_details_are_open_too(opened):
    page = opened(script=False)
    page.emulate_media(media="print")
    assert page.locator("details pre").first.is_visible()


def test_a_page_prints(opened):
    content = opened().pdf(format="A4")
    assert content.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 20


def test_the_policy_allows_two_hashes_and_pictures():
    told = policy("a", "b")
    assert told.count("sha256-") == 2
    assert "unsafe" not in told
    assert "default-src 'none'" in told
