"""Slides with a tumour, from features on disk: one HDF5 file a slide, and a table of labels.

python examples/make_slides.py slides
python examples/slides.py slides
"""

import sys
from pathlib import Path

import bagwise as bw
from bagwise.explain import draw_map, explain


def main(folder: Path) -> None:
    # Only the heads of the files are read here; a patient's slides are never on both sides of a split.
    bags = bw.read_folder(folder, folder / "labels.csv", group="patient", coordinates=True)
    method = bw.AttentionMIL(optimizer="adam", learning_rate=2e-4, class_weight="balanced", random_state=0)
    print(bw.cross_validate(method, bags, folds=5))

    # Three models that begin with other weights: their spread says how sure the answer is.
    models = bw.fit_ensemble(method, bags, size=3)
    said = bw.predict_ensemble(models, bags)
    tumour = said.probabilities[:, 1]
    print(f"{(tumour > 0.5).sum()} of {len(bags)} slides, the spread at most {said.spread.max():.2f}")

    # A map of the slide that is surest to hold a tumour: where do the models look?
    slide = int(tumour.argmax())
    found = explain(models, bags[[slide]])
    draw_map("map.png", bags[slide].coordinates, found.rescaled(bags[[slide]]), title=str(bags.names[slide]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
