"""Where errors of other libraries end: what a model from elsewhere causes is said in a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mquans.errors import ModelError, MquansError
from mquans.files import printable


@contextlib.contextmanager
def model_errors(where: str) -> Iterator[None]:
    """Around all that reads a model.

    Args:
        where: the model, for messages.

    Raises:
        ModelError: in place of any error that is not raised on purpose.
    """
    try:
        yield
    except MquansError:
        raise
    except MemoryError:
        raise ModelError("there is not enough memory to read it.", where=where) from None
    except Exception as error:
        lines = str(error).splitlines() or [""]
        raise ModelError(
            f"it cannot be read ({type(error).__name__}: {printable(lines[0])}).",
            where=where,
            hint="If onnxruntime runs it, please report this with the model.",
        ) from error
