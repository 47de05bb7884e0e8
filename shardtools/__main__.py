"""`python -m shardtools` is the same as the `shardtools` script."""

from shardtools.cli import main

if __name__ == "__main__":
    main()
