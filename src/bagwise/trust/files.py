"""Which files belong to a run, by their digests: a model of another run, or of another fold, answers as readily."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b, file_digest
from pathlib import Path

from bagwise.errors import BagwiseError
from bagwise.inputs import check_regular

__all__ = ["check_belongs", "file_digests"]


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Sum up files.

    Parameters
    ----------
    folder
        Of the run.
    names
        Where they are in it.

    Returns
    -------
    dict
        A digest in hexadecimal by name.

    Raises
    ------
    BagwiseError
        If one is not there, or is no file.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "seen").write_text("so many bags")
    >>> file_digests(folder, ["seen"])
    {'seen': 'cc676475ec09aa2e377c699dee19878d'}
    """
    found = {}
    for name in names:
        check_regular(folder / name)
        with (folder / name).open("rb") as file:
            found[name] = file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()
    return found


def check_belongs(folder: Path, name: str, known: Mapping[str, str]) -> None:
    """Refuse a file that is not the one that was written.

    Parameters
    ----------
    folder
        Of the run.
    name
        Where the file is in it.
    known
        As `file_digests` gave them; what it says nothing of, as of files of older versions, is taken as it is.

    Raises
    ------
    BagwiseError
        If it is another, or not there.

    Examples
    --------
    >>> check_belongs(Path("run"), "folds/0/model.safetensors", {})
    """
    if name in known and file_digests(folder, [name])[name] != known[name]:
        raise BagwiseError(
            f"{folder / name} is not the file that this run wrote (it was edited, or belongs to another run or fold):"
            " put the old file back, or train the model again"
        )
