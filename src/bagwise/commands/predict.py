"""`bagwise predict`: what a run says of bags that nobody has labelled."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bagwise.commands.data import DataSource
from bagwise.commands.runs import Run
from bagwise.explain import write_table
from bagwise.methods.ensemble import predict_ensemble

__all__ = ["run_predict"]


def run_predict(run: Run, source: DataSource, out: Path | None = None) -> pd.DataFrame:
    """Predict bags.

    Parameters
    ----------
    run
        The trained models.
    source
        The data; labels may be missing.
    out
        A CSV or Parquet file to write the table to. None writes none.

    Returns
    -------
    DataFrame
        One row a bag: ``bag``, ``predicted``, ``probability_CLASS`` of each class and, where the run is an ensemble,
        ``spread_CLASS``, the standard deviation of the members' probabilities.

    Raises
    ------
    BagwiseError
        If the data are not like those learnt from, or cannot be read.
    """
    bags = source.read_like(run.feature_names)
    said = predict_ensemble(run.models, bags)
    classes = run.models[0].classes_
    columns: dict[str, Any] = {"bag": bags.names, "predicted": classes[np.argmax(said.probabilities, axis=1)]}
    columns |= {f"probability_{label}": said.probabilities[:, c] for c, label in enumerate(classes)}
    if len(run.models) > 1:
        columns |= {f"spread_{label}": said.spread[:, c] for c, label in enumerate(classes)}
    frame = pd.DataFrame(columns)
    if out is not None:
        write_table(frame, out)
    return frame
