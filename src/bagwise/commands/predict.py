"""`bagwise predict`: what a run says of bags that nobody has labelled."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bagwise.commands.beside import Beside
from bagwise.commands.columns import OF_ANSWERS, answer_columns, spread_columns
from bagwise.commands.data import DataSource
from bagwise.commands.runs import Run
from bagwise.errors import BagwiseError
from bagwise.explain import write_table
from bagwise.files import check_replaceable
from bagwise.methods.ensemble import predict_ensemble
from bagwise.trust.reliance import Reliance
from bagwise.trust.shares import shares_said

__all__ = ["holds_predictions", "run_predict"]

_LONGEST_HEADER = 1 << 20


def run_predict(
    run: Run,
    source: DataSource,
    out: Path | None = None,
    *,
    shares: Sequence[str] = (),
    coverage: float | None = None,
    abstain: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Predict bags.

    Parameters
    ----------
    run
        The trained models.
    source
        The data; labels may be missing.
    out
        A CSV or Parquet file to write the table to; earlier predictions there are replaced, and no other file is.
        None writes none.
    shares
        ``NAME=SHARE`` of classes where the answers are used, as `bagwise.trust.shares.shares_said` takes them; none are
        as they were among the bags learnt from.
    coverage
        How often a set of classes, or an interval of numbers, shall hold the truth; None makes none.
    abstain
        How many decisions may be wrong; which these would be too many have none. None decides about all.
    tell
        Is told what such shares assume, and what an answer is worth where they are so; what sets promise; how many bags
        are not decided; and how many are not like those learnt from.

    Returns
    -------
    DataFrame
        One row a bag: ``bag``, the columns of `bagwise.commands.columns.answer_columns` and, where the run is an
        ensemble, the standard deviation of the members' answers: ``spread_CLASS`` for each probability, ``spread`` of a
        value or risk.

    Raises
    ------
    BagwiseError
        If the data are not like those learnt from or cannot be read, or `out` is there and holds no predictions.
    """
    if out is not None:
        check_replaceable(out, holds_predictions)
    placed = any(model._wants_coordinates for model in run.models)
    bags = source.read_like(run.feature_names, like=run.columns, streamed=not placed)
    said = predict_ensemble(run.models, bags)
    used = None
    if shares:
        relied = run.reliance
        if relied is None:
            raise BagwiseError(
                "--share needs the shares of the bags learnt from, which this run does not keep: train it again with"
                " --calibrate auto"
            )
        used = shares_said(relied.target, shares, relied.shares)
        for sentence in _told_of(relied, used):
            tell(sentence)
    target, answers = run.told(said.probabilities, used)
    columns: dict[str, Any] = {"bag": bags.names, **answer_columns(target, answers)}
    if len(run.models) > 1:
        columns |= spread_columns(target, said.spread)
    beside = Beside(run, bags)
    sentences: list[str] = []
    if coverage is not None:
        found, sentences = beside.holding(coverage)
        columns |= found
    if abstain is not None:
        if shares:
            raise BagwiseError("--abstain is sure at the shares of the bags learnt from alone: leave --share out")
        decided, told = beside.answered(target, answers, abstain)
        columns |= _decided(columns, decided)
        sentences += told
    found, told = beside.strangers()
    for sentence in [*sentences, *told]:
        tell(sentence)
    frame = pd.DataFrame(columns | found)
    if out is not None:
        write_table(frame, out)
    return frame


def _decided(columns: Mapping[str, Any], decided: NDArray[np.bool_]) -> dict[str, Any]:
    """Give the columns of decisions, with nothing where there is none."""
    name = "predicted" if "predicted" in columns else "grade"
    values = np.asarray(columns[name], dtype=object)
    values[~decided] = None
    return {name: values}


def _told_of(relied: Reliance, shares: NDArray[np.float64]) -> Iterator[str]:
    """Say what other shares assume, and what an answer is worth there."""
    assert relied.target.names is not None
    now, before = (
        ", ".join(f"{name} {share:.3g}" for name, share in zip(relied.target.names, of, strict=True))
        for of in (shares, relied.shares)
    )
    yield (
        f"Probabilities are for shares of {now}, and were learnt at {before}: this assumes that only the shares differ,"
        " and bags of each class are as they were."
    )
    found = relied.operating(shares)
    if found is not None:
        yield (
            f"Then, by bags held out, {found.precision:.3f} of the bags called {relied.target.positive} are (positive"
            f" predictive value), {found.negative_value:.3f} of the others are not (negative predictive value);"
            f" sensitivity {found.sensitivity:.3f}, specificity {found.specificity:.3f}."
        )
        if relied.aim is not None and relied.aim.kind == "precision":
            yield "The precision that the threshold was chosen for was one at the shares learnt from."


def holds_predictions(path: Path) -> bool:
    """Say whether a file is a table that `run_predict` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    bool

    Examples
    --------
    >>> holds_predictions(Path("nowhere.csv"))
    False
    """
    try:
        if path.suffix == ".parquet":
            columns = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8", newline="") as file:
                columns = next(csv.reader([file.readline(_LONGEST_HEADER)]), [])
    except (OSError, ValueError, csv.Error, pa.ArrowException):
        return False
    return columns[:1] == ["bag"] and len(columns) > 1 and all(name.startswith(OF_ANSWERS) for name in columns[1:])
