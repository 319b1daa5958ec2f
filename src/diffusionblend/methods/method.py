"""What is known of a method before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from diffusionblend.methods.settings import MethodSettings

if TYPE_CHECKING:
    from diffusionblend.data.result import Reconstruction


@dataclass(frozen=True)
class Method:
    """A method: what it is and when to choose it, its settings' class, where its function is.

    layout: of the prior that it needs, None for none. perpendicular: of a second one.
    starts_coarse: whether it can start from its own reconstruction on a coarser grid.
    """

    summary: str
    when: str
    settings: type[MethodSettings]
    module: str
    function: str
    layout: str | None = None
    perpendicular: str | None = None
    starts_coarse: bool = False

    @property
    def needs_prior(self) -> bool:
        """Whether it needs one."""
        return self.layout is not None

    def load(self) -> Callable[..., Reconstruction]:
        """The method's function, imported when it is wanted."""
        return getattr(import_module(f"diffusionblend.methods.{self.module}"), self.function)
