"""A message in; safe Markdown, or text for a terminal, out."""

# What other folders may import.
__all__ = ["markdown", "message", "table", "terminal"]
