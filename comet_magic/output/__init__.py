"""A reply in, a Python value out: its schema, how it is asked for, how it is read, and DataFrames."""
