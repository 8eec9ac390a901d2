"""Questions in, values out: one SQLite file, and the only SQL. Callers see functions, never statements."""

# What other folders may import.
__all__ = [
    "code_cells",
    "connection",
    "conversations",
    "database",
    "ledger",
    "left_out",
    "output_modes",
    "requests",
    "turns",
]
