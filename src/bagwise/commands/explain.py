"""`bagwise explain`: which instances decided, as tables and maps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from bagwise.bags import Bags
from bagwise.claims import claims_folder
from bagwise.commands.data import DataSource
from bagwise.commands.known import find_known
from bagwise.commands.options import Output
from bagwise.commands.report import explanation_report
from bagwise.commands.runs import Run
from bagwise.commands.slide_maps import draw_on_slides, find_on_slides
from bagwise.explain import (
    Explanation,
    by_file,
    can_be_told,
    check_format,
    contrast,
    contributions,
    draw_map,
    explain,
    key_instances,
    key_rows,
    write_table,
)
from bagwise.reports import write_report

__all__ = ["run_explain"]


@claims_folder("explain")
def run_explain(
    run: Run, source: DataSource, out: Path, output: Output, *, key: int = 5, slides: Path | None = None
) -> dict[str, Any]:
    """Write which instances decided.

    Parameters
    ----------
    run
        The trained models.
    source
        The data; labels may be missing. Where they are known, the report says which predictions are wrong.
    out
        The folder for ``instances`` (weight, rescaled weight, rank and score of each; of a baseline, by how much the
        answer falls without it), ``key_instances`` (of each bag the ones that count most, or most for and most against,
        and what stands in their columns), ``contributions`` (of the columns of a table to the scores of these
        instances), ``features`` (in which instances of high and low weight differ most) and, where
        there are coordinates, ``maps`` with a picture a bag, or a file where a bag has several, and ``maps.csv``, which
        says whose it is; and ``report.html``, which shows all of it.
    output
        As which kind of file tables are written.
    key
        How many key instances of each bag.
    slides
        A slide, or a folder of slides, that feature files were cut from: ``slides`` gets, for each of them, the weights
        on a picture of the slide and as GeoJSON for QuPath.

    Returns
    -------
    dict
        ``bags``, ``instances``, ``positive``, the class that scores are of, and ``files``, the paths written.

    Raises
    ------
    BagwiseError
        If the data are not like those learnt from, or the folder is in use.
    """
    check_format(output.format)
    bags = source.read_like(run.feature_names, coordinates=True, like=run.columns)
    placed = [] if slides is None else find_on_slides(bags, slides)
    found = explain(run.models, bags)
    target, answers = run.told(found.answers)  # as bagwise predict tells them
    found = replace(found, target=target, answers=answers)
    features = None
    if len(bags.instance_shape) == 1 and not found.equal(bags).all():
        features = contrast(found, bags)
    first = () if features is None else features["feature"].tolist()
    tables = {"instances": found.table(bags), "key_instances": key_instances(found, bags, key, first)}
    if can_be_told(run.models, bags):
        rows = key_rows(found, bags, key)
        tables["contributions"] = contributions(run.models, bags, rows).table(bags)
    if features is not None:
        tables["features"] = features
    files = [out / "report.html"]
    known = find_known(source, bags.names, found.target)
    report = explanation_report(run.models, bags, known, found, features, source.data, str(run.folder))
    write_report(report, files[0])
    for name, frame in tables.items():
        files.append(out / f"{name}.{output.format}")
        write_table(frame, files[-1])
    if bags.coordinates is not None:
        files += _draw_maps(found, bags, out / "maps")
    files += draw_on_slides(placed, found, bags, tables["instances"], key, out / "slides")
    return {
        "bags": len(bags),
        "instances": len(bags.instances),
        "positive": None if found.positive is None else str(found.positive),
        "files": [str(path) for path in files],
    }


def _draw_maps(found: Explanation, bags: Bags, folder: Path) -> list[Path]:
    assert bags.coordinates is not None
    shares = found.rescaled(bags)
    side = bags.instance_shape[0] if len(bags.instance_shape) > 1 else None
    drawn = list(by_file(bags))
    digits = len(str(len(drawn)))
    # Bags' names and files' may hold what file names must not.
    paths = [folder / f"{number:0{digits}}.png" for number in range(1, len(drawn) + 1)]
    for one, path in zip(drawn, paths, strict=True):
        title = found.title(bags, one.bag) + ("" if one.alone else f"\n{one.file}")
        draw_map(path, bags.coordinates[one.rows], shares[one.rows], title=title, patch_size=side)
    index = {"map": [path.name for path in paths], "bag": bags.names[[one.bag for one in drawn]]}
    if bags.sources is not None:
        index["file"] = [one.file for one in drawn]
    write_table(pd.DataFrame(index), folder / "maps.csv")
    return [*paths, folder / "maps.csv"]
