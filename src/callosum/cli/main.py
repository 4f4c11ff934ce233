"""The group of commands; a command's module is imported only when it is called, so that `--help` is instant."""

from __future__ import annotations

import importlib
import os
import sys

import click

import callosum
from callosum.core.errors import CallosumError

COMMANDS = {
    "classify": "Score pictures for labels that are only words.",
    "dataset": "List, check, split and convert published datasets.",
    "demo": "Index real DICOM files, search and classify them, and write a page to look at.",
    "doctor": "Say what this installation can do.",
    "embed": "Turn pictures or texts into vectors.",
    "extract": "Find what reports say: findings, and the words that say them.",
    "facets": "Count what an archive holds, by modality, body part and finding.",
    "index": "Index files into an archive.",
    "model": "List, show, verify, import and carry checkpoints.",
    "prompts": "Make prompts for a class, or say what an encoder may misread.",
    "search": "Search an archive by words, by a picture or by a record.",
    "show": "Show one record of an archive.",
    "slide": "Say and draw which tiles of a whole slide would be indexed.",
    "train": "Train a checkpoint from manifests, by a recipe.",
}


class LazyGroup(click.Group):
    """Knows its commands by name and first line; imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"callosum.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(callosum.__version__, prog_name="callosum")
def cli() -> None:
    """Medical images and words in one space: index an archive, search it by words or by example.

    For research and teaching. It makes no diagnosis, and no score it prints is one.
    """


def main() -> None:
    """Run the command line; an error becomes one line on stderr and its exit code."""
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped. Run the same command again to continue.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except CallosumError as error:
        click.echo(f"Error {error.code}: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:  # its words may hold a path or a name; its kind does not
        if os.environ.get("CALLOSUM_TRACEBACK"):
            raise
        kind = type(error).__name__
        click.echo(f"Error INTERNAL: {kind}. Set CALLOSUM_TRACEBACK=1 to see where it comes from.", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
