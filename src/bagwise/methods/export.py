"""Trained models as one ONNX file, for programs that have neither Bagwise nor torch."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bagwise._version import __version__
from bagwise.bags import Bags
from bagwise.errors import BagwiseError
from bagwise.files import check_replaceable, plain, replacing
from bagwise.methods.asked import common_target
from bagwise.methods.ensemble import check_neural, members_of
from bagwise.methods.fitted import bag_logits
from bagwise.methods.neural import NeuralMIL
from bagwise.methods.parts import made_up_bags
from bagwise.models.model import Output
from bagwise.targets.classes import ClassTarget

__all__ = ["OPSET", "export_onnx"]

OPSET = 18  # the first whose ScatterElements takes a maximum
_FIRST_AXES = {  # of what goes in and what comes out
    "instances": "instances",
    "offsets": "bags + 1",
    "coordinates": "instances",
    "answers": "bags",
    "weights": "instances",
}
_TRACED, _TRIED = (2, 3, 1), (1, 9, 4, 40)  # sizes of made-up bags: a file that took any of them for fixed is found out
_CLOSE = 1e-5  # far above what float32 leaves open, far below what another function would make


def export_onnx(models: NeuralMIL | Sequence[NeuralMIL], path: str | Path) -> dict[str, Any]:
    """Write a fitted model, or the members of an ensemble, as one ONNX file.

    The file takes ``instances``, shape (N, ...), as they are before any scaling, and ``offsets``, shape (B + 1,), as
    `Bags` has them: instances are of double precision, or of 8 bits where the model learnt from pixels of 8 bits. It
    gives ``answers``, shape (B, number of classes), what `predict_proba` gives (the mean over the members), and, where
    the method has them, ``weights``, shape (N,) or (N, K), what `attention` gives (their mean, too). A model that asks
    for ``coordinates`` takes them as a third input, in double precision. The metadata holds under ``bagwise``, as JSON,
    what this function returns.

    Instances are encoded in the model's precision, and bags are aggregated in double precision, because ONNX has
    neither log1p nor expm1.

    Parameters
    ----------
    models
        A fitted neural estimator, or several as `bagwise.methods.ensemble.fit_ensemble` gives them.
    path
        The file, ending in ``.onnx``. One that Bagwise exported before is replaced; another is left alone.

    Returns
    -------
    dict
        What was written: ``bagwise`` (the version), ``class``, ``members``, ``target``, ``classes``, ``positive``,
        ``threshold`` (as in `bagwise.targets.classes.ClassTarget`), ``feature_names``, ``inputs`` and ``outputs`` (type
        and shape by name).

    Raises
    ------
    BagwiseError
        If the extra ``onnx`` is not installed, a model is no neural method, holds a module that ONNX cannot hold, or
        says something else than the file on made-up bags, or if the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import bagwise as bw
    >>> bags = bw.Bags.from_arrays([[[0.0, 3.0]], [[1.0, 2.0]]], labels=["no", "yes"])
    >>> model = bw.AttentionMIL(encoder="identity", epochs=1, random_state=0).fit(bags)
    >>> export_onnx(model, Path(tempfile.mkdtemp()) / "model.onnx")["inputs"]
    {'instances': ['float64', ['instances', 2]], 'offsets': ['int64', ['bags + 1']]}
    """
    onnx, runtime = _libraries()
    members, path = members_of(models, "export_onnx"), Path(path)
    for member in members:
        check_neural(member, "export_onnx")
    if path.suffix != ".onnx":
        raise BagwiseError(f"{path} does not end in .onnx, by which programs know such a file: call it so")
    check_replaceable(path, _is_ours)
    name = type(members[0]).__name__
    try:
        with _quiet():
            content, described = _exported(onnx, members)
            session = runtime.InferenceSession(content, _options(runtime), providers=["CPUExecutionProvider"])
            apart = _largest_difference(session, members)
    except BagwiseError:
        raise
    except Exception as error:  # whatever the exporter, the runtime or a user's own code may raise
        raise BagwiseError(
            f"ONNX cannot hold this {name} ({_reason(error)}): keep it with save_model, or write what ONNX lacks in"
            " another way"
        ) from error
    if not apart <= _CLOSE:
        raise BagwiseError(
            f"ONNX cannot hold this {name}: on made-up bags the file and the model differ by {apart:.1g}; a module of"
            " your own may go by the number of instances, or a method by more than the model"
        )
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return described


class _Answering(nn.Module):
    """Raw instances to answers and weights."""

    def __init__(self, members: Sequence[NeuralMIL]) -> None:
        super().__init__()
        models = [copy.deepcopy(member.model_).cpu().eval().requires_grad_(False) for member in members]
        self.encoding = nn.ModuleList(models)
        self.aggregating = nn.ModuleList([copy.deepcopy(model).double() for model in models])
        self.members, self.dtype, self.target = members, members[0].plan_.dtype, members[0].target_
        self.weights_of_classes = models[0].weight_axis == "classes"

    def forward(self, instances: Tensor, offsets: Tensor, coordinates: Tensor | None = None) -> tuple[Tensor, ...]:
        said: list[Output] = [
            second.aggregate(first.encode(instances).double(), offsets, coordinates)  # type: ignore[operator]
            for first, second in zip(self.encoding, self.aggregating, strict=True)
        ]
        answers = [
            self.target.answers(bag_logits(member, output.logits), cast(Tensor, model.learnt))
            for member, output, model in zip(self.members, said, self.aggregating, strict=True)
        ]
        found = [torch.stack(answers).mean(0)]
        if weights := [output.weights for output in said if output.weights is not None]:
            mean = torch.stack(weights).mean(0)
            found.append(self._by_name(mean) if self.weights_of_classes and mean.ndim == 2 else mean)
        return tuple(part.to(self.dtype) for part in found)

    def _by_name(self, columns: Tensor) -> Tensor:
        """Bring columns, in which the positive of two classes is last, to the order of the names."""
        return columns.flip(1) if isinstance(self.target, ClassTarget) and self.target.classes.column == 0 else columns


def _exported(onnx: Any, members: Sequence[NeuralMIL]) -> tuple[bytes, dict[str, Any]]:
    if members[0].columns_ is not None:
        raise BagwiseError(
            "the model learnt from columns that are not all numbers without gaps, which an ONNX file cannot say how to"
            " read: predict with bagwise, or learn from numbers"
        )
    if members[0].model_.ties_instances:
        raise BagwiseError(
            f"instances of a bag see each other in {type(members[0]).__name__}, and an ONNX file can treat them one by"
            " one alone: keep the model with save_model"
        )
    bags = made_up_bags(members[0], _TRACED)
    module = _Answering(members)
    given = {name: torch.from_numpy(value) for name, value in _inputs(members[0], bags).items()}
    varying = {name: {0: torch.export.Dim.DYNAMIC} for name in given}
    outputs = ("answers", "weights")[: len(module(**given))]
    with torch.no_grad():
        program = torch.onnx.export(
            module,
            kwargs=given,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=varying,
            input_names=list(given),
            output_names=outputs,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _forget_where_it_came_from(proto.graph)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _FIRST_AXES[value.name]
    member = members[0]
    names = getattr(member, "feature_names_in_", None)
    described = {
        "bagwise": __version__,
        "class": type(member).__name__,
        "members": len(members),
        "target": member.target_.kind,
        "classes": None if member.target_.names is None else member.target_.names.tolist(),
        "label_names": None if member.target_.label_names is None else list(member.target_.label_names),
        "positive": None if member.target_.positive is None else np.asarray(member.target_.positive).item(),
        "threshold": getattr(common_target(members), "threshold", None),
        "feature_names": None if names is None else names.tolist(),
        "inputs": {value.name: _told(onnx, value) for value in proto.graph.input},
        "outputs": {value.name: _told(onnx, value) for value in proto.graph.output},
    }
    proto.producer_name, proto.producer_version = "bagwise", __version__
    onnx.helper.set_model_props(proto, {"bagwise": json.dumps(described, default=plain)})
    return proto.SerializeToString(), described


def _inputs(member: NeuralMIL, bags: Bags) -> dict[str, NDArray[Any]]:
    given: dict[str, NDArray[Any]] = {"instances": np.asarray(bags.instances), "offsets": bags.offsets}
    if member.model_.wants_coordinates:
        given["coordinates"] = np.asarray(bags.coordinates)
    return given


def _largest_difference(session: Any, members: Sequence[NeuralMIL]) -> float:
    bags = made_up_bags(members[0], _TRIED)
    given = session.run(None, _inputs(members[0], bags))
    alike = [_on_cpu(member) for member in members]
    # A class of the user's own may put its own predict_proba before what its model answers.
    wanted = [np.mean([getattr(member, "predict_proba", member.answers)(bags) for member in alike], axis=0)]
    if len(given) > 1 and hasattr(alike[0], "attention"):
        wanted.append(np.mean([member.attention(bags) for member in alike], axis=0))
    return max(_apart(one, other) for one, other in zip(given, wanted, strict=False))


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    if one.shape != other.shape:
        return np.inf
    return float(np.max(np.abs(one - other) / np.maximum(np.abs(other), 1)))


def _on_cpu(member: NeuralMIL) -> Any:
    twin = copy.copy(member)
    twin.model_ = copy.deepcopy(member.model_)
    twin.device, twin.precision = "cpu", "float32" if member.precision == "mixed" else member.precision
    return twin


def _forget_where_it_came_from(graph: Any) -> None:
    """Leave out the exporter's notes, which name files and lines of this machine."""
    graph.ClearField("metadata_props")
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")
        for attribute in getattr(part, "attribute", ()):
            if attribute.HasField("g"):
                _forget_where_it_came_from(attribute.g)


def _told(onnx: Any, value: Any) -> list[Any]:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return [str(dtype), [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]]


def _is_ours(path: Path) -> bool:
    import onnx

    try:
        return bool(onnx.load(path, load_external_data=False).producer_name == "bagwise")
    except Exception:  # of a file of another kind
        return False


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise BagwiseError('what writes ONNX comes with an extra: run pip install "bagwise[onnx]"') from error
    return onnx, onnxruntime


def _options(runtime: Any) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    return options


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to this program's own words: the exporter logs, warns and prints what a user can do nothing about."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error) or type(error).__name__).splitlines()[0]
