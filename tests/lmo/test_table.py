"""The table finds the nearest entry, and entries that hold for some manifolds only live side by side."""

from modular_manifolds.lmo.table import Table
from modular_manifolds.manifolds import Euclidean, Manifold, Oblique
from modular_manifolds.norms import MaxRow, Norm, RMSOperator, Spectral


def test_nearest_base_wins_and_the_latest_entry_goes_first():
    table = Table()
    table.register(Manifold, Norm)(lambda: "any")
    table.register(Euclidean, Spectral)(lambda: "first")
    table.register(Euclidean, Spectral)(lambda: "latest")
    assert table.find(Euclidean(), RMSOperator())() == "latest"
    assert table.find(Oblique(), RMSOperator())() == "any"
    assert Table().find(Euclidean(), Spectral()) is None


def test_entries_for_some_fields_do_not_displace_each_other():
    table = Table()
    table.register(Oblique, MaxRow, axis="rows")(lambda: "rows")
    table.register(Oblique, MaxRow, axis="columns")(lambda: "columns")
    assert table.find(Oblique("rows"), MaxRow())() == "rows"
    assert table.find(Oblique("columns"), MaxRow())() == "columns"
    assert set(table.names()) == {"Oblique(axis='rows') x MaxRow", "Oblique(axis='columns') x MaxRow"}
