"""`python -m callosum`: the command line."""

from callosum.cli.main import main

if __name__ == "__main__":
    main()
