"""A question, options and settings in; a `Plan`, its reply, and what is written down of both, out."""

# What other folders may import.
__all__ = [
    "budget",
    "cells",
    "dry_run",
    "following",
    "forecast",
    "journal",
    "loop",
    "negotiate",
    "offered",
    "plan",
    "run",
    "session",
    "several",
]
