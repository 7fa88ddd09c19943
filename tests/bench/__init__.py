"""How fast, how frugal: `python -m tests.bench` measures billingsync beside what its users would otherwise run."""
