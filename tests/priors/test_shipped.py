"""Finding a prior by name, folder and hub id; the hub itself is never asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.api import make_method
from diffusionblend.priors import store
from diffusionblend.priors.prior import PRIOR_FILE, WEIGHTS_FILE, load_prior
from diffusionblend.priors.store import (
    default_priors,
    find_prior,
    shipped_for,
    shipped_priors,
)
from diffusionblend.runs.band_card import CARD_FILE, counted_settings, read_card


def test_shipped_calibrations_are_of_their_weights_and_of_patients_that_trained_nothing() -> None:
    """After a change 'diffusionblend calibrate' fits them again: docs/results/calibration.md."""
    cards = {n: f / CARD_FILE for n, f in shipped_priors().items() if (f / CARD_FILE).is_file()}
    assert "chest" in cards
    for name, path in cards.items():
        card, facts = read_card(path), store.shipped_facts()[name]
        assert card.weights == {"prior": facts["weights_sha256"]}
        assert not set(card.patients) & set(facts["trained"]["volumes"])
        method = make_method(card.method).for_ensemble(0).resolved(frozenset({"prior"}))
        assert card.settings == counted_settings(method), "the defaults have changed"


@pytest.fixture
def hub(tiny_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """A hub that has the tiny prior under any id; the calls that it got."""
    calls = []

    def snapshot_download(repository: str, **options: object) -> str:
        calls.append({"repository": repository, **options})
        return str(shutil.copytree(tiny_prior, tmp_path / "cache", dirs_exist_ok=True))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return calls


def failing(error: Exception) -> Callable[..., str]:
    def snapshot_download(*_: object, **__: object) -> str:
        raise error

    return snapshot_download


@pytest.mark.parametrize(
    ("hub_id", "repository", "revision"),
    [
        ("someone/chest-512", "someone/chest-512", None),
        ("some.one/chest_512@v1.2", "some.one/chest_512", "v1.2"),
        ("someone/chest@refs/pr/3", "someone/chest", "refs/pr/3"),
        ("someone/chest@0d4195851b94", "someone/chest", "0d4195851b94"),
    ],
)
def test_a_hub_id_fetches_only_what_a_prior_needs(
    hub: list[dict], tiny_prior: Path, hub_id: str, repository: str, revision: str | None
) -> None:
    prior = load_prior(hub_id)
    assert prior.weights_sha256 == load_prior(tiny_prior).weights_sha256
    (call,) = hub
    assert (call["repository"], call["revision"]) == (repository, revision)
    assert set(call["allow_patterns"]) == {
        "prior.json",
        "config.json",
        "*.safetensors",
        "calibration.json",
        "README.md",
    }


def test_names_and_folders_come_before_the_hub(
    hub: list[dict], tiny_prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in shipped_priors().items():
        assert find_prior(name) == folder
    shutil.copytree(tiny_prior, tmp_path / "someone" / "chest")
    monkeypatch.chdir(tmp_path)
    assert find_prior("someone/chest") == Path("someone/chest")
    assert hub == []


def grid(pixels: int, pixel_mm: float = 2.0) -> Grid:
    return Grid(shape=(3, pixels, pixels), spacing_mm=(2.0, pixel_mm, pixel_mm))


def test_the_default_priors_are_shipped() -> None:
    assert set(store.DEFAULT_ORDER) <= set(shipped_priors())


def test_a_prior_for_one_size_is_taken_for_slices_of_that_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        store, "shipped_facts", lambda: {"small": facts(), "large": facts(size=256)}
    )
    monkeypatch.setattr(store, "DEFAULT_ORDER", ("small", "large"))
    found = [shipped_for(grid(pixels)) for pixels in (128, 256, 100)]
    assert found == ["small", "large", "small"]
    assert shipped_for(grid(128), "slices") is None
    assert default_priors() == ("small",)


def facts(prior_type: str = "joint", size: int = 128, **more: object) -> dict:
    network = {"prior_type": prior_type, "image_size": size}
    codes = {"length_codes": 8} if more else {}
    return {"network": network | codes, **more}


def test_the_first_shipped_prior_that_serves_the_scan_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order alone decides; a prior for every pixel size serves any slices of its pixels."""
    shipped = {
        "slices": facts("slices", pixel_range_mm=(0.5, 9.0)),
        "old": facts(),
        "new": facts(pixel_range_mm=(0.6, 6.0)),
        "left-out": facts(size=64),
    }
    monkeypatch.setattr(store, "shipped_facts", lambda: shipped)
    for order, expected in (
        (("new", "old", "slices"), ["new", "new", "new", "new", "old"]),
        (("old", "new", "slices"), ["old", "new", "new", "old", "old"]),
        (("old",), ["old", "old", "old", "old", "old"]),
    ):
        monkeypatch.setattr(store, "DEFAULT_ORDER", order)
        grids = (grid(128), grid(256), grid(100), grid(128, 0.6), grid(128, 6.1))
        assert [shipped_for(g) for g in grids] == expected
        assert shipped_for(grid(64), "slices") == ("slices" if len(order) > 1 else None)
        assert default_priors() == ((order[0], "slices") if len(order) > 1 else order)


