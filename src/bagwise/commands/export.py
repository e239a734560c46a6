"""`bagwise export`: a run as one ONNX file."""

from pathlib import Path
from typing import Any

from bagwise.commands.runs import Run
from bagwise.methods.export import export_onnx
from bagwise.methods.neural_files import estimator_of

__all__ = ["run_export"]


def run_export(run: Run, out: Path) -> dict[str, Any]:
    """Write the models of a run as one ONNX file.

    Parameters
    ----------
    run
        The trained models.
    out
        The file.

    Returns
    -------
    dict
        ``file``, and what `export_onnx` says of it.

    Raises
    ------
    BagwiseError
        As `export_onnx` does.
    """
    return {"file": str(out), **export_onnx([estimator_of(model) for model in run.models], out)}
