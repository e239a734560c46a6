"""`bagwise predict`: what a run says of bags that nobody has labelled."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bagwise.commands.columns import OF_ANSWERS, answer_columns, spread_columns
from bagwise.commands.data import DataSource
from bagwise.commands.runs import Run
from bagwise.explain import write_table
from bagwise.files import check_replaceable
from bagwise.methods.asked import common_target
from bagwise.methods.ensemble import predict_ensemble

__all__ = ["run_predict"]

_LONGEST_HEADER = 1 << 20


def run_predict(run: Run, source: DataSource, out: Path | None = None) -> pd.DataFrame:
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
        check_replaceable(out, _holds_predictions)
    placed = any(model._wants_coordinates for model in run.models)
    bags = source.read_like(run.feature_names, like=run.columns, streamed=not placed)
    said = predict_ensemble(run.models, bags)
    target = common_target(run.models)
    columns: dict[str, Any] = {"bag": bags.names, **answer_columns(target, said.probabilities)}
    if len(run.models) > 1:
        columns |= spread_columns(target, said.spread)
    frame = pd.DataFrame(columns)
    if out is not None:
        write_table(frame, out)
    return frame


def _holds_predictions(path: Path) -> bool:
    try:
        if path.suffix == ".parquet":
            columns = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8", newline="") as file:
                columns = next(csv.reader([file.readline(_LONGEST_HEADER)]), [])
    except (OSError, ValueError, csv.Error, pa.ArrowException):
        return False
    return columns[:1] == ["bag"] and len(columns) > 1 and all(name.startswith(OF_ANSWERS) for name in columns[1:])
