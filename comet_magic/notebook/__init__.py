"""The edge to Jupyter: magics, flags, panel, outputs, cells, and tables that show themselves."""

# What other folders may import.
__all__ = [
    "cell",
    "executions",
    "extension",
    "jobs_table",
    "media_cells",
    "panel",
    "row_runs",
    "stdin",
]
