"""The subcommands of `python -m benchmarks`, a file each."""
