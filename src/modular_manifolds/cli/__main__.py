"""`python -m modular_manifolds.cli`."""

from modular_manifolds.cli import main

main()
