"""Recipes on real data: the comparison behind `modular-manifolds compare`."""
