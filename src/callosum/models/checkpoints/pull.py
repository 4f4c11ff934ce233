"""A published model from the hub, fetched once and only when that is asked for; then the same import as from a disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from callosum.core.errors import InputError, MissingDependency, NotFound, UsageError
from callosum.models.checkpoints.cards import require_name
from callosum.models.checkpoints.foreign import SUFFIXES, WEIGHTS
from callosum.models.checkpoints.home import HUB, models_home
from callosum.models.checkpoints.install import LICENCE_FILES, Import, Imported, import_alone
from callosum.models.checkpoints.published import PUBLISHED
from callosum.models.checkpoints.stage import hidden_folder, only_writer

SMALL = (".json", ".txt", ".gz")
"""What lies beside weights: settings and vocabularies."""


def pull_model(
    name: str, what: Import, *, allows_network: bool, tell: Callable[[str], None] = lambda _: None
) -> Imported:
    """Fetch a model from the hub and import it.

    Args:
        name: `hf-hub:ORG/REPO`, `hf-hub:ORG/REPO@REVISION`, or a family that its authors publish there.
        what: How to import it; its path and source are filled in.
        allows_network: Must be true; nothing is fetched otherwise.
        tell: Takes the name of each step as it begins.

    Raises:
        UsageError: the network is not allowed.
        NotFound: the hub has no such model, or does not answer.
        MissingDependency: `huggingface_hub` is not installed.
    """
    repository, revision = _repository(name)
    if not allows_network:
        message = "Fetching a model needs the network, which is used only when that is asked for."
        raise UsageError(message, hint=f"Run: callosum model pull {name} --allow-network")
    if what.name is not None:
        require_name(what.name)
    home = models_home()
    with only_writer(home), hidden_folder(home) as folder:
        tell("fetching")
        commit = _fetch(repository, revision, folder)
        source = f"{HUB}{repository}@{commit}" if commit else f"{HUB}{repository}"
        return import_alone(replace(what, path=folder, source=source), tell=tell)


def _repository(name: str) -> tuple[str, str | None]:
    """Repository and revision."""
    named = PUBLISHED[name].hub if name in PUBLISHED else name
    repository, _, revision = named.removeprefix(HUB).partition("@")
    if not named.startswith(HUB) or repository.count("/") != 1 or not all(repository.split("/")):
        known = ", ".join(family for family, published in PUBLISHED.items() if published.hub)
        message = f"A model to fetch is named {HUB}ORG/REPO, or one of: {known}."
        raise UsageError(message, hint="Others are brought in from a disk by: callosum model import PATH")
    return repository, revision or None


def _fetch(repository: str, revision: str | None, folder: Path) -> str | None:
    """Fetch weights, settings, vocabulary and licence of one commit; returns the commit."""
    try:
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        message = "Fetching from the hub needs the package huggingface_hub."
        raise MissingDependency(message, hint="Install the extra: pip install 'callosum[hub]'") from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        found = HfApi().model_info(repository, revision=revision)
        for file in _wanted([sibling.rfilename for sibling in found.siblings or []]):
            hf_hub_download(repository, file, revision=found.sha, local_dir=folder)
    except InputError:
        raise
    except HfHubHTTPError as error:
        message = f"The hub has no model that may be fetched under this name ({type(error).__name__})."
        raise NotFound(message, hint="Check the spelling, the revision, and its terms.") from error
    except Exception as error:  # the client raises what its transport raises
        message = f"The hub could not be reached, or the fetch broke off ({type(error).__name__})."
        raise NotFound(message, hint="Try again, or carry a pack from a machine that has the model.") from error
    return found.sha


def _wanted(files: list[str]) -> list[str]:
    """One file of weights, and the small files beside it."""
    top = [file for file in files if "/" not in file and not file.startswith(".")]
    weights = [file for file in WEIGHTS if file in top] or sorted(f for f in top if Path(f).suffix in SUFFIXES)
    if not weights:
        message = "The repository holds no file of weights that is known."
        raise InputError(message, hint=f"Known: {', '.join(WEIGHTS)}.")
    return [weights[0], *(file for file in top if file.endswith(SMALL) or file in LICENCE_FILES)]
