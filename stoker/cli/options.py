"""Options that several commands share."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
ResourceName = Annotated[str, typer.Argument(metavar="RESOURCE", help="The resource's name or id.")]
ProfileName = Annotated[str, typer.Argument(metavar="PROFILE", help="The profile's name or id.")]
ProfileOption = Annotated[str, typer.Option("--profile", "-p", help="The profile to run as (name or id).")]
ConfigurationFile = Annotated[
    str, typer.Argument(metavar="FILE", help="A JSON file with the configuration, or - for standard input.")
]
