"""An imported policy as MLflow keeps it: a run with its proof and its returns, and a registered version."""

import json
import tempfile
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.durable import new_folder
from polserve.protos.shared.signing import sign_folder
from polserve.protos.shared.version_names import VersionName
from polserve.training.errors import RegistryError
from polserve.training.evaluation.evaluation import Evaluation
from polserve.training.imports.making import Proven, make_version
from polserve.training.registry.pages import run_page
from polserve.training.registry.store import connect
from polserve.training.registry.tracking import TrackedRun
from polserve.training.registry.versions import PolicyRegistry
from polserve.training.runs.beginning import EXPERIMENT
from polserve.training.runs.report import write_evaluation

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class ImportedVersion:
    """A version that was imported: registered, or written into a folder."""

    name: str
    """The policy's name."""
    version: str
    """The version's number."""
    spec: pb.PolicySpec
    evaluation: Evaluation | None
    """Returns beside those of the random policy; None where its environment is not installed."""
    path: Path | None = None
    """Folder of the version; None where it was registered."""
    run_id: str = ""
    """The MLflow run of the import; "" for none."""
    page: str = ""
    """Where MLflow shows the run."""
    is_champion: bool = False
    """Whether the version is @champion."""


def register(proven: Proven, tracking_uri: str | None, key: "Ed25519PrivateKey | None" = None) -> ImportedVersion:
    """Log a run with the proof and the returns, and register the version, signed where there is a key.

    Raises:
        RegistryError: the registry does not answer or does not take it.
        ExportRefused: the graph answers otherwise at another batch size.
    """
    client = connect(tracking_uri)
    registry, source = PolicyRegistry(client), proven.policy.source
    tags = {
        "policy": proven.name,
        "env_id": proven.place.environment.id,
        "algo": proven.policy.algorithm,
        "imported_from": source.tool,
    }
    with TrackedRun.start(client, EXPERIMENT, f"{proven.name}-import", tags) as run:
        version = make_version(proven, _provenance(proven, run.run_id))
        run.log_params({"tool": source.tool, "file": source.file, "sha256": source.sha256, **_settings(proven)})
        run.log_metrics(_figures(proven), proven.policy.environment_steps)
        with tempfile.TemporaryDirectory() as folder:
            _write_report(Path(folder), proven, version.spec)
            run.log_files(Path(folder))
        number = registry.register(version, run.run_id, key)
    champion = registry.champion(proven.name)
    return ImportedVersion(
        name=proven.name,
        version=number,
        spec=version.spec,
        evaluation=proven.evaluation,
        run_id=run.run_id,
        page=run_page(client, run.run_id),
        is_champion=champion is not None and registry.resolve(VersionName(proven.name)) == number,
    )


def write(proven: Proven, folder: Path, key: "Ed25519PrivateKey | None" = None) -> ImportedVersion:
    """Write the version into a folder of policies, under the next free number, signed where there is a key.

    Its report lies beside it.

    Raises:
        ExportRefused: the graph answers otherwise at another batch size.
    """
    version = make_version(proven, _provenance(proven, ""))
    numbers = [int(path.name) for path in (folder / proven.name).glob("*") if path.name.isdigit()]
    path = folder / proven.name / str(max(numbers, default=0) + 1)
    try:
        with new_folder(path) as partial:
            version.write(partial)
            if key is not None:
                sign_folder(partial, proven.name, key)
            _write_report(partial / "report", proven, version.spec)
    except OSError as error:
        raise RegistryError(f"the version cannot be written into {path}: {error.strerror or error}") from error
    return ImportedVersion(proven.name, path.name, version.spec, proven.evaluation, path)


def _provenance(proven: Proven, run_id: str) -> pb.Provenance:
    """Provenance of the version, as far as the file tells it."""
    policy = proven.policy
    return pb.Provenance(
        run_id=run_id,
        seed=policy.seed,
        environment_steps=policy.environment_steps,
        package_version=installed_version("polserve"),
        settings_json=json.dumps(dict(policy.settings), sort_keys=True),
        source=policy.source.message(),
    )


def _settings(proven: Proven) -> dict[str, object]:
    return {"algorithm": proven.policy.source.algorithm, **proven.policy.settings}


def _figures(proven: Proven) -> dict[str, float]:
    figures = {"import/largest_relative_difference": proven.proof.largest_difference}
    if proven.evaluation is not None:
        figures |= proven.evaluation.metrics
    return figures


def _write_report(folder: Path, proven: Proven, spec: pb.PolicySpec) -> None:
    """Write into `folder` what the comparison showed, and where the policy was evaluated, its returns."""
    folder.mkdir(parents=True, exist_ok=True)
    source, parity = spec.provenance.source, spec.parity
    story = (
        f"Imported from {source.file} ({source.tool}, {source.algorithm}; sha256 {source.sha256}). Its actions were "
        f"compared with those of {parity.compared_with} on {parity.compared_observations:,} observations: "
        f"largest difference {parity.largest_relative_difference:.3g} of an action's range, {parity.ties} ties."
    )
    if proven.evaluation is not None:
        write_evaluation(folder, proven.evaluation, story)
    else:
        (folder / "evaluation.md").write_text(
            f"# {proven.name}\n\n{story}\n\nIt was not evaluated: {proven.place.missing}.\n"
        )
