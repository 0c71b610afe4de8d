"""What to install where a library lacks one that it needs: a database's driver, or the client of a store of files."""

from importlib.util import find_spec

_PACKAGES = {
    "MySQLdb": "mysqlclient",
    "azure": "azure-storage-blob azure-identity",
    "botocore": "boto3",
    "google": "google-cloud-storage",
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
}
"""Names under which modules are installed, where those are others."""
_SPELLED_OUT = {"psycopg": ("psycopg2", "postgresql+psycopg2://"), "MySQLdb": ("pymysql", "mysql+pymysql://")}
"""Drivers that a database's plain address does not choose, and the address that does."""


def missing_package(error: ModuleNotFoundError) -> str:
    """One line that names the package and how to get it, or another driver that is installed."""
    module = (error.name or "").split(".")[0]
    package = _PACKAGES.get(module, module)
    line = f"the Python module {module} is missing; pip install '{package}'"
    other, address = _SPELLED_OUT.get(module, ("", ""))
    if not other:
        return line
    if find_spec(other) is not None:
        return f"{line}, or begin the address with {address}, whose driver is installed"
    return f"{line}; or pip install '{_PACKAGES.get(other, other)}', and begin the address with {address}"
