"""All jobs have one shape: a frozen job, a function of job, progress and controls, a frozen report."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import click
import pytest

import cvdetect
from cvdetect.cli.main import COMMANDS, cli
from cvdetect.core.progress import Controls, Progress


def public(command: str) -> dict[str, Any]:
    """The public names of a command's job, which lies in a module of the same name as the command's."""
    home = f"jobs.{COMMANDS[command][0].rpartition('.')[2]}"
    names = (name for name, module in cvdetect._HOMES.items() if f"{module}.".startswith(f"{home}."))
    return {name: getattr(cvdetect, name) for name in names}


def functions(command: str) -> list[Callable[..., Any]]:
    """The functions that do a job, whose first argument is one."""
    names = public(command)
    jobs = {one for name, one in names.items() if name.endswith("Job")}
    callables = [one for one in names.values() if inspect.isfunction(one)]
    return [one for one in callables if next(iter(typing.get_type_hints(one).values())) in jobs]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_job_goes_in_and_a_report_comes_out(command: str) -> None:
    names = public(command)
    jobs = {one for name, one in names.items() if name.endswith("Job")}
    done = set()
    for function in functions(command):
        hints = typing.get_type_hints(function)
        assert list(inspect.signature(function).parameters) == ["job", "progress", "controls"], function
        assert hints["progress"] is Progress and hints["controls"] == Controls | None
        report = hints["return"]
        assert report in names.values() and report.__name__.endswith("Report"), function
        assert is_dataclass(report) and report.__dataclass_params__.frozen, report
        assert hasattr(report, "exit_code"), report
        done.add(hints["job"])
    assert done == jobs, "each job has its function"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_job_is_frozen_and_given_by_keywords(command: str) -> None:
    for name, job in public(command).items():
        if name.endswith("Job"):
            assert is_dataclass(job) and job.__dataclass_params__.frozen, job
            kinds = {parameter.kind for parameter in inspect.signature(job).parameters.values()}
            assert kinds <= {inspect.Parameter.KEYWORD_ONLY}, job


@pytest.mark.parametrize("command", ["annotate", "bench", "eval", "image", "video", "webcam"])
def test_a_default_that_the_command_line_states_again_is_the_jobs(command: str) -> None:
    (job,) = (one for name, one in public(command).items() if name.endswith("Job"))
    defaults = {field.name: field.default for field in fields(job)}
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    stated = {one.name: one.default for one in found.params if isinstance(one.default, int | float | str | tuple)}
    assert stated
    for name in stated.keys() & defaults.keys():
        assert stated[name] == defaults[name] or defaults[name] is None, name
