"""Arrays that are checked once, when a noun is made, and never change afterwards."""

import numpy as np


def _matches(shape, wanted):
    """Tell whether a shape is the wanted one; text stands for any length, `...` for any axes."""
    if wanted and wanted[0] is Ellipsis:
        tail = wanted[1:]
        if len(shape) < len(tail):
            return False
        shape, wanted = shape[len(shape) - len(tail) :], tail
    if len(shape) != len(wanted):
        return False
    named: dict[str, int] = {}
    for length, want in zip(shape, wanted, strict=True):
        expected = named.setdefault(want, length) if isinstance(want, str) else want
        if length != expected:
            return False
    return True


def _spell(shape):
    """Write a shape as a reader would: (2, n_frames, 3)."""
    words = ["..." if part is Ellipsis else str(part) for part in shape]
    return f"({', '.join(words)}{',' if len(words) == 1 else ''})"


def checked_array(name: str, value, shape: tuple, dtype) -> np.ndarray:
    """Return a read-only array of a type, or say which shape came and which was wanted.

    Parameters
    ----------
    name : str
        What the array is called in the message.
    value : array_like
        The array; it is not copied where it already fits.
    shape : tuple of int, str or Ellipsis
        The wanted shape; a word stands for any length (the same word for the same length),
        a leading ``...`` for any leading axes.
    dtype : data type
        What the elements become.

    Raises
    ------
    ValueError
        If the shape differs or the elements are not numbers.
    """
    try:
        array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} cannot be read as an array of {np.dtype(dtype)} ({error}); "
            f"expected shape {_spell(shape)}."
        ) from None
    if not _matches(array.shape, tuple(shape)):
        raise ValueError(f"{name} has shape {_spell(array.shape)}; expected {_spell(shape)}.")
    array = array.view()
    array.flags.writeable = False
    return array


def float_array(name: str, value, shape: tuple, *, finite: bool = False) -> np.ndarray:
    """Return a read-only float64 array; NaN means missing, infinity is refused.

    Parameters
    ----------
    name, value, shape
        See `checked_array`.
    finite : bool
        Whether NaN is refused as well.

    Examples
    --------
    >>> float_array("xy", [[1, 2], [3, 4]], ("n_points", 2))
    array([[1., 2.],
           [3., 4.]])
    >>> float_array("xy", [1, 2, 3], ("n_points", 2))
    Traceback (most recent call last):
        ...
    ValueError: xy has shape (3,); expected (n_points, 2).
    """
    array = checked_array(name, value, shape, np.float64)
    bad = ~np.isfinite(array) if finite else np.isinf(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} holds {array[place]} at index {place}; "
            f"{'every value must be finite' if finite else 'NaN is the only missing value'}."
        )
    return array


def name_tuple(name: str, values, *, empty: bool = False) -> tuple[str, ...]:
    """Return names as a tuple of distinct, non-empty text.

    Raises
    ------
    ValueError
        If a name is missing, empty, given twice, or differs from another in case alone
        (files named after them would be one file on some disks).
    """
    if isinstance(values, str):
        raise ValueError(f"{name} is the text {values!r}; expected a list of names.")
    names = tuple(values)
    if not names and not empty:
        raise ValueError(f"{name} is empty; at least one name is needed.")
    seen: dict[str, str] = {}
    for entry in names:
        if not isinstance(entry, str) or not entry.strip():
            raise ValueError(f"{name} holds {entry!r}; every name must be non-empty text.")
        other = seen.setdefault(entry.casefold(), entry)
        if other is not entry or names.count(entry) > 1:
            how = "twice" if other == entry else f"and {other!r}, which differ only in case"
            raise ValueError(f"{name} holds {entry!r} {how}; names must be distinct.")
    return names
