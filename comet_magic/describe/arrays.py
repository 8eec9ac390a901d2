"""Arrays with axes: NumPy's, and xarray's with names. Shape, dtype and what the numbers are like, seldom the whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..redaction import REDACTED, is_secret_field
from .columns import HEAD, Column, Figures
from .dependencies import has, home, type_name
from .description import Description, Limits
from .frames import LEVELS, seeded_places

COLUMNS = 20  # of a matrix, up to which each has a line; a picture's channels are such columns
COUNTED = 10_000_000  # elements, up to which quartiles are of all; about 0.3 s
DISTINCT = 1_000_000  # up to which distinct values are
WHOLE = 20_000  # elements that become Python's own, up to which all do
PARTS = 2000  # of a larger array; one element at a random place of each is looked at
READABLE = 60  # elements, up to which any array is shown whole


def is_array(value: Any) -> bool:
    return has(value, "__array__", "dtype", "shape") and bool(value.shape)


def is_labelled(value: Any) -> bool:
    """Return whether it is xarray's DataArray or Dataset."""
    return home(value) == "xarray" and has(value, "dims", "coords")


def array(value: Any, limits: Limits) -> Description:
    """Describe an array of NumPy or its kin. Of one that is lazy or on a GPU, only the shape is known."""
    shape = " × ".join(f"{length:,}" for length in value.shape)
    head = f"shape ({shape}), dtype {value.dtype}"
    if not has(value, "flat", "flags"):
        return Description(type_name(value), head, shape)
    parts = list(_parts(value))
    distinct = DISTINCT if sum(part.size for _, part in parts) <= 4 * DISTINCT else DISTINCT // 10
    columns = [_column(name, part, distinct) for name, part in parts]
    lines = [head, HEAD.replace("column", "part", 1), *(column.line(limits) for column in columns)]
    if any(mark in line for line in lines for mark in "~≥"):
        lines.append(f"Figures marked ~ or ≥ are of {PARTS:,} of them, one in each of as many equal parts.")
    is_readable = value.ndim <= 2 or value.size <= READABLE
    is_secret = any(map(is_secret_field, value.dtype.names or ()))
    if limits.share_values and value.size and is_readable and value.dtype.kind != "O" and not is_secret:
        lines.append(f"values: {_corner(value, limits)}")
    return Description(type_name(value), limits.fitted("\n".join(lines), limits.table_tokens), shape)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a structured array; of others all elements, and the columns of a matrix of few columns."""
    import numpy

    if not isinstance(value, numpy.ma.MaskedArray):
        value = numpy.asarray(value)  # a matrix is of two dimensions, whatever is taken of it
    if value.dtype.names:
        yield from ((name, value[name]) for name in value.dtype.names[:COLUMNS])
        return
    yield "elements", value
    if value.ndim > 1 and 1 < value.shape[-1] <= COLUMNS < value.size:
        every = "[" + ":, " * (value.ndim - 1)
        yield from ((f"{every}{number}]", value[..., number]) for number in range(value.shape[-1]))


def _column(name: str, part: Any, distinct: int) -> Column:
    import numpy

    size, dtype = part.size, part.dtype
    if dtype.kind in "mM":
        part = numpy.ma.compressed(part) if isinstance(part, numpy.ma.MaskedArray) else part.ravel()
    if size <= WHOLE:
        elements, exact = part.ravel(), Figures()
    else:
        chosen = seeded_places(size, PARTS)
        elements, exact = part[numpy.unravel_index(chosen, part.shape)], _exact(part, numpy, distinct)
    values = elements.tolist()
    if dtype.kind in "mM":
        values = elements.astype(f"{dtype.kind}8[us]").tolist()
        if any(isinstance(moment, int) for moment in values):  # a year that Python cannot hold
            values = list(elements)
    return Column(name, str(dtype), size, values, is_sample=size > WHOLE, exact=exact)


def _exact(part: Any, numpy: Any, distinct: int) -> Figures:
    """Return the figures of all elements; infinite ones spoil none. distinct: up to how many elements it is counted."""
    kind = part.dtype.kind
    if kind not in "iufb":
        return Figures()
    nulls = int(numpy.ma.count_masked(part)) if isinstance(part, numpy.ma.MaskedArray) else 0
    amounts = numpy.ma.compressed(part) if nulls else numpy.asarray(part)
    infinite = 0
    if kind == "f" and not numpy.isfinite(amounts.sum(dtype=float)):
        nulls += int(numpy.isnan(amounts).sum())
        infinite = int(numpy.isinf(amounts).sum())
        amounts = amounts[numpy.isfinite(amounts)]
    if not amounts.size:
        return Figures(nulls=nulls, infinite=infinite)
    counts = None
    if kind == "b":
        true = int(amounts.sum())
        pairs = [(True, true), (False, amounts.size - true)]
        counts = sorted((pair for pair in pairs if pair[1]), key=lambda pair: -pair[1])
        return Figures(nulls=nulls, distinct=len(counts), counts=counts)
    with numpy.errstate(all="ignore"):
        figures = Figures(
            nulls=nulls, low=amounts.min().item(), high=amounts.max().item(), mean=float(amounts.mean(dtype=float)),
            sd=float(amounts.std(dtype=float, ddof=1)), zeros=int(amounts.size - numpy.count_nonzero(amounts)),
            infinite=infinite,
        )  # fmt: skip
        if amounts.size <= COUNTED:
            q1, median, q3 = (float(part) for part in numpy.quantile(amounts, (0.25, 0.5, 0.75)))
            figures = figures._replace(q1=q1, median=median, q3=q3)
        if kind in "iu" and figures.high < 2**62 and figures.high - figures.low < LEVELS:
            times = numpy.bincount((amounts.astype(numpy.int64) - figures.low).ravel())
            pairs = [(figures.low + at, int(count)) for at, count in enumerate(times) if count]
            figures = figures._replace(distinct=len(pairs), counts=sorted(pairs, key=lambda pair: -pair[1]))
        elif amounts.size <= distinct:
            found, times = numpy.unique(amounts, return_counts=True)
            figures = figures._replace(distinct=len(found))
            if len(found) <= LEVELS:
                counted = zip(found.tolist(), times.tolist(), strict=True)
                figures = figures._replace(counts=sorted(counted, key=lambda pair: -pair[1]))
    return figures


def _corner(value: Any, limits: Limits) -> str:
    """Return a small array whole, of a larger one its corners, as NumPy prints them."""
    import numpy

    with numpy.printoptions(threshold=READABLE, edgeitems=2, precision=5, linewidth=100):
        return limits.hide(str(value))


def labelled(value: Any, limits: Limits) -> Description:
    """Describe dimensions, coordinates and variables. What is not in memory is not loaded: its shape alone is told."""
    sizes = ", ".join(f"{name}: {length:,}" for name, length in value.sizes.items())
    lines = [f"dimensions {sizes or 'none'}"]
    for name, coordinate in value.coords.items():
        lines.append(f"coordinate {name} ({', '.join(map(str, coordinate.dims))}) {coordinate.dtype}")
        index = value.indexes.get(name)  # already in memory, as other coordinates may not be
        if limits.share_values and index is not None and len(index) and not is_secret_field(str(name)):
            lines[-1] += f": {limits.short(str(index[0]))} … {limits.short(str(index[-1]))}"
    variables = value.data_vars.items() if hasattr(value, "data_vars") else [(value.name or "values", value)]
    for name, variable in variables:
        dims = ", ".join(map(str, variable.dims))
        lines.append(f"variable {name} ({dims}) {variable.dtype}{_attributes(variable.attrs, limits)}")
        if is_secret_field(str(name)):
            lines.append(f"  {REDACTED}, for its name is a secret's")
        else:
            lines += [f"  {line}" for line in _contents(variable, limits)]
    if hasattr(value, "data_vars"):
        lines.append(f"dataset{_attributes(value.attrs, limits)}")
    return Description(type_name(value), limits.fitted("\n".join(lines), limits.table_tokens), sizes)


def tree(value: Any, limits: Limits) -> Description:
    """Return xarray's tree of datasets, group by group."""
    room = limits._replace(table_tokens=limits.table_tokens // max(1, len(value.groups)))
    lines = [f"group {node.path}\n{labelled(node.to_dataset(), room).text}" for node in value.subtree]
    groups = f"{len(value.groups)} groups"
    return Description(type_name(value), limits.fitted("\n".join(lines), limits.table_tokens), groups)


def _contents(variable: Any, limits: Limits) -> list[str]:
    """Return the lines about a variable's values, where they are in memory."""
    held = variable.variable._data
    if home(held) != "numpy" or (not held.shape and not limits.share_values):
        return []
    if not held.shape:
        return [f"value: {limits.short(held.item() if held.dtype.kind not in 'mM' else str(held), 100)}"]
    lines = array(held, limits).text.split("\n")
    return lines[1:]


def _attributes(attributes: Any, limits: Limits) -> str:
    formatted = [
        f"{name} = {REDACTED if is_secret_field(str(name)) else limits.short(value)}"
        if limits.share_values
        else str(name)
        for name, value in attributes.items()
    ]
    return f"; {', '.join(formatted)}" if formatted else ""
