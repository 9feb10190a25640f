import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.console import Console

from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.display import PlainDisplay
from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.report import write_report

FIGURES = ["accuracy", "step-time", "train-loss", "test-loss"] + [
    f"singular-values-layers.{layer}.weight" for layer in range(3)
]


class Page(HTMLParser):
    """Collects element ids and everything that would be fetched from elsewhere."""

    def __init__(self):
        super().__init__()
        self.figures, self.references, self.drawings = [], [], 0

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "figure":
            self.figures.append(attributes["id"])
        self.drawings += tag == "svg"
        self.references += [attributes[name] for name in ("src", "href", "xlink:href") if name in attributes]


@pytest.fixture(scope="module", params=[1, 2], ids=["one seed", "two seeds"])
def out(request, data, make_comparison_in, tmp_path_factory):
    settings = {"methods": tuple(METHODS), "lrs": None, "seeds": request.param, "epochs": 2, "batch_size": 25}
    comparison = make_comparison_in(tmp_path_factory.mktemp("out"), **settings)
    write_report(train_all(comparison, data, PlainDisplay(Console(quiet=True))))
    return comparison.out


def test_the_page_has_every_figure_and_fetches_nothing(out):
    text = (out / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.figures == FIGURES
    assert page.drawings == len(FIGURES)
    assert all(reference.startswith("#") for reference in page.references)
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert set(re.findall(r"https?://[^\"<\s]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_page_says_what_was_compared_and_how_to_repeat_it(out):
    text = (out / "report.html").read_text()
    for method in METHODS:
        assert f'<th scope="row">{method}</th>' in text
    assert f"--out {out}" in text
    assert "chosen on the test set" in text
    assert "nan" not in text


def test_figures_are_files_too(out):
    assert {path.stem for path in (out / "plots").iterdir()} == set(FIGURES)
    for path in (out / "plots").iterdir():
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_diverged_run_is_reported_as_such(data, make_comparison):
    comparison = make_comparison(methods=("adamw", "muon"), lrs=(1e30,), seeds=1, epochs=1)
    text = write_report(train_all(comparison, data, PlainDisplay(Console(quiet=True)))).read_text()
    assert "diverged" in text
