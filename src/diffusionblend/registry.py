"""Names that stand for classes: those of the package, and those of other packages by entry point.

Another package adds a class by a line of its pyproject.toml, such as

    [project.entry-points."diffusionblend.methods"]
    my-method = "my_package.my_module:MyMethod"

Nothing is imported before it is asked for by its name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from diffusionblend.errors import InputError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from importlib import metadata

Kind = TypeVar("Kind")


class Registry(Mapping[str, type[Kind]], Generic[Kind]):
    """The classes of one kind by name: the built-in ones and the entry points of a group.

    kind: what they are, in words ("method"). group: of the entry points. built_in: name to
    "module:attribute". base: "module:attribute" of the class that each must derive from, if any.
    A built-in name always means the built-in class. It is a mapping that cannot be changed:
    `METHODS["dds"]` is the class, and iteration gives the names.
    """

    def __init__(
        self, kind: str, group: str, built_in: Mapping[str, str], base: str | None = None
    ) -> None:
        self.kind, self.group = kind, group
        self._built_in, self._base = dict(built_in), base

    def names(self) -> tuple[str, ...]:
        """The built-in names in their order, then those of other packages, sorted."""
        others = {entry.name for entry in self._entry_points()} - self._built_in.keys()
        return (*self._built_in, *sorted(others))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        return f"<Registry of the kind {self.kind!r}: {', '.join(self.names())}>"

    __eq__, __hash__ = object.__eq__, object.__hash__  # to compare classes would load them all

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self.names()

    def __getitem__(self, name: str) -> type[Kind]:
        """The class of a name.

        Raises UnknownNameError, an InputError and a KeyError, where there is none of that name, and
        InputError where two other packages have one, or where another package's cannot be imported
        or is not what it should be.
        """
        if name in self._built_in:
            return _attribute(self._built_in[name])
        entries = [entry for entry in self._entry_points() if entry.name == name]
        if not entries:
            raise UnknownNameError(
                f"There is no {self.kind} {name!r}.",
                f"one of {', '.join(self.names())}",
                self._suggestion(name),
            )
        if len({entry.value for entry in entries}) > 1:
            packages = sorted({_package_of(entry) for entry in entries})
            raise InputError(
                f"The {self.kind} {name!r} is in {len(entries)} packages: {', '.join(packages)}.",
                f"one package with a {self.kind} of that name",
                "uninstall one of them",
            )
        return self._load(entries[0])

    def usable(self) -> dict[str, type[Kind]]:
        """Every class that can be had, by name; warns of each that cannot, and leaves it out."""
        found = {}
        for name in self.names():
            try:
                found[name] = self[name]
            except InputError as error:
                warnings.warn(f"{error.got} It is left out.", stacklevel=2)
        return found

    def package_of(self, name: str) -> str | None:
        """The distribution that a name comes from, None for a built-in one."""
        if name in self._built_in:
            return None
        return next((_package_of(e) for e in self._entry_points() if e.name == name), None)

    def _entry_points(self) -> tuple[metadata.EntryPoint, ...]:
        from importlib import metadata

        return tuple(metadata.entry_points(group=self.group))

    def _load(self, entry: metadata.EntryPoint) -> type[Kind]:
        """What an entry point names; whatever goes wrong there becomes an InputError."""
        package = _package_of(entry)
        try:
            found = entry.load()
        except Exception as error:
            raise InputError(
                f"The {self.kind} {entry.name!r} of the package {package} cannot be imported: "
                f"{type(error).__name__}: {str(error).rstrip('.')}.",
                f"{entry.value} to be importable",
                f"mend or uninstall {package}",
            ) from error
        if self._base is not None:
            base = _attribute(self._base)
            if not (isinstance(found, type) and issubclass(found, base)):
                raise InputError(
                    f"The {self.kind} {entry.name!r} of the package {package}, {entry.value}, is "
                    f"not derived from {base.__name__}.",
                    f"a subclass of {self._base.replace(':', '.')}",
                    f"mend or uninstall {package}",
                )
        return found

    def _suggestion(self, name: str) -> str:
        return did_you_mean(str(name), self.names())


def _attribute(place: str) -> Any:
    """The class at "module:attribute"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _package_of(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(".")[0]
