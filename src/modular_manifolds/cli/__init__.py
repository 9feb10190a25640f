"""The command `modular-manifolds`."""

import sys

_EXTRAS = {
    "jinja2",
    "matplotlib",
    "numpy",
    "PIL",
    "pyarrow",
    "rich",
    "safetensors",
    "sklearn",
    "tensorboard",
    "typer",
}


def main() -> None:
    """Run the command; without the packages it needs, say how to install them."""
    try:
        from modular_manifolds.cli.app import app

        app()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            raise
        sys.exit(
            f"modular-manifolds: the package {missing} is missing. The command needs the experiments extra:\n"
            "    pip install 'modular-manifolds[experiments]'"
        )
