"""The viewer's page: one HTML text with its style and script inside, with or without the volumes.

Nothing is loaded from elsewhere, and a content security policy forbids it: the one script is known
by its hash.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from importlib import resources
from pathlib import Path

from diffusionblend.errors import InputError
from diffusionblend.viewer.scene import Scene

TEMPLATE = "viewer.html.j2"
STYLE = "viewer.css"
SCRIPTS = (
    *("volumes.js", "planes.js", "slabs.js", "panes.js", "profile.js", "files.js"),
    *("toolbar.js", "keys.js", "address.js", "viewer.js"),
)
"""In the order in which they build on each other; the page holds them as one script."""
MAX_EMBEDDED_BYTES = 128 << 20
"""The most voxels, in bytes, that one file takes; browsers become slow beyond."""
COMPRESSION_LEVEL = 5


def viewer_page(scene: Scene, *, embedded: bool = False) -> str:
    """The page as HTML; with `embedded` the volumes are inside, else the page fetches them.

    Raises InputError for volumes too large to be embedded.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    blobs = _blobs(scene) if embedded else []
    script = "\n".join(_asset(name) for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    environment = Environment(
        loader=PackageLoader("diffusionblend.viewer", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    facts = json.dumps(scene.facts() | {"takes_files": not embedded}, allow_nan=False).replace(
        "<", "\\u003c"
    )
    return environment.get_template(TEMPLATE).render(
        title=", ".join(scene.volumes),
        names=list(scene.volumes),
        has_reference=scene.reference is not None,
        has_deviation=bool(scene.deviations),
        has_band=bool(scene.bands),
        windows=_window_titles(scene),
        unit=scene.unit,
        step="10" if scene.unit == "HU" else "any",
        style=_asset(STYLE),
        script=script,
        script_hash=digest,
        connections="'none'" if embedded else "'self'",
        facts=facts,
        blobs=blobs,
    )


def _window_titles(scene: Scene) -> dict[str, str]:
    """What each window covers, in words."""
    facts = scene.facts()
    digits = int(facts["digits"])
    return {
        name: f"{low * scene.step:.{digits}f} to {high * scene.step:.{digits}f} {scene.unit}"
        for name, (low, high) in facts["windows"].items()
    }


def write_static_page(scene: Scene, path: Path | str, *, force: bool = False) -> None:
    """Write the page with the volumes inside to one file, whole or not at all.

    Raises InputError for volumes too large, OutputExistsError, OutputWriteError.
    """
    from diffusionblend.io.atomic import atomic_output

    page = viewer_page(scene, embedded=True)
    with atomic_output(path, force=force) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def check_embeddable(n_bytes: int) -> None:
    """Raises InputError where so many bytes of voxels are too many for one file."""
    if n_bytes > MAX_EMBEDDED_BYTES:
        raise InputError(
            f"The volumes have {n_bytes / 1e6:.0f} MB of voxels.",
            f"at most {MAX_EMBEDDED_BYTES / 1e6:.0f} MB for a static page",
            "fewer volumes, or smaller ones ('diffusionblend import --size 256')",
        )


def _blobs(scene: Scene) -> list[str]:
    """Each of the scene's arrays compressed (gzip) and as base64 text."""
    check_embeddable(sum(values.nbytes for values in scene.arrays))
    packed = (
        gzip.compress(values.data.cast("B"), COMPRESSION_LEVEL, mtime=0) for values in scene.arrays
    )
    return [base64.b64encode(p).decode() for p in packed]


def _asset(name: str) -> str:
    folder = resources.files("diffusionblend.viewer") / "assets"
    return (folder / name).read_text(encoding="utf-8").strip()
