"""How the commands look in --help, and where a command that is not there may be.

Rejected: one long list of flags, of which a first day needs three.
"""

from __future__ import annotations

from itertools import groupby

import click


class GroupedCommand(click.Command):
    """A command whose --help shows its flags under the headings of their `group`, in the order given."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, group by group; what has none comes last."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        for heading, parameters in groupby(options, lambda one: getattr(one, "group", "Options")):
            if rows := [row for one in parameters if (row := one.get_help_record(ctx)) is not None]:
                with formatter.section(heading):
                    formatter.write_dl(rows)


class HelpfulGroup(click.Group):
    """A group of commands that says in which of its own groups a command is that was looked for here."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; UsageError names the command's place where it has one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            rooms = (one for one in self.commands.values() if isinstance(one, click.Group))
            if places := [f"{ctx.command_path} {room.name} {args[0]}" for room in rooms if args[0] in room.commands]:
                raise click.UsageError(f"{error.message.rstrip('.')} here; it is {', '.join(places)}", ctx) from error
            raise
