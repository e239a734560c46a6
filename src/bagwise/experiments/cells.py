"""Cells of a long experiment, each written to disk as soon as it is finished."""

import json
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from joblib import delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bagwise._version import __version__
from bagwise.commands.older import written_before
from bagwise.commands.runs import read_json, write_json
from bagwise.errors import BagwiseError
from bagwise.training.workers import as_done

__all__ = [
    "OLDER",
    "answered",
    "as_numbers",
    "as_text",
    "cell",
    "cells_on_workers",
    "environment",
    "finished",
    "finite",
]

# Cells may come from elsewhere, such as a copy of those in `results/`.
OLDER = written_before("cells/*.json")


def cell(folder: Path, question: Mapping[str, Any], answer: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Read the answer to a question, or find it and write it down.

    Parameters
    ----------
    folder
        Where answers are kept.
    question
        All that the answer depends on, as JSON can hold it.
    answer
        Finds the answer.

    Returns
    -------
    dict
        The answer, as JSON holds it.

    Raises
    ------
    BagwiseError
        If the file is damaged or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> cell(folder, {"how": "much"}, lambda: {"so": 1.0})
    {'so': 1.0}
    >>> cell(folder, {"how": "much"}, lambda: {"so": 2.0})
    {'so': 1.0}
    """
    known = finished(folder, question)
    if known is not None:
        return known
    path, asked = _place(folder, question)
    write_json(path, {"question": asked, "answer": finite(answer())})
    answered = finished(folder, question)
    assert answered is not None
    return answered


def finished(folder: Path, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the answer to a question, if it was written down.

    Parameters
    ----------
    folder, question
        As in `cell`.

    Returns
    -------
    dict or None
        The answer, as JSON holds it.

    Raises
    ------
    BagwiseError
        If the file is damaged.

    Examples
    --------
    >>> finished(Path("nowhere"), {"how": "much"}) is None
    True
    """
    path, asked = _place(folder, question)
    if not path.exists():
        return None
    kept = read_json(path)
    if kept.get("question") != asked or not isinstance(kept.get("answer"), dict):
        raise BagwiseError(f"{path} does not answer what is asked for: choose another folder")
    answered: dict[str, Any] = kept["answer"]
    return answered


def _place(folder: Path, question: Mapping[str, Any]) -> tuple[Path, Any]:
    """Name the file of a question, and give the question as JSON holds it."""
    asked = json.loads(json.dumps(question))
    name = blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()
    return folder / f"{name}.json", asked


def cells_on_workers(
    folder: Path,
    questions: Sequence[Mapping[str, Any]],
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    *,
    jobs: int,
    tell: Callable[[Mapping[str, Any], Mapping[str, Any], int], None],
) -> list[dict[str, Any]]:
    """Answer questions on several workers, each of which uses one thread and writes its answers down.

    Parameters
    ----------
    folder
        Where answers are kept.
    questions
        As `cell` takes them; they are begun in this order.
    answer
        Finds the answer to one, as a function that can be sent to another process.
    jobs
        Number of worker processes; -1 is one a core.
    tell
        Is told of each answered question, its answer and how many are answered.

    Returns
    -------
    list of dict
        The answers, in the order of the questions.

    Raises
    ------
    BagwiseError
        If a file is damaged or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> questions = [{"number": 1}, {"number": 2}]
    >>> cells_on_workers(Path(tempfile.mkdtemp()), questions, dict, jobs=1, tell=lambda *_: None)
    [{'number': 1}, {'number': 2}]
    """
    asked = dict(enumerate(questions))
    jobs_to_do = (delayed(_numbered_cell)(number, folder, question, answer) for number, question in asked.items())
    found: dict[int, dict[str, Any]] = {}
    # One at a time: after answers that were kept, and come at once, joblib would hand out long ones by the dozen.
    with as_done(jobs_to_do, jobs, in_order=False, batch_size=1) as done:
        for number, one in done:
            found[number] = one
            tell(asked[number], one, len(found))
    return [found[number] for number in asked]


def answered(
    folder: Path,
    questions: Sequence[Mapping[str, Any]],
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    *,
    only_finished: bool,
    jobs: int,
    tell: Callable[[Mapping[str, Any], Mapping[str, Any], int], None],
) -> list[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Answer questions on several workers, or put together what is answered.

    Parameters
    ----------
    folder, questions, answer, jobs, tell
        As in `cells_on_workers`.
    only_finished
        Whether nothing more is to be answered.

    Returns
    -------
    list of tuple
        Each question that is answered, and its answer; at least one.

    Raises
    ------
    BagwiseError
        If a file is damaged or cannot be written, or nothing is answered.

    Examples
    --------
    >>> answered(Path("nowhere"), [{"number": 1}], dict, only_finished=True, jobs=1, tell=lambda *_: None)
    Traceback (most recent call last):
        ...
    bagwise.errors.BagwiseError: nothing that is asked for is finished in nowhere: leave --finished out to measure it
    """
    if not only_finished:
        cells_on_workers(folder, questions, answer, jobs=jobs, tell=tell)
    found = ((question, finished(folder, question)) for question in questions)
    known = [(question, one) for question, one in found if one is not None]
    if not known:
        raise BagwiseError(f"nothing that is asked for is finished in {folder}: leave --finished out to measure it")
    return known


def _numbered_cell(
    number: int, folder: Path, question: Mapping[str, Any], answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> tuple[int, dict[str, Any]]:
    with threadpool_limits(1):
        return number, cell(folder, question, lambda: answer(question))


def as_text(numbers: NDArray[Any], digits: int = 4) -> str:
    """Write numbers in one line, because JSON has a line a number.

    Parameters
    ----------
    numbers
        Shape (n,).
    digits
        That count.

    Returns
    -------
    str
        Which `as_numbers` reads.

    Examples
    --------
    >>> as_text(np.array([1, 0.123456]))
    '1 0.1235'
    """
    return " ".join(f"{number:.{digits}g}" for number in numbers.tolist())


def as_numbers(text: str) -> NDArray[np.float64]:
    """Read what `as_text` wrote.

    Parameters
    ----------
    text
        Numbers.

    Returns
    -------
    array
        Shape (n,).

    Examples
    --------
    >>> as_numbers("1 0.1235").tolist()
    [1.0, 0.1235]
    """
    return np.array(text.split(), dtype=np.float64)


def finite(value: Any) -> Any:
    """Put None where JSON has no number, at any depth.

    Parameters
    ----------
    value
        Mappings, lists, arrays, numbers and text.

    Returns
    -------
    object
        The same with plain lists and numbers.

    Examples
    --------
    >>> finite({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def environment() -> dict[str, Any]:
    """Say what an experiment ran on.

    Returns
    -------
    dict
        Versions, machine, and the commit where Bagwise is run from its repository.

    Examples
    --------
    >>> environment()["bagwise"] == __version__
    True
    """
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {
        "bagwise": __version__,
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "machine": platform.machine(),
        "cores": cpu_count(),
    }