@pytest.mark.parametrize(
    "text", ["thorax", "/no/such/folder", "a/b/c", "./a/b", "../b", "a/", "a/b@", "~/priors", "-/-"]
)
def test_what_is_no_hub_id_is_never_asked_for(hub: list[dict], text: str) -> None:
    with pytest.raises(InputError, match="There is no prior") as caught:
        find_prior(text)
    assert "owner/name" in caught.value.expected
    assert hub == []


def test_a_path_is_no_hub_id(hub: list[dict]) -> None:
    with pytest.raises(InputError, match="There is no prior"):
        find_prior(Path("someone/chest"))
    assert hub == []


def test_weights_from_the_hub_are_checked_as_any(hub: list[dict], tmp_path: Path) -> None:
    weights = find_prior("someone/chest") / WEIGHTS_FILE
    damaged = bytearray(weights.read_bytes())
    damaged[-100] ^= 1

    def damage(*_: object, **__: object) -> str:
        weights.write_bytes(damaged)
        return str(weights.parent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.snapshot_download", damage)
        with pytest.raises(InputError, match="corrupt"):
            load_prior("someone/chest")
        (weights.parent / PRIOR_FILE).unlink()
        with pytest.raises(InputError, match=f"{PRIOR_FILE} not found"):
            load_prior("someone/chest")


def answer(kind: type[Exception], status: int) -> Exception:
    return kind(f"{status} Client Error", response=SimpleNamespace(headers={}, request=None))


class NoConnection(Exception):
    """An error of the network library under the hub's, which is not always the same one."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (answer(RepositoryNotFoundError, 404), "no repository someone/chest"),
        (answer(GatedRepoError, 403), "hf auth login"),
        (answer(RevisionNotFoundError, 404), "no revision 'v9'"),
        (LocalEntryNotFoundError("Cannot find it on disk\nand more"), "Cannot find it on disk"),
        (HFValidationError("Repo id must be so and so"), "must be so and so"),
        (NoConnection("Name or service not known"), "Name or service not known"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError(), "ValueError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_hub_that_cannot_give_it_is_reported_with_what_to_try(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", failing(error))
    with pytest.raises(InputError) as caught:
        load_prior("someone/chest@v9")
    assert words in str(caught.value)
    assert caught.value.expected and caught.value.try_
    assert "and more" not in str(caught.value)


def test_the_library_itself_offline_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hub's own code, kept from the network and with an empty cache."""
    import huggingface_hub

    online = huggingface_hub.snapshot_download

    def offline(*arguments: object, **options: object) -> str:
        return online(*arguments, cache_dir=tmp_path, local_files_only=True, **options)

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(InputError, match="could not be fetched") as caught:
        load_prior("someone/chest")
    assert "huggingface.co" in caught.value.expected
