"""A question, options and settings in; a `Plan`, its reply, and what is written down of both, out."""
