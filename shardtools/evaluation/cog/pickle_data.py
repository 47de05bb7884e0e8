"""Lists, texts and arrays out of a pickle that a stranger made, without running anything that stands in it.

Owns what is let through. A pickle is a program; here its steps are looked at first, one by one, and only those that
put together containers, texts, numbers and NumPy's arrays are known. Names that NumPy's own pickles refer to are bound
to stand-ins of this module, so nothing that a pickle names is ever imported, and an array holds no more than the bytes
that stand in the file. The price: the steps are walked twice.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import pickletools
from typing import IO, Any, Literal

import numpy as np

from shardtools.errors import SourceError, first_line
from shardtools.words import rough_size

MAX_FILE_BYTES = 4 << 30
"""The largest published file has 678 MB."""

# fmt: off
_OPCODES = frozenset(
    {
        # The frame, and the stack.
        "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK",
        # Plain values.
        "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT",
        "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING",
        "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        # Containers.
        "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_TUPLE",
        "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_SET", "ADDITEMS", "FROZENSET",
        # What was read before.
        "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
        # NumPy's arrays: names are bound below, and only those.
        "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
    }
)
# fmt: on
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_KINDS = ("U", "S", "O", "i", "u")
_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class Array:
    """What stands for an array while a pickle is read; `values` makes it one.

    It has no method that a pickle could call but `__setstate__`, which takes what NumPy writes and checks it.
    """

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: list[Any] | np.ndarray[Any, np.dtype[Any]] = []

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, _is_fortran, content = state
        if not isinstance(kind, _Kind) or len(shape) != 1:
            raise pickle.UnpicklingError(f"an array of shape {list(shape)}, expected a list of texts or numbers")
        [length] = shape
        dtype = kind.dtype
        if dtype.kind == "O":
            if type(content) is not list or len(content) != length:
                raise pickle.UnpicklingError(f"an array of {length} objects that holds {type(content).__name__}")
            self._values = list(content)
            return
        if type(content) is not bytes or len(content) != length * dtype.itemsize:
            raise pickle.UnpicklingError(f"an array whose bytes are not those of {length} values")
        self._values = np.frombuffer(content, dtype)

    def values(self) -> list[Any]:
        """Its values as Python has them."""
        return self._values if isinstance(self._values, list) else list(self._values.tolist())


class _Kind:
    """What stands for a dtype: its code, and the order of bytes that its state names."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str) -> None:
        self._code = code
        self._order: Literal["<", ">", "|"] = "|"

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|"):
            raise pickle.UnpicklingError(f"an order of bytes {state[1]!r}")
        self._order = state[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's, of texts or whole numbers."""
        # "O8" is how old releases write objects.
        code = "O" if self._code.startswith("O") else self._code
        found = np.dtype(code)
        if found.kind not in _KINDS or found.subdtype is not None or found.itemsize == 0:
            raise pickle.UnpicklingError(f"values of type {code!r}, expected texts or whole numbers")
        return found if self._order == "|" else found.newbyteorder(self._order)


class _Known:
    """A name that a pickle may refer to: something to call, or a mark (`ndarray`). It has nothing to be changed."""

    __slots__ = ()

    def __call__(self, *args: Any) -> Any:
        raise pickle.UnpicklingError("a step that NumPy does not write")


class _Reconstruct(_Known):
    __slots__ = ()

    def __call__(self, *args: Any) -> Array:
        # What NumPy writes: an empty array, filled by the state that follows. Any other shape would be memory.
        if len(args) != 3 or args[1] != (0,):
            raise pickle.UnpicklingError("an array that is made with a shape of its own")
        return Array()


class _MakeKind(_Known):
    __slots__ = ()

    def __call__(self, *args: Any) -> _Kind:
        if not args or type(args[0]) is not str or len(args[0]) > 16:
            raise pickle.UnpicklingError("a type of values that is no short code")
        return _Kind(args[0])


class _Scalar(_Known):
    __slots__ = ()

    def __call__(self, *args: Any) -> Any:
        kind, content = args
        if not isinstance(kind, _Kind) or type(content) is not bytes or len(content) != kind.dtype.itemsize:
            raise pickle.UnpicklingError("a single value whose bytes are not those of its type")
        return np.frombuffer(content, kind.dtype).tolist()[0]


class _Encode(_Known):
    """Bytes as protocols 0 to 2 write them: a text, and Latin-1."""

    __slots__ = ()

    def __call__(self, *args: Any) -> bytes:
        text, encoding = args
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("bytes in an encoding that pickles do not use")
        return text.encode("latin-1")


class _Set(_Known):
    __slots__ = ()

    def __call__(self, *args: Any) -> set[Any]:
        [values] = args
        if type(values) is not list:
            raise pickle.UnpicklingError("a set of something else than a list")
        return set(values)


_NAMES: dict[tuple[str, str], _Known] = {
    ("numpy", "ndarray"): _Known(),
    ("numpy", "dtype"): _MakeKind(),
    ("_codecs", "encode"): _Encode(),
    ("builtins", "set"): _Set(),
    ("__builtin__", "set"): _Set(),
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _Reconstruct()), ("scalar", _Scalar()))
    },
}


class _ForeignNameError(Exception):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found = _NAMES.get((module_name, global_name))
        if found is None:
            raise _ForeignNameError(f"{module_name}.{global_name}")
        return found


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """What a pickle holds: lists, tuples, sets and dicts of texts, numbers and `Array`.

    Args:
        path: A local file.

    Raises:
        SourceError: It cannot be read, is too large, refers to anything but NumPy's arrays, or is damaged.
    """
    where = os.fspath(path)
    try:
        num_bytes = os.stat(path).st_size
        if not 0 < num_bytes <= MAX_FILE_BYTES:
            raise SourceError(
                f"{where} has {rough_size(num_bytes)}, expected a pickle of at most {rough_size(MAX_FILE_BYTES)}: is "
                "it the published file?"
            )
        # Mapped, a read of more than there is ends at the end, whatever length a step names.
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check_steps(content)
            content.seek(0)
            return _Unpickler(content).load()
    except OSError as error:
        raise SourceError(f"{where} cannot be read ({first_line(error)}): check the path") from None
    except _ForeignNameError as error:
        raise SourceError(
            f"{where} refers to {first_line(error)}, and only NumPy's arrays, lists, dicts, texts and numbers are read "
            "from a pickle, because anything else could run: get the published file again"
        ) from None
    except _ERRORS as error:
        raise SourceError(
            f"{where} is no pickle of lists and arrays ({first_line(error)}): get the published file again"
        ) from None


def _check_steps(content: mmap.mmap) -> None:
    """Refuses steps that put nothing harmless together, and memory that is asked for without being in the file."""
    stream: IO[bytes] = content  # type: ignore[assignment]  # it has read, readline and tell, which is all that is used
    for number, (step, argument, _place) in enumerate(pickletools.genops(stream)):
        if step.name not in _OPCODES:
            raise pickle.UnpicklingError(f"a step {step.name}")
        if step.name == "GLOBAL" and tuple(str(argument).split(" ")) not in _NAMES:
            raise _ForeignNameError(".".join(str(argument).split(" ")))
        # Places are numbered as they come; a far one would be a table of that length.
        if step.name in _PUTS and not 0 <= int(argument or 0) <= number:
            raise pickle.UnpicklingError(f"a place {argument} among {number} steps")
        if isinstance(argument, float) and not math.isfinite(argument):
            raise pickle.UnpicklingError("a number that is not finite")
