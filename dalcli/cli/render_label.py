"""What ``label`` shows when it ends: what this run of the page brought; what ``label-studio`` sent and got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, percent, text
from dalcli.config.words import counted

if TYPE_CHECKING:
    from dalcli.commands.label import LabelResult
    from dalcli.commands.label_studio import PullResult, PushResult


def label(result: LabelResult) -> str:
    answers = result.labels + result.skipped
    parts = [counted(result.labels, "label"), f"{result.skipped} skipped", f"{result.taken_back} taken back"]
    lines: list[tuple[str, object]] = [("answers", ", ".join(parts))]
    if result.seconds:
        lines.append(("pace", f"{3600 * answers / result.seconds:.0f} an hour, {result.seconds / answers:.1f} s each"))
    named = [(name or "(no name)", count) for name, count in result.annotators.items()]
    if len(named) > 1:
        lines.append(("annotators", ", ".join(f"{name} {count}" for name, count in named)))
    guesses = result.guesses
    if guesses.seen:
        share = percent(guesses.right / guesses.seen)
        lines.append(("model's guesses", f"{guesses.right} of {guesses.seen} right ({share}) where it asked"))
    lines += [
        (
            f"proposed class {proposal.name}",
            f"{counted(len(proposal.samples), 'image')} (see: dalcli label --proposals)",
        )
        for proposal in result.proposals
    ]
    for batch in result.batches:
        lines.append((f"batch {batch.batch_id}", f"{batch.answered} of {batch.issued} answered"))
    lines.append(("still to label", result.outstanding))
    return text(facts(lines))


def pushed(result: PushResult) -> str:
    lines: list[tuple[str, object]] = [("project", result.address)]
    lines += [(f"batch {batch.batch_id}", f"{counted(batch.tasks, 'task')} to label") for batch in result.batches]
    return text(facts(lines))


def pulled(result: PullResult) -> str:
    lines: list[tuple[str, object]] = [("project", address) for address in result.projects]
    lines.append(("answers", f"{result.annotations}, {result.skipped} of them skipped"))
    lines += [(f"batch {batch.batch_id}", f"{batch.answered} of {batch.issued} answered") for batch in result.batches]
    return text(facts(lines))
