"""`python -m loader`: the same as the command `loader`."""

from loader.cli import main

if __name__ == "__main__":
    main(prog_name="loader")
