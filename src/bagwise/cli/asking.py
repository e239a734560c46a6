"""The commands that ask a run: what it says of bags, how good that is, why, and how others use what it has learnt."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bagwise.cli.loading import loading
from bagwise.cli.options import KNOWN_BUT_OF_LABELS, KNOWN_TO_A_RUN, RunFolder, takes_options
from bagwise.cli.output import MOST_ROWS, print_json, print_line, print_positive, print_table, say, told
from bagwise.commands.options import AsJson, Coverage, Data, Device, Dtype, Output, OwnMethod, Resume, Work

if TYPE_CHECKING:
    from bagwise.commands.data import DataSource
    from bagwise.commands.runs import Run

__all__ = ["app"]

app = typer.Typer()


@app.command(epilog="Example: bagwise predict run new.csv --out predictions.csv")
@takes_options(but=KNOWN_TO_A_RUN)
def predict(
    run: RunFolder,
    *,
    out: Annotated[
        Path | None,
        "File for the predictions: .csv, or .parquet, in which nothing is a formula; replaces earlier ones.",
    ] = None,
    share: Annotated[
        tuple[str, ...], "NAME=SHARE of a class where bags come from, such as yes=0.02; else as in training."
    ] = (),
    coverage: Coverage = None,
    abstain: Annotated[
        float | None, "Decide about no bag whose decision would make more than this share wrong, such as 0.05."
    ] = None,
    source: Data,
    method: OwnMethod = None,
    device: Device = Work.device,
    dtype: Dtype = Work.dtype,
    as_json: AsJson = Output.json,
) -> None:
    """Predict bags; labels may be missing. Columns are called as in training unless said otherwise."""
    known, data = _opened(run, source, method, device, dtype)
    with loading():
        from bagwise.commands.predict import run_predict

    frame = run_predict(known, data, out, shares=share, coverage=coverage, abstain=abstain, tell=say)
    rows = json.loads(frame.to_json(orient="records"))
    labels = data.labels_there()
    unused = f"Labels ({labels}) are not used: bagwise validate measures the run by them."
    if as_json:
        print_json(rows)
        if labels is not None:
            say(unused)
        return
    shown = [[told(value) for value in row.values()] for row in rows[:MOST_ROWS]]
    short = [name.replace("probability_", "p ").replace("spread_", "± ").replace("survival_", "S ") for name in rows[0]]
    print_table(f"{len(rows):,} bags", short, shown)
    if len(rows) > MOST_ROWS:
        print_line(f"... and {len(rows) - MOST_ROWS:,} more" + (": write them to a file with --out" * (out is None)))
    print_positive(known.models[0].target_.positive)
    if labels is not None:
        print_line(unused)
    if out is not None:
        print_line(f"All of them are in {out}.")


@app.command(epilog="Example: bagwise validate run cohort.csv --by site --out validation")
@takes_options(but=KNOWN_BUT_OF_LABELS)
def validate(
    run: RunFolder,
    *,
    out: Annotated[Path, "Folder for results, predictions and figures.", "--out"],
    by: Annotated[tuple[str, ...], "Column whose values make subgroups, such as sites; repeat it for several."] = (),
    patient: Annotated[str | None, "Column that says whose a bag is: patients are measured, too."] = None,
    aggregate: Annotated[str, "What a patient's answer is of its bags': 'mean', 'maximum' or 'noisy-or'."] = "mean",
    coverage: Coverage = None,
    source: Data,
    method: OwnMethod = None,
    device: Device = Work.device,
    dtype: Dtype = Work.dtype,
    output: Output,
) -> None:
    """Measure a run on labelled bags that it did not learn from. Columns are called as in training unless said."""
    known, data = _opened(run, source, method, device, dtype)
    with loading():
        from bagwise.commands.validate import run_validate
        from bagwise.io.problems import counted

    results = run_validate(known, data, out, output, by=by, patient=patient, aggregate=aggregate, coverage=coverage)
    if output.json:
        print_json(results)
        return
    for what, level in results["levels"].items():
        rows = [(name, *_with_interval(one)) for name, one in level["metrics"].items()]
        print_table(f"{source.data}: {counted(level['count'], what)}", ["metric", "value", "95 % interval"], rows)
        for sentence in level["told"]:
            print_line(sentence)
        for column, found in level["subgroups"].items():
            names = list(found["groups"][0]["metrics"])[:2]
            rows = [
                (
                    *(one["value"], told(one["count"])),
                    *(cell for name in names for cell in _with_interval(one["metrics"][name])),
                )
                for one in found["groups"]
            ]
            heads = [head for name in names for head in (name, "95 % interval")]
            print_table(f"By {column}", [column, f"{what}s", *heads], rows)
            for sentence in found["told"]:
                print_line(sentence)
    if results["sets"] is not None:
        parts = [
            (name if one["of"] is None else f"{one['of']}: {name}", held)
            for one in results["sets"]["measured"]
            for name, held in (("all", one["coverage"]), *one["by_class"].items())
        ]
        title = f"How often the truth is held, asked for {results['sets']['asked']}"
        held_rows = [(name, told(held["count"]), *_with_interval(held)) for name, held in parts]
        print_table(title, ["of", "bags", "share", "95 % interval"], held_rows)
    for note in results["notes"]:
        print_line(note)
    print_positive(results["positive"])
    print_line(f"Open {out / 'report.html'} to see them, the wrong ones first.")


@app.command(epilog="Example: bagwise drift last_year.csv this_year.csv")
@takes_options()
def drift(
    first: Annotated[Path, "A table that bagwise predict --out wrote."],
    second: Annotated[Path, "Another by the same run, of later bags."],
    as_json: AsJson = Output.json,
) -> None:
    """Compare what a run said of earlier and of later bags, and say what has moved."""
    with loading():
        from bagwise.commands.drift import run_drift

    found = run_drift(first, second)
    if as_json:
        print_json(found)
        return
    rows = [
        (one["column"], *(f"{one[name]:.3f}" for name in ("first", "second", "distance")), f"{one['corrected']:.2g}")
        for one in found["columns"]
    ]
    print_table(f"{found['bags'][0]:,} bags, then {found['bags'][1]:,}", ["column", "mean", "then", "KS", "p"], rows)
    parts = [(f"{one['column']} {one['decision']}", one) for one in found["decisions"]]
    parts += [] if found["strangers"] is None else [("strangers", found["strangers"])]
    shares = [(name, *_with_interval(one["first"]), *_with_interval(one["second"])) for name, one in parts]
    if shares:
        print_table("Shares", ["of bags", "share", "95 % interval", "then", "95 % interval"], shares)
    for sentence in found["told"]:
        print_line(sentence)


@app.command(epilog="Example: bagwise explain run new.csv --out explanation")
@takes_options(but=KNOWN_TO_A_RUN)
def explain(
    run: RunFolder,
    *,
    out: Annotated[Path, "Folder for the tables and maps.", "--out"],
    key: Annotated[int, "How many key instances of each bag."] = 5,
    slides: Annotated[Path | None, "The slides, or one, that features are of: draw the weights on them."] = None,
    source: Data,
    method: OwnMethod = None,
    device: Device = Work.device,
    dtype: Dtype = Work.dtype,
    output: Output,
) -> None:
    """Write which instances decided: their weights, the key instances of each bag, what sets them apart, and maps."""
    known, data = _opened(run, source, method, device, dtype)
    with loading():
        from bagwise.commands.explain import run_explain

    written = run_explain(known, data, out, output, key=key, slides=slides)
    if output.json:
        print_json(written)
        return
    print_line(f"{written['instances']:,} instances of {written['bags']:,} bags are explained in {out}:")
    for path in written["files"][:MOST_ROWS]:
        print_line(f"  {path}")
    print_positive(written["positive"])


@app.command(epilog="Example: bagwise export run --out model.onnx")
@takes_options()
def export(
    run: RunFolder,
    out: Annotated[Path, "The ONNX file; an earlier one of Bagwise's is replaced.", "--out"],
    method: OwnMethod = None,
    as_json: AsJson = Output.json,
) -> None:
    """Write a trained model, scaler and all members, as one ONNX file for programs without Bagwise."""
    with loading():
        from bagwise.commands.runs import Run, check_run

    check_run(run)
    with loading():
        from bagwise.commands.export import run_export

    written = run_export(Run.load(run, method=method), out)
    if as_json:
        print_json(written)
        return
    rows = [
        (way.removesuffix("s"), name, kind, " x ".join(map(str, shape)))
        for way in ("inputs", "outputs")
        for name, (kind, shape) in written[way].items()
    ]
    print_table(str(out), ["", "name", "type", "shape"], rows)
    if (named := written["classes"] or written["label_names"]) is not None:
        print_line(f"Columns of the answers: {', '.join(map(str, named))}.")
    print_positive(written["positive"])


@app.command(epilog="Example: bagwise tile slides/ --encoder run --mpp 0.5 --out features")
@takes_options()
def tile(
    slides: Annotated[tuple[str, ...], "Slides, or folders of slides."],
    encoder: Annotated[str, "A folder that bagwise fit wrote on images, or timm:NAME.", "--encoder"],
    out: Annotated[Path, "Folder for a feature file a slide, and pictures of the tissue.", "--out"],
    mpp: Annotated[float | None, "Microns a pixel of a tile."] = None,
    level: Annotated[int | None, "Level of the slide whose pixels tiles have; else 0."] = None,
    size: Annotated[int | None, "Side of a tile in pixels; else as the encoder learnt."] = None,
    pool: Annotated[str | None, "Where a network of timm gives tokens: 'token', its class token, or 'mean'."] = None,
    method: OwnMethod = None,
    device: Device = Work.device,
    resume: Resume = Work.resume,
    as_json: AsJson = Output.json,
) -> None:
    """Find the tissue of slides, cut it into tiles, and write the features of the tiles, a file a slide."""
    with loading():
        from bagwise.commands.tile import run_tile

    written = run_tile(
        slides,
        encoder,
        out,
        mpp=mpp,
        level=level,
        size=size,
        pool=pool,
        method=method,
        device=device,
        resume=resume,
        verbose=not as_json,
        tell=say,
    )
    if as_json:
        print_json(written)
    else:
        print_line(f"{len(written['slides']):,} slides are encoded in {out}:")
        for one in written["slides"][:MOST_ROWS]:  # not a table, which would cut their paths
            tiles = f"{one['tiles']:,} tiles" if "tiles" in one else "finished before"
            print_line(f"  {one['file']}: {tiles}")
        if (out / "tissue").is_dir():
            print_line(f"What was taken for tissue is drawn in {out / 'tissue'}.")
    if written["failed"]:
        raise typer.Exit(1)


def _opened(run: Path, source: Data, method: str | None, device: str, dtype: str | None) -> "tuple[Run, DataSource]":
    """Read a run and name data for it; where one is not there, nothing is loaded that reads models."""
    with loading():
        from bagwise.commands.data import DataSource
        from bagwise.commands.runs import Run, check_run

    check_run(run)
    DataSource.of(source).check_there()
    known = Run.load(run, device, method, dtype)
    return known, known.source(**vars(source))


def _with_interval(one: dict[str, float | None]) -> tuple[str, str]:
    low, high = one.get("low"), one.get("high")
    return told(one["value"]), f"{low:.3f} to {high:.3f}" if low is not None and high is not None else ""
