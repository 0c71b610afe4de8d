"""What to install for a missing module: a dependency, a database's driver, or the client of a store of files."""

from importlib.util import find_spec

_PACKAGES = {
    "MySQLdb": "mysqlclient",
    "azure": "azure-storage-blob azure-identity",
    "botocore": "boto3",
    "google": "google-cloud-storage",
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "mlflow": "mlflow-skinny",
    "prometheus_client": "prometheus-client",
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
}
"""Names under which modules are installed, where those differ from the modules' own."""
_SPELLED_OUT = {"psycopg": ("psycopg2", "postgresql+psycopg2://"), "MySQLdb": ("pymysql", "mysql+pymysql://")}
"""Drivers that a database's plain address does not choose, and the address that does."""


def missing_package(error: ModuleNotFoundError) -> str:
    """Name the package and how to get it, or another driver that is installed, in one line."""
    top, *rest = (error.name or "").split(".")
    module = next((name for name in (".".join([top, *rest[:1]]), top) if name in _PACKAGES), top)
    package = _PACKAGES.get(module, module)
    line = f"the Python module {module} is missing; pip install '{package}'"
    other, address = _SPELLED_OUT.get(module, ("", ""))
    if not other:
        return line
    if find_spec(other) is not None:
        return f"{line}, or begin the address with {address}, whose driver is installed"
    return f"{line}; or pip install '{_PACKAGES.get(other, other)}', and begin the address with {address}"
