"""The option that says where the service is."""

from typing import Annotated

import typer

Target = Annotated[str, typer.Option(help="Address of the service.", envvar="POLSERVE_TARGET")]
DEFAULT_TARGET = "localhost:50051"
