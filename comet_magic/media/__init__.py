"""An `Order` in; pictures, sound, film and transcripts, each in a file and written down as a job, out."""

# What other folders may import.
__all__ = [
    "dry_run",
    "media",
    "model",
    "order",
    "orders",
    "prompt",
    "results",
    "run",
    "shown",
]
