"""The job of ``cvdetect textgraph``: a TensorFlow detection graph in; its OpenCV text graph out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from cvdetect.core.files import write_text
from cvdetect.core.outputs import Guard, Output
from cvdetect.core.progress import Controls, LoggingProgress, Progress
from cvdetect.core.targets import check_regular
from cvdetect.formats.base import read_bytes, read_text
from cvdetect.formats.tensorflow.graphdef import read_graph_def
from cvdetect.formats.tensorflow.make_textgraph import TextGraphOptions, make_text_graph, read_pipeline

__all__ = ["TextGraphJob", "TextGraphReport", "write_text_graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGraphJob:
    """Which graph to make a text graph of, and where to write it.

    Attributes:
        graph: the frozen graph (.pb).
        out: the text graph to write; None: the graph's name with .pbtxt, in the current folder.
        pipeline: the pipeline.config that came with the graph; None takes that of `options`.
        options: what the graph does not state; `pipeline` above replaces their field of that name.
    """

    graph: Path
    out: Path | str | None = None
    pipeline: Path | None = None
    options: TextGraphOptions = field(default_factory=TextGraphOptions)

    @property
    def target(self) -> Path:
        """Where the text graph goes."""
        return Path(self.out or f"{self.graph.stem}.pbtxt")


@dataclass(frozen=True, slots=True)
class TextGraphReport:
    """What was made.

    Attributes:
        kind: the kind of model, for people.
        out: the text graph; "-" for standard output.
    """

    kind: str
    out: Path
    exit_code: int = 0


def write_text_graph(
    job: TextGraphJob, progress: Progress = LoggingProgress(), controls: Controls | None = None
) -> TextGraphReport:
    """Make the text graph and write it; what the graph states, and where, is noted.

    Raises:
        UsageError: it would be written over its input.
        ModelFileError: a file cannot be read, or no text graph can be made of it.
        SinkError: the text graph cannot be written.
    """
    _check(job)
    graph = read_graph_def(read_bytes(job.graph), str(job.graph))
    options = job.options
    if job.pipeline:
        options = replace(options, pipeline=read_pipeline(read_text(job.pipeline), str(job.pipeline)))
    made = make_text_graph(graph, options)
    write_text(job.target, made.text)
    for fact in made.facts:
        progress.note(fact)
    return TextGraphReport(str(made.kind), job.target)


def _check(job: TextGraphJob) -> None:
    inputs = [path for path in (job.graph, job.pipeline) if path]
    for source in inputs:
        check_regular(source, "a file")
    Guard(inputs).check([Output("out", job.out or job.target)])
