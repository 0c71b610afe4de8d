"""`polserve` and `python -m polserve`: the command line."""

import sys


def main() -> None:
    """Run the command line; where one of its imports fails, say why in one line."""
    try:
        from polserve.serving.cli import main as run
    except (ImportError, AttributeError) as error:
        from polserve.protos.shared.imports import why_import_failed

        reason = why_import_failed(error)
        if reason is None:
            raise
        sys.exit(f"error: {reason}")
    run()


if __name__ == "__main__":
    main()
