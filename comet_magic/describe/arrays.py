"""Arrays with axes: NumPy's, and xarray's with names. Shape, dtype and what the numbers are like, never the whole."""

from __future__ import annotations

from typing import Any

from .columns import Column
from .dependencies import has, home, type_name
from .description import Description, Limits

SAMPLE = 200_000  # elements that are looked at, at even steps


def is_array(value: Any) -> bool:
    return has(value, "__array__", "dtype", "shape") and bool(value.shape)


def is_labelled(value: Any) -> bool:
    """Return whether it is xarray's DataArray or Dataset."""
    return home(value) == "xarray" and has(value, "dims", "coords")


def array(value: Any, limits: Limits) -> Description:
    """Describe an array of NumPy or its kin. Of one that is lazy or on a GPU, only the shape is known."""
    shape = " × ".join(f"{length:,}" for length in value.shape)
    head = f"shape ({shape}), dtype {value.dtype}"
    names = getattr(value.dtype, "names", None)
    if not has(value, "flat", "flags") or names:
        fields = f", fields {limits.short(', '.join(names), 500)}" if names else ""
        return Description(type_name(value), head + fields, shape)
    step = max(1, value.size // SAMPLE)
    some = value.ravel()[::step] if value.flags["C_CONTIGUOUS"] else value.flat[::step]
    if value.dtype.kind in "mM":
        some = some.astype(f"{value.dtype.kind}8[us]")
    elements = some.tolist()
    column = Column("elements", str(value.dtype), value.size, elements, is_sample=step > 1)
    lines = [head, column.line(limits)]
    if step > 1:
        lines.append(f"Figures marked ~ and ≥ are of {len(elements):,} elements, every {step:,}th.")
    if limits.share_values and value.size and value.ndim <= 4 and value.dtype.kind != "O":
        lines.append(f"values: {_corner(value, limits)}")
    return Description(type_name(value), limits.fitted("\n".join(lines), limits.table_tokens), shape)


def _corner(value: Any, limits: Limits) -> str:
    """Return a small array whole, of a larger one its corners, as NumPy prints them."""
    import numpy

    with numpy.printoptions(threshold=60, edgeitems=2, precision=5, linewidth=100):
        return limits.hide(str(value))


def labelled(value: Any, limits: Limits) -> Description:
    """Dimensions, coordinates and variables; values of coordinates only, and nothing is loaded."""
    sizes = ", ".join(f"{name}: {length:,}" for name, length in value.sizes.items())
    lines = [f"dimensions {sizes}"]
    for name, coordinate in value.coords.items():
        lines.append(f"coordinate {name} ({', '.join(map(str, coordinate.dims))}) {coordinate.dtype}")
        index = value.indexes.get(name)  # already in memory, as other coordinates may not be
        if limits.share_values and index is not None and len(index):
            lines[-1] += f": {limits.short(str(index[0]))} … {limits.short(str(index[-1]))}"
    variables = value.data_vars.items() if hasattr(value, "data_vars") else [(value.name or "values", value)]
    for name, variable in variables:
        dims = ", ".join(map(str, variable.dims))
        lines.append(f"variable {name} ({dims}) {variable.dtype}{_attributes(variable.attrs, limits)}")
    if hasattr(value, "data_vars"):
        lines.append(f"dataset{_attributes(value.attrs, limits)}")
    return Description(type_name(value), limits.fitted("\n".join(lines), limits.table_tokens), sizes)


def _attributes(attributes: Any, limits: Limits) -> str:
    formatted = [
        f"{name} = {limits.short(value)}" if limits.share_values else str(name) for name, value in attributes.items()
    ]
    return f"; {', '.join(formatted)}" if formatted else ""
