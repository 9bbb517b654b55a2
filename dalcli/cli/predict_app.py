"""Signature of ``dalcli predict``: what the model says, and what of it may count as a label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dalcli.cli.options import Directory, Json, Quiet, Wait, session_of

predict_app = typer.Typer()


@predict_app.command(
    epilog="Example: dalcli predict > predictions.csv. Example: dalcli predict --auto --max-error 0.01 --dry-run. "
    "See docs/predict.md."
)
def predict(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="New images: folders, files or CSV manifests; default: what nobody has labeled of the pool."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Predict with this version; default: the newest.", metavar="VERSION")
    ] = None,
    top: Annotated[int | None, typer.Option(help="The K likeliest classes; default: 1.", metavar="K")] = None,
    format: Annotated[  # noqa: A002  (it is what the option is called)
        str | None, typer.Option(help="csv or jsonl; default: csv.", metavar="FORMAT")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here (atomically) instead of stdout.", metavar="FILE")
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Record predictions that are sure enough as labels by the model.")
    ] = False,
    max_error: Annotated[
        float | None, typer.Option(help="With --auto: the fraction of them that may be wrong.", metavar="FRACTION")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="With --auto: how sure that is to be; default: evaluation.confidence.", metavar="PROBABILITY"
        ),
    ] = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="With --auto: --max-error holds for every predicted class.")
    ] = False,
    tries: Annotated[
        int | None, typer.Option(help="With --auto: test as one of N tries that are planned.", metavar="N")
    ] = None,
    trust_test_set: Annotated[
        bool, typer.Option("--trust-test-set", help="With --auto: the test set was drawn at random from the pool.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --auto: say what it would do; record nothing.")] = (
        False
    ),
    check: Annotated[
        bool, typer.Option("--check", help="Whether the labels by the model still stand; withdraw what does not.")
    ] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take back all labels by the model.")] = False,
    wait: Wait = 0.0,
    directory: Directory = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict classes, of the rest of the pool or of new images.

    With --auto, label as much of the pool as an error that is promised allows.
    """
    from dalcli.cli import render, render_predict, streams
    from dalcli.commands import predict as command

    options = command.Options(
        sources=tuple(sources or ()),
        model=model,
        top=top,
        format=format,
        output=output,
        json=json,
        auto=auto,
        max_error=max_error,
        confidence=confidence,
        per_class=per_class,
        tries=tries,
        trust_test_set=trust_test_set,
        dry_run=dry_run,
        check=check,
        withdraw=withdraw,
        wait=wait,
    )
    command.check(options)
    if output is not None and str(output) != "-":
        render.check_output(output)
    with session_of(directory, quiet) as session:
        if auto:
            render.show(command.label(session, options), render_predict.auto, json)
        elif check:
            render.show(command.check_promises(session), render_predict.checked, json)
        elif withdraw:
            render.show(command.withdraw(session), render_predict.checked, json)
        else:
            summary = command.run(session, options, lambda data: streams.write_data(data, render.SAFE))
            if json:
                render.show(summary, render_predict.summary, json)
            else:
                session.feedback.note(render_predict.summary(summary).rstrip("\n"))
