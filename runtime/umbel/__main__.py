"""``python -m umbel``: the command line without an installed script."""

from umbel.cli.main import main

if __name__ == "__main__":
    main()
