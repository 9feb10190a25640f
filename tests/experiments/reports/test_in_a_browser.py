import pytest

from modular_manifolds.experiments.reports import write_joined, write_page
from tests.experiments.reports.browser import needs_browser, start

pytestmark = [needs_browser, pytest.mark.xdist_group("browser")]

BEFORE = ["gamma", "alpha", "beta", "delta"]
UPWARDS = {
    "name": ["alpha", "beta", "delta", "gamma"],
    "number": ["delta", "beta", "gamma", "alpha"],
    "spread": ["gamma", "beta", "delta", "alpha"],
    "note": ["delta", "beta", "gamma", "alpha"],
}
DOWNWARDS = {
    "name": ["gamma", "delta", "beta", "alpha"],
    "number": ["gamma", "beta", "delta", "alpha"],
    "spread": ["delta", "beta", "gamma", "alpha"],
    "note": ["gamma", "beta", "delta", "alpha"],
}
ORDER = "[...document.querySelector('table').tBodies[0].rows].map((row) => row.cells[0].textContent)"
SORTS = "[...document.querySelector('table').tHead.rows[0].cells].map((cell) => cell.ariaSort)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with start(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(make_page, tmp_path_factory):
    return write_page(make_page(), tmp_path_factory.mktemp("run"))["report"]


@pytest.fixture(scope="module")
def joined(make_page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("a", "b"):
        write_page(make_page(), folder / name)
    write_joined([folder / "a", folder / "b"], folder / "report.html")
    return folder / "report.html"


def test_it_opens_from_disk_without_a_word_on_the_console(browser, report, joined):
    for page, drawings in ((report, 2), (joined, 4)):
        browser.open(page)
        assert browser.ask("document.querySelectorAll('figure svg').length") == drawings
        assert browser.console == []


@pytest.mark.parametrize(
    ("mistake", "complaint"),
    [
        ("<script>1</script>", "Content Security Policy"),
        ("<img src='https://example.org/x.png'>", "Content Security Policy"),
        ("<img onerror='x' src='data:'>", "Content Security Policy"),
    ],
)
def test_what_is_not_its_own_is_refused_aloud(browser, report, tmp_path, mistake, complaint):
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text().replace("</main>", f"{mistake}</main>"))
    browser.open(broken)
    assert complaint in str(browser.console)


def test_a_mistake_in_a_script_would_be_noticed(browser, report, tmp_path):
    broken = tmp_path / "broken.html"
    text = report.read_text().replace('http-equiv="Content-Security-Policy"', "")
    broken.write_text(text.replace("</main>", "</main><script>undefinedName();</script>"))
    browser.open(broken)
    assert "undefinedName is not defined" in str(browser.console)


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_heading_sorts_its_table_upwards_downwards_and_back(browser, report, by):
    browser.open(report)
    assert browser.ask(SORTS) == ["none"] * 4
    for column, name in enumerate(UPWARDS):
        heading = f"document.querySelector('table').tHead.rows[0].cells[{column}]"
        for sort, order in (("ascending", UPWARDS[name]), ("descending", DOWNWARDS[name]), ("none", BEFORE)):
            if by == "mouse":
                browser.click(heading)
            else:
                browser.ask(f"{heading}.querySelector('button').focus()")
                browser.press_enter()
            assert browser.ask(ORDER) == order
            assert browser.ask(SORTS) == ["none"] * column + [sort] + ["none"] * (3 - column)
    assert browser.console == []


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_need_not_scroll_sideways(browser, report, joined, width):
    for page in (report, joined):
        browser.open(page, width=width)
        browser.ask("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert browser.ask("[innerWidth, document.documentElement.scrollWidth]") == [width, width]


def test_a_click_unfolds_the_numbers_of_a_figure(browser, report):
    browser.open(report)
    seen = "document.querySelector('#curve table').checkVisibility()"
    assert not browser.ask(seen)
    browser.click("document.querySelector('#curve summary')")
    assert browser.ask(seen)


@pytest.mark.parametrize(
    ("dark", "page", "ink"), [(False, "246, 247, 249", "28, 33, 40"), (True, "16, 19, 23", "221, 227, 234")]
)
def test_colours_are_those_that_the_reader_prefers(browser, report, dark, page, ink):
    browser.open(report, dark=dark)
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == f"rgb({page})"
    assert browser.ask("getComputedStyle(document.body).color") == f"rgb({ink})"
    assert browser.ask("getComputedStyle(document.querySelector('figure svg text')).fill") == f"rgb({ink})"
