"""`bagwise tile`: slides become feature files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bagwise._version import __version__
from bagwise.claims import claims_folder
from bagwise.commands.older import written_before
from bagwise.commands.options import Work
from bagwise.commands.runs import Run, check_asked_the_same, read_json, write_json
from bagwise.errors import BagwiseError
from bagwise.folders import ResultFolder
from bagwise.io.slides import Slide, SlideError, find_slides, find_tissue, plan_tiles
from bagwise.io.tile_files import write_tiles
from bagwise.methods.fitted import Fitted
from bagwise.methods.tile_encoders import TIMM, TileEncoder, encoder_of_model, encoder_of_timm
from bagwise.reports.overlay import draw_tissue
from bagwise.training.progress import counting

__all__ = ["run_tile"]

ASKED, PICTURES = "tile.json", "tissue"


@claims_folder("tile", older=written_before(ASKED, "*.h5"))
def run_tile(
    slides: Sequence[str | Path],
    encoder: str,
    out: Path,
    *,
    mpp: float | None = None,
    level: int | None = None,
    size: int | None = None,
    pool: str | None = None,
    method: str | None = None,
    device: str = "auto",
    resume: bool = Work.resume,  # noqa: ARG001 - claims_folder reads it
    verbose: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Find the tissue of slides, cut it into tiles, encode them, and write a feature file a slide.

    Parameters
    ----------
    slides
        Files, and folders of slides.
    encoder
        A folder that `bagwise fit` wrote, or ``timm:NAME``.
    out
        The folder for a feature file a slide (`bagwise.io.tile_files.write_tiles`), called as
        `bagwise.io.slides.find_slides` calls it, ``tissue`` with a picture a slide
        of what was taken for tissue, and ``tile.json``, which says what was asked for.
    mpp, level
        Microns a pixel of tiles, or the level whose pixels they are; by default level 0.
    size
        Side of a tile in pixels; None takes that of the tiles which the encoder learnt from.
    pool
        Of a network of timm that gives tokens, which of them: ``"token"`` or ``"mean"``.
    method
        Where the encoder is of a run with a method of the user's own: its name, as `Run.load` takes it.
    device
        Where to encode.
    resume
        Leave slides alone whose feature file is there.
    verbose
        Show a progress bar.
    tell
        Called with the sentence of each slide that cannot be used; the others go on.

    Returns
    -------
    dict
        ``slides``, a mapping a feature file with ``slide``, ``file`` and, where it was written now, ``tiles`` and
        ``patch_size_level0``; ``failed``, a mapping with ``slide`` and ``reason`` a slide that was left out.

    Raises
    ------
    BagwiseError
        If the encoder, a parameter or the folder will not do.
    """
    if mpp is not None and level is not None:
        raise BagwiseError("--mpp and --level both say which resolution to take: give one of them")
    found = find_slides(slides)
    known = _encoder(encoder, device, pool, method)
    if known.fixed and size not in (None, known.side):
        raise BagwiseError(
            f"--size is {size}, and {encoder} takes tiles of {known.side} x {known.side} pixels: leave it out, and"
            " choose what a tile covers with --mpp"
        )
    side = known.side if size is None else size
    asked = {"weights": known.digest, "mpp": mpp, "level": level, "size": side, "pool": pool}
    results = ResultFolder(out)
    if results.is_used():
        check_asked_the_same(out / ASKED, read_json(out / ASKED).get("asked") or {}, asked)
    else:
        write_json(out / ASKED, {"bagwise": __version__, "encoder": encoder, "asked": asked})
    for name in found:
        results.check_free(out / f"{name}.h5")
        before = out / f"{Path(name).name}.h5"
        if "/" in name and before.exists():
            raise BagwiseError(f"{before} is of one slide of several that have its name now: choose another folder")
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for number, (name, path) in enumerate(found.items(), start=1):
        file = out / f"{name}.h5"
        told = {"slide": str(path), "file": str(file)}
        if file.exists():
            written.append(told)
            continue
        try:
            with Slide(path) as slide:
                picture = slide.overview()
                tissue = find_tissue(slide, picture)
                tiling = plan_tiles(slide, tissue, side=side, mpp=mpp, level=level or 0)
                draw_tissue(out / PICTURES / f"{name}.jpg", picture, tissue, tiling)
                shown = f"slide {number} of {len(found)}, {name}"
                with counting(shown, len(tiling.corners), verbose) as done:
                    write_tiles(file, slide, tiling, known, told=done)
        except SlideError as error:
            tell(str(error))
            failed.append({"slide": str(path), "reason": str(error)})
        else:
            written.append(told | {"tiles": len(tiling.corners), "patch_size_level0": tiling.span})
    return {"slides": written, "failed": failed}


def _encoder(name: str, device: str, pool: str | None, method: str | None) -> TileEncoder:
    if name.startswith(TIMM):
        if method is not None:
            raise BagwiseError(f"--method is for runs with a method of your own, and {name} is none: leave it out")
        return encoder_of_timm(name.removeprefix(TIMM), device, pool)
    if pool is not None:
        raise BagwiseError(f"--pool is for networks of timm that give tokens, and {name} is none: leave it out")
    run = Run.load(name, method=method)
    if len(run.models) > 1:
        raise BagwiseError(
            f"{name} holds an ensemble of {len(run.models)} models, each with an encoder of its own: fit one model"
        )
    (model,) = run.models
    if not isinstance(model, Fitted):
        raise BagwiseError(f"{name} holds a {model._called}, which has no encoder: fit a neural method on images")
    try:
        return encoder_of_model(model, device)
    except BagwiseError as error:
        raise BagwiseError(f"{name} will not do: {error}") from error
