"""An operator as SciPy's, PyLops' and ODL's LinearOperator: flat vectors in, flat vectors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from diffusionblend.errors import InputError, check_kind
from diffusionblend.operators.linear import LinearOperator

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator as ScipyOperator


def to_scipy(operator: LinearOperator) -> ScipyOperator:
    """The operator for `scipy.sparse.linalg`: of a volume and projections as flat vectors.

    Its dtype is the operator's, on whatever device that computes. Raises InputError for no
    operator.
    """
    from scipy.sparse.linalg import LinearOperator as ScipyOperator

    check_kind(operator, LinearOperator, "The operator for SciPy")
    dtype = _numpy_dtype(operator)
    n_out, n_in = (int(np.prod(s)) for s in (operator.range_shape, operator.domain_shape))
    return ScipyOperator(
        shape=(n_out, n_in),
        dtype=dtype,
        matvec=lambda x: _applied(operator, x, adjoint=False),
        rmatvec=lambda y: _applied(operator, y, adjoint=True),
    )


def to_pylops(operator: LinearOperator) -> Any:
    """The operator for PyLops, with `dims` and `dimsd`: `A @ volume` keeps the shapes.

    Raises InputError for no operator, and where PyLops is not installed.
    """
    pylops = imported("pylops")
    check_kind(operator, LinearOperator, "The operator for PyLops")
    return pylops.LinearOperator(
        Op=to_scipy(operator),
        dtype=_numpy_dtype(operator),
        dims=operator.domain_shape,
        dimsd=operator.range_shape,
    )


def to_odl(operator: LinearOperator) -> Any:
    """The operator for ODL, between spaces of arrays of the operator's shapes.

    Raises InputError for no operator, and where ODL is not installed.
    """
    odl = imported("odl")
    check_kind(operator, LinearOperator, "The operator for ODL")
    dtype = _numpy_dtype(operator).name
    spaces = [odl.rn(s, dtype=dtype) for s in (operator.domain_shape, operator.range_shape)]

    class OdlOperator(odl.Operator):  # type: ignore[name-defined, misc]
        def __init__(self, wrapped: LinearOperator, domain: Any, range_: Any) -> None:
            super().__init__(domain, range_, linear=True)
            self.wrapped = wrapped

        def _call(self, x: Any) -> Any:
            return self.range.element(self.wrapped.forward(np.asarray(getattr(x, "data", x))))

        @property
        def adjoint(self) -> Any:
            return OdlOperator(self.wrapped.H, self.range, self.domain)

    return OdlOperator(operator, *spaces)


def imported(name: str) -> Any:
    """A library by its name. Raises InputError where it is not installed."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"{name} cannot be imported: {error}.",
            f"{name} installed beside this package",
            "pip install 'diffusionblend[peers]', or see docs/other-libraries.md",
        ) from error


def _numpy_dtype(operator: LinearOperator) -> np.dtype:
    """NumPy's name of the numbers that an operator computes in; float32 where it takes any."""
    return np.dtype("float64" if operator.dtype is torch.float64 else "float32")


def _applied(operator: LinearOperator, flat: np.ndarray, *, adjoint: bool) -> np.ndarray:
    """A x or A* y of a flat vector, as one."""
    shape = operator.range_shape if adjoint else operator.domain_shape
    array = np.asarray(flat, dtype=_numpy_dtype(operator)).reshape(shape)
    return (operator.adjoint(array) if adjoint else operator.forward(array)).ravel()
