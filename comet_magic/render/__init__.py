"""A message in; safe Markdown, or text for a terminal, out."""
