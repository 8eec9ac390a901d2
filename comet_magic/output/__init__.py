"""A reply in, a Python value out: its schema, how it is asked for, how it is read, and DataFrames."""

# What other folders may import.
__all__ = ["dataframes", "modes", "schema", "typed"]
