from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

from modular_manifolds.experiments.svg import FAINT, INK, STYLE, standalone, to_svg


def drawing():
    with rc_context(STYLE):
        figure = Figure(figsize=(2, 1))
        figure.add_subplot().plot([0, 1], [0, 1])
    return to_svg(figure, "name", "A & B")


def test_colours_are_the_pages():
    svg = drawing()
    assert "var(--ink)" in svg
    assert INK not in svg
    assert FAINT not in svg


def test_size_is_the_pages():
    root = ElementTree.fromstring(drawing())
    assert "width" not in root.attrib
    assert "viewBox" in root.attrib
    assert root.attrib["aria-label"] == "A & B"


def test_the_same_figure_gives_the_same_text():
    assert drawing() == drawing()


def test_a_file_brings_its_own_colours():
    assert "prefers-color-scheme:dark" in standalone(drawing())
