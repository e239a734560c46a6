"""Where data sets are kept."""

import os
from pathlib import Path

import platformdirs

__all__ = ["data_directory"]


def data_directory(given: str | Path | None = None) -> Path:
    """Find the folder that holds data sets.

    Parameters
    ----------
    given
        A folder; by default the environment variable ``BAGWISE_DATA``, else a folder in the user's cache.

    Returns
    -------
    Path
        It need not exist.

    Examples
    --------
    >>> data_directory("somewhere").name
    'somewhere'
    """
    return Path(given or os.environ.get("BAGWISE_DATA") or platformdirs.user_cache_path("bagwise"))
