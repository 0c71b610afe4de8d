"""`polserve sign`."""

from pathlib import Path
from typing import Annotated

import typer


def sign(
    version: Annotated[
        str, typer.Argument(help="POLICY for its champion, POLICY/VERSION, POLICY@ALIAS, or the folder of a version.")
    ],
    *,
    key: Annotated[Path, typer.Option(help="File with the Ed25519 private key, in PEM.", envvar="POLSERVE_SIGN_KEY")],
    policy: Annotated[
        str, typer.Option(help="Name of the policy, where a folder's place does not tell it. [the folder above]")
    ] = "",
) -> None:
    """Sign a version, so that services with --trusted-keys take it.

    The signature covers model.onnx, with the spec in it, and the golden observations. It is kept beside them, in the
    registry (MLFLOW_TRACKING_URI, or ./mlflow.db) or in the folder.
    """
    from polserve.protos.shared.version_names import VersionName, names_folder
    from polserve.training.signing import sign_registered, sign_version_folder, signing_key

    private = signing_key(key)
    if names_folder(version) or Path(version).is_dir():
        folder = Path(version).expanduser()
        path = sign_version_folder(folder, policy or folder.resolve().parent.name, private)
        print(f"signed {folder}: {path}")
    else:
        print(f"signed {sign_registered(VersionName.parse(version), private)}")
