import json
from html.parser import HTMLParser

import pytest

from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.reports import Figure, Page, Section, Table, read_page, write_page


class References(HTMLParser):
    """Collects ids, everything that would be fetched, and every id that is referred to."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.fetched, self.used = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href", "src") and not value.startswith("data:"):
                (self.used if value.startswith("#") else self.fetched).append(value.lstrip("#"))
            elif value and "url(#" in value:
                self.used.append(value.partition("url(#")[2].partition(")")[0])


def test_a_page_comes_back_from_its_file(make_page, tmp_path):
    page = make_page()
    assert Page.from_json(json.loads(json.dumps(page.to_json()))) == page
    paths = write_page(page, tmp_path / "run")
    assert read_page(tmp_path / "run") == page
    assert paths == {"report": tmp_path / "run" / "report.html"}
    assert (tmp_path / "run" / "plots" / "curve.svg").read_text().startswith("<svg")


def test_numbers_that_are_not_finite_come_back_as_missing(make_page):
    page = make_page(sections=(Section("", tables=(Table(("x",), ((float("nan"),), (float("inf"),))),)),))
    assert Page.from_json(page.to_json()).sections[0].tables[0].rows == ((None,), (None,))


@pytest.mark.parametrize("content", ["{", "[]", '{"recipe": "compare"}', "null"])
def test_a_damaged_page_is_one_clear_error(tmp_path, content):
    (tmp_path / "page.json").write_text(content)
    with pytest.raises(DataError, match=r"page\.json is damaged .* again"):
        read_page(tmp_path)
    with pytest.raises(DataError, match="holds no report"):
        read_page(tmp_path / "elsewhere")


def test_rows_are_as_long_as_the_headings():
    with pytest.raises(ValueError, match="a row has 1 cells, expected 2"):
        Table(("a", "b"), ((1, 2), (3,)))


@pytest.mark.parametrize("names", [("same", "same"), ("../up",), ("a b",), ("",)])
def test_names_of_figures_are_fit_for_files_and_differ(make_page, names):
    figures = tuple(Figure(name, "", "", "<svg/>") for name in names)
    with pytest.raises(ValueError, match="figure"):
        make_page(sections=(Section("", figures=figures),))


def test_the_page_fetches_nothing_and_its_ids_are_its_own(make_page, tmp_path):
    text = write_page(make_page(), tmp_path)["report"].read_text()
    found = References(text)
    assert found.fetched == []
    assert len(set(found.ids)) == len(found.ids)
    assert set(found.used) <= set(found.ids)
    assert {"curve", "panels"} <= set(found.ids)
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    for namespace in namespaces:
        text = text.replace(namespace, "")
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text


def test_what_is_said_is_text(make_page, tmp_path):
    text = write_page(make_page(), tmp_path)["report"].read_text()
    assert "&lt;beta&gt;" in text
    assert "Four rows &amp; &lt;no&gt; order." in text
    assert "curve &amp; more" in text
    assert "97.53\u00a0±\u00a00.20\u00a0%" in text
