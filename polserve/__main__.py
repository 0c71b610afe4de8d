"""`python -m polserve`: the command line."""

from polserve.serving.cli import main

main()
