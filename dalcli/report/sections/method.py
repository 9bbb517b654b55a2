"""Who labels, whether the theory holds, and what was run with what."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.config.words import plural
from dalcli.report.blocks import Block, Facts, Section, Table, Text
from dalcli.report.contents import Report
from dalcli.report.figures import DASH, day, money, number, percent, sentence, who
from dalcli.report.meanings import meaning

PEOPLE_SHOWN = 30
PAIRS_SHOWN = 10
VERSIONS_SHOWN = 50


def annotators(report: Report) -> Section:
    """Everybody who labels, compared."""
    return Section("annotators", "Who labeled", list(_annotators(report)))


def _annotators(report: Report) -> Iterator[Block]:
    found = report.annotators
    if not found.annotators:
        yield Text("There are no labels yet, so nobody to compare.", "missing")
        return
    if not found.pairs:
        yield Text(
            "No image was labeled by two people, so how well they agree is not known (dalcli query --relabel).",
            "missing",
        )
    currency = report.plan.standing.spent.currency
    paid = any(a.cost is not None for a in found.annotators)
    rows = [
        (
            who(a.annotator),
            number(a.labels),
            number(a.skipped),
            number(a.corrected),
            percent(a.agreement),
            DASH if a.kappa is None else f"{a.kappa:.2f}",
            percent(a.with_consensus),
            DASH if a.seconds is None else f"{a.seconds:.1f} s",
            *((money(a.cost, currency),) if paid else ()),
        )
        for a in sorted(found.annotators, key=lambda each: (-each.labels, each.annotator))[:PEOPLE_SHOWN]
    ]
    yield Table(
        "Annotators",
        ("annotator", "labels", "skipped", "corrected", "agrees with others", "kappa", "with consensus", "each")
        + (("paid",) if paid else ()),
        rows,
        folded=12 if len(rows) > 15 else None,
    )
    if len(found.annotators) > PEOPLE_SHOWN:
        yield Text(f"{len(found.annotators) - PEOPLE_SHOWN} more: dalcli labels annotators.", "note")
    if found.pairs:
        known = sorted(found.pairs, key=lambda p: (-p.shared, p.one, p.other))[:PAIRS_SHOWN]
        yield Table(
            "Two on the same images",
            ("one", "other", "images", "agree", "kappa"),
            [
                (
                    who(p.one),
                    who(p.other),
                    number(p.shared),
                    percent(p.agreement),
                    DASH if p.kappa is None else f"{p.kappa:.2f}",
                )
                for p in known
            ],
            words=frozenset({0, 1}),
        )
    if report.plan.standing.disputed is not None:
        yield Text(
            f"Annotators differ on {percent(report.plan.standing.disputed)} of the images that several labeled.", "note"
        )


def diagnosis(report: Report) -> Section:
    """``diagnose`` in plain words."""
    return Section("diagnosis", "Does the theory hold here?", list(_diagnosis(report)))


def _diagnosis(report: Report) -> Iterator[Block]:
    found = report.diagnosis
    if found is None:
        yield Text(report.diagnosis_missing or "Not known.", "missing")
        return
    newest = report.made.versions[-1].version if report.made.versions else None
    if newest is not None and newest != found.version:
        yield Text(f"Of {found.version}; the newest model is {newest}. dalcli report --diagnose looks again.", "note")
    yield Table(
        f"dalcli diagnose, {found.version}, {day(found.made_at)}",
        ("question", "answer", "what it means", "the numbers"),
        [(f.question, f.answer, meaning(f), sentence(f.because)) for f in found.findings],
        words=frozenset({0, 2, 3}),
        codes=frozenset({1}),
    )


def made(report: Report) -> Section:
    """Versions, seeds, hashes."""
    return Section("made-with", "What was run with what", list(_made(report)))


def _made(report: Report) -> Iterator[Block]:
    made_with, loop = report.made, report.loop
    height, width = loop.image_size
    frozen = "frozen " if loop.train == "head" else ""
    facts = [
        ("Model", f"{frozen}{loop.model_name} at {height}×{width} pixels"),
        ("Programs", ", ".join(f"{name} {version}" for name, version in made_with.programs.items())),
        ("Seed", str(made_with.seed)),
        ("dalcli.yaml", f"SHA-256 {made_with.config}"),
        ("Database schema", str(made_with.schema)),
        ("Training labels of now", made_with.labels),
        ("Evaluation labels of now", made_with.evaluation_labels),
    ]
    if made_with.network is not None:
        facts.append(("Frozen network", made_with.network))
    yield Facts(facts)
    if not made_with.versions:
        yield Text("No model has been trained yet.", "missing")
        return
    shown = made_with.versions[-VERSIONS_SHOWN:]
    yield Table(
        "Models",
        ("model", "from", "labels", "trained", "converged", "seed", "device", "settings", "labels' name"),
        [
            (
                v.version,
                v.parent or DASH,
                number(v.labels),
                day(v.finished_at),
                "yes" if v.converged else "no",
                str(v.seed),
                f"{v.device}, {plural(v.threads, 'thread')}",
                v.fingerprint,
                v.labels_digest,
            )
            for v in reversed(shown)
        ],
        codes=frozenset({0, 1, 3, 4, 6, 7, 8}),
        folded=6 if len(shown) > 8 else None,
    )
    if len(shown) < len(made_with.versions):
        yield Text(f"{len(made_with.versions) - len(shown)} earlier models are not listed.", "note")
