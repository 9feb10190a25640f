"""What an experiment found, as a page: one HTML file that needs nothing else."""

from modular_manifolds.experiments.reports.join import find_runs, write_joined
from modular_manifolds.experiments.reports.page import Cell, Figure, Finding, Page, Section, Table
from modular_manifolds.experiments.reports.write import read_page, write_page

__all__ = [
    "Cell",
    "Figure",
    "Finding",
    "Page",
    "Section",
    "Table",
    "find_runs",
    "read_page",
    "write_joined",
    "write_page",
]
