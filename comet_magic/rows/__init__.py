"""One prompt and a table in; a reply for each of its rows, as columns beside them, out."""

# What other folders may import.
__all__ = [
    "backend",
    "cluster",
    "job",
    "progress",
    "result",
    "run",
    "source",
]
