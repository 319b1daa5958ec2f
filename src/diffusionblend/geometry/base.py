"""What every acquisition geometry answers for itself, and under which name files keep it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.registry import Registry

if TYPE_CHECKING:
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.geometry.vectors import Panels, VectorGeometry

TYPE_KEY = "type"
"""Under this key `to_dict` keeps the registered name."""

_registered: dict[str, type[Geometry]] = {}

GEOMETRIES: Registry[Geometry] = Registry(
    "geometry", "diffusionblend.geometries", {}, base="diffusionblend.geometry.base:Geometry"
)
"""Those of other packages, so that files are read without importing their modules first."""


class Geometry(ABC):
    """Where source and detector are in every view; lengths in mm from the centre of the volume.

    A subclass is a frozen, keyword-only dataclass with `n_columns`, `couples_slices` (False:
    detector row r sees slice r alone) and the three abstract members below. That is all the X-ray
    transform needs; filtered back-projection knows its own geometries and refuses others. A name in
    the class statement registers it, so that projection files can store it:

        @dataclass(frozen=True, kw_only=True)
        class Saddle(Geometry, name="saddle"): ...

    An entry point of the group `diffusionblend.geometries`, under the same name, has the module
    imported when such a file is read. A subclass of a registered class is not registered by that.
    Raises InputError where two classes take one name.
    """

    couples_slices: ClassVar[bool]
    registered_name: ClassVar[str | None]
    n_columns: int

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.registered_name = name
        if name is None:
            return
        other = _registered.get(name)
        if other is not None and _place(other) != _place(cls):
            raise InputError(
                f"Two geometries are called {name!r}: {_place(other)} and {_place(cls)}.",
                "a name of its own for each",
            )
        _registered[name] = cls

    @property
    @abstractmethod
    def n_views(self) -> int:
        """Number of views."""

    @abstractmethod
    def detector_rows(self, grid: Grid) -> int:
        """Rows of the projections of a grid."""

    @abstractmethod
    def to_vectors(self) -> VectorGeometry:
        """The same rays as sources and flat panels, view by view; raises InputError if none.

        Where slices are independent: one row, everything at z = 0.
        """

    def panels(self) -> Panels:
        """What the kernels for coupled slices trace: its vectors as arrays.

        A subclass whose detector is no flat panel, but upright in every column, has a panel of one
        column for every view and column.
        """
        return self.to_vectors().panels()

    @property
    def column_at_axis_mm(self) -> float:
        """Width of a detector column as it projects onto the axis of rotation, in the first
        view.
        """
        vectors = self.to_vectors()
        width = float(np.linalg.norm(vectors.column_steps_mm[0]))
        if vectors.parallel:
            return width
        normal = np.cross(vectors.column_steps_mm[0], vectors.row_steps_mm[0])
        to_axis, to_panel = vectors.sources_mm[0] @ normal, vectors.central_rays()[0] @ normal
        return width * abs(float(to_axis / to_panel))

    def source_positions_mm(self) -> np.ndarray | None:
        """Position of the source of every view, (view, 3) as (x, y, z) in mm; None if parallel."""
        vectors = self.to_vectors()
        return None if vectors.parallel else np.array(vectors.sources_mm)

    def sees(self, points_mm: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Which of the points (point, 3) lie on the detector in all of the views (by number).

        Ends along the detector's rows count; those along z do not, unless a subclass has them
        count, since a helix never sees all of a volume along z. Shape (point,).
        """
        return self.to_vectors().sees(points_mm, views)

    def with_opposite_rays(self) -> Self:
        """The geometry with a detector that also has the rays measured from the opposite side.

        Itself, but for beams that turn about an axis beside the middle of their detector.
        """
        return self

    def of_views(self, views: np.ndarray) -> Geometry:
        """The geometry of some of the views, by number, in the order given: by its vectors.

        Raises InputError where slices are independent, which vectors are not.
        """
        if not self.couples_slices:
            raise InputError(
                f"Some views of a {type(self).__name__} were asked for.",
                "a class that picks them itself, by of_views",
            )
        return self.to_vectors().of_views(views)

    def to_dict(self) -> dict[str, Any]:
        """Its registered name as "type" and its fields as plain values (numbers, text, tuples).

        Raises InputError for a class that is not registered, or whose fields do not make it again.
        """
        cls = type(self)
        if cls.registered_name is None:
            raise InputError(
                f"The geometry {cls.__name__} is not registered, so no file can store it.",
                "a frozen dataclass with a name in its class statement",
                f'class {cls.__name__}({cls.__mro__[1].__name__}, name="{cls.__name__.lower()}")',
            )
        if "__dataclass_fields__" not in vars(cls):
            raise InputError(
                f"The geometry {cls.__name__} is no dataclass itself, so its fields are unknown.",
                "@dataclass(frozen=True, kw_only=True) above its class statement",
            )
        values = {field.name: _plain(getattr(self, field.name)) for field in fields_of(cls)}
        if cls(**values) != self:
            raise InputError(
                f"The fields of this {cls.__name__} do not make an equal one.",
                "fields that hold all of it and compare by value",
            )
        return {TYPE_KEY: cls.registered_name} | values

    @staticmethod
    def from_dict(described: Mapping[str, Any]) -> Geometry:
        """The geometry that `to_dict` described.

        Lists, as JSON makes them of tuples, become tuples; fields with a default may be missing.
        Raises InputError for a name that is not registered and for missing, unknown or wrong
        fields.
        """
        values = {name: _plain(value) for name, value in described.items()}
        cls = geometry_class(values.pop(TYPE_KEY, None))
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            known = ", ".join(field.name for field in fields_of(cls))
            raise InputError(
                f"The geometry {cls.registered_name!r} cannot be made of its fields: {error}.",
                f"the fields {known}",
            ) from error


