"""Conversations in files: ours, and those of other programs.

`read` finds out which form a file has, and one module reads each; `turns` makes whole turns of what was found.
"""

__all__ = ["chatgpt", "markdown", "read", "source", "wire"]
