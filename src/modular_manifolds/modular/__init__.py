"""A model as a graph, what its modules do to lengths, and the plan and certificate that follow."""

from modular_manifolds.modular.certificate import Layer, LipschitzCertificate, certify
from modular_manifolds.modular.graph import CaptureError
from modular_manifolds.modular.modularize import modularize
from modular_manifolds.modular.plan import Entry, Plan
from modular_manifolds.modular.reading import register_rule
from modular_manifolds.modular.rule import Call, Effect, Rule, Slope, UnknownOperationError, Use

__all__ = [
    "Call",
    "CaptureError",
    "Effect",
    "Entry",
    "Layer",
    "LipschitzCertificate",
    "Plan",
    "Rule",
    "Slope",
    "UnknownOperationError",
    "Use",
    "certify",
    "modularize",
    "register_rule",
]