def registered_geometries() -> dict[str, type[Geometry]]:
    """Every geometry that files can store, by its name."""
    return {name: cls for name, cls in _registered.items() if is_dataclass(cls)}


def geometry_class(name: object) -> type[Geometry]:
    """The class registered under a name, imported where an installed package has it.

    Raises InputError for an unknown one, and for a package that cannot be imported.
    """
    if isinstance(name, str) and name not in _registered and name in GEOMETRIES:
        found = GEOMETRIES[name]
        if found.registered_name != name:
            raise InputError(
                f"The package {GEOMETRIES.package_of(name)} has the geometry {name!r} as "
                f"{_place(found)}, whose own name is {found.registered_name!r}.",
                "one name in the entry point and in the class statement",
                f'class {found.__name__}(Geometry, name="{name}")',
            )
    cls = _registered.get(name) if isinstance(name, str) else None
    if cls is None or not is_dataclass(cls):
        known = ", ".join(map(repr, dict.fromkeys((*_registered, *GEOMETRIES))))
        raise InputError(
            f"The geometry {name!r} is unknown.",
            f"one of {known}",
            "install the package that has it under the entry point diffusionblend.geometries, or "
            "in Python import the module that defines it first",
        )
    return cls


def fields_of(cls: type[Geometry]) -> tuple[Field[Any], ...]:
    """The fields of a geometry's class, which is a dataclass."""
    return fields(cast("Any", cls))


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _plain(value: object) -> object:
    """A field's value without lists and NumPy's types."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, tuple | list):
        return tuple(_plain(v) for v in value)
    return value


def settle(geometry: object, **kinds: type) -> None:
    """Give fields of a frozen dataclass their own plain type. Raises InputError where one cannot.

    kinds: the type of each field; a whole number may be given as any number that is whole.
    """
    for name, kind in kinds.items():
        value = getattr(geometry, name)
        try:
            plain = kind(value)
            right = kind is not int or plain == value
        except (TypeError, ValueError, OverflowError):
            right = False
        if not right:
            raise InputError(
                f"{type(geometry).__name__}.{name} is {value!r}.",
                "a whole number" if kind is int else "a number",
            )
        object.__setattr__(geometry, name, plain)
