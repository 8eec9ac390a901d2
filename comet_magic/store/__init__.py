"""Questions in, values out: one SQLite file, and the only SQL. Callers see functions, never statements."""

# What other folders may import.
__all__ = [
    "accepted",
    "code_cells",
    "connection",
    "conversations",
    "database",
    "embeddings",
    "ledger",
    "left_out",
    "media",
    "offered",
    "requests",
    "rows",
    "turns",
]
