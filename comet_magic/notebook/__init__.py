"""The edge to Jupyter: magics, flags, panel, outputs, cells, and tables that show themselves."""
