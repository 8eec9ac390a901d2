"""Questions in, values out: one SQLite file, and the only SQL. Callers see functions, never statements."""
