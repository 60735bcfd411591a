"""``cvdetect doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cvdetect.cli.main import Settings

if TYPE_CHECKING:
    from cvdetect.jobs.doctor import DoctorReport

__all__ = ["command", "print_report"]


@click.command("doctor", short_help="Show what this machine can run.")
@click.pass_obj
def command(settings: Settings) -> int:
    """Show what this machine can run: versions, OpenCV's build, backends, windows, codecs, models on disk.

    Each is tested by using it. The exit code is 3 where something needs repair.
    """
    from cvdetect.jobs.doctor import DoctorJob, diagnose

    report = diagnose(DoctorJob(registry=settings.registry, cache=settings.cache), settings.progress())
    print_report(report)
    return report.exit_code


def print_report(report: DoctorReport) -> None:
    """Print a diagnosis as a table; what needs repair is red."""
    from cvdetect.cli.console import print_table

    rows, topic = [], ""
    for finding in report.findings:
        rows.append(["" if finding.topic == topic else finding.topic, finding.name, finding.value])
        topic = finding.topic
    styles = ["" if finding.good else "bold red" for finding in report.findings]
    print_table(["topic", "~what", "~state"], rows, "cvdetect doctor", sections=True, styles=styles)
