"""Options of the experiments, declared as those of the other commands are (`bagwise.commands.options`)."""

from dataclasses import dataclass
from typing import Annotated

from bagwise.commands.options import (
    Address,
    Backend,
    Data,
    DataDir,
    Epochs,
    Jobs,
    Options,
    Resume,
    Seed,
    Training,
    Work,
)

__all__ = [
    "Answers",
    "Assumption",
    "Auto",
    "Choosing",
    "Defaults",
    "Digits",
    "Payments",
    "Promises",
    "Slides",
    "Study",
    "Table1",
    "Tissue",
]


@dataclass(frozen=True)
class Study(Options):
    """What experiments have in common."""

    seed: Seed = Training.seed
    jobs: Jobs = Work.jobs
    resume: Resume = Work.resume
    data_dir: DataDir = Data.data_dir


@dataclass(frozen=True)
class Table1(Study):
    """Which methods, on which sets, by which protocol.

    ``"default"`` has stratified folds, learns everything from training bags, and gives neural methods the published
    settings of each set and a fixed number of epochs. ``"recipe"`` has the same folds, and every method is what it is
    where nobody gives it a parameter; neural methods and baselines, where none is named.
    ``"paper"`` has folds that are not stratified, and features standardised over all bags, test bags among them, as the
    paper and MI-Net did. ``"leaky"`` takes the epoch that is best on the test fold, which is wrong; neural methods
    only, and attention alone where none is named.
    """

    methods: Annotated[
        tuple[str, ...],
        "One of the table's methods, or a baseline, such as summary-forest; repeat it. Else all of the table.",
        "--method",
    ] = ()
    datasets: Annotated[tuple[str, ...], "One of the five sets; repeat it. Else all.", "--dataset"] = ()
    protocol: Annotated[
        str,
        "'default'; 'recipe': what methods are by default; 'paper': its habits; "
        "'leaky': WRONG, the epoch is chosen on test bags.",
    ] = "default"
    select_epoch: Annotated[bool, "Choose the epoch on a fifth of the training bags."] = False
    select_hidden: Annotated[
        bool, "Choose attention's L from 64, 128, 256 on a fifth of the training bags.", "--select-L"
    ] = False
    folds: Annotated[int, "Number of folds."] = 10
    repeats: Annotated[int, "How often to divide the bags anew."] = 5
    epochs: Annotated[int | None, "How often neural methods see each training bag; else 100 times."] = None
    backend: Backend = Work.backend
    address: Address = Work.address


@dataclass(frozen=True)
class Assumption(Study):
    """Which methods are tried on the MIL assumption; each has its default settings."""

    methods: Annotated[tuple[str, ...], "Name of a method; repeat it. Else all.", "--method"] = ()
    seeds: Annotated[int, "How often each problem is made anew."] = 5


@dataclass(frozen=True)
class Choosing(Study):
    """Which methods are asked what they can do."""

    methods: Annotated[tuple[str, ...], "Name of a method; repeat it. Else all.", "--method"] = ()


@dataclass(frozen=True)
class Answers(Study):
    """Which methods are measured on which problems with a known answer, and on how many draws."""

    methods: Annotated[
        tuple[str, ...],
        "Name of a method; repeat it. Else all that are quick enough for thousands of bags.",
        "--method",
    ] = ()
    problems: Annotated[tuple[str, ...], "Name of a problem; repeat it. Else all.", "--problem"] = ()
    draws: Annotated[int, "How often bags are drawn anew."] = 5
    finished: Annotated[bool, "Put together what is finished, and measure nothing more."] = False


@dataclass(frozen=True)
class Defaults(Study):
    """On which development sets candidates for the defaults are measured, within training bags alone."""

    datasets: Annotated[tuple[str, ...], "One of the development sets; repeat it. Else all.", "--dataset"] = ()
    candidates: Annotated[tuple[str, ...], "Name of a candidate; repeat it. Else all.", "--candidate"] = ()
    method: Annotated[str, "Name of the neural method they are tried with."] = "attention"
    folds: Annotated[int, "Number of folds."] = 3
    repeats: Annotated[int, "How often to divide the bags anew."] = 1


@dataclass(frozen=True)
class Slides(Study):
    """On how many draws of made slides defaults are measured beside a plain loop."""

    parts: Annotated[
        tuple[str, ...],
        "'compared', or what was tried on development slides: 'loop', 'defaults'; repeat it. Else all.",
        "--part",
    ] = ()
    draws: Annotated[int, "How often slides are made anew."] = 3
    finished: Annotated[bool, "Put together what is finished, and measure nothing more."] = False


@dataclass(frozen=True)
class Payments(Study):
    """On how many draws of payments defaults are measured beside whoever knows the rules."""

    draws: Annotated[int, "How often accounts are made anew."] = 3


@dataclass(frozen=True)
class Auto(Study):
    """Which parts of what `AutoMIL` is held to are measured, and how often.

    ``"accuracy"`` and ``"baselines"`` divide real sets, ``"coins"`` and ``"signal"`` draw sets. Where a number is None
    the part decides.
    """

    parts: Annotated[
        tuple[str, ...], "'accuracy', 'baselines', 'coins' or 'signal'; repeat it. Else all.", "--part"
    ] = ()
    datasets: Annotated[tuple[str, ...], "One of the real sets; repeat it. Else all of the part.", "--dataset"] = ()
    folds: Annotated[int | None, "Number of folds; else 10 for accuracy, and 5 for baselines."] = None
    repeats: Annotated[int | None, "How often to divide the bags anew; else 5 times and twice."] = None
    draws: Annotated[int | None, "How many sets to draw; else 200 with coin flips, and 50 with signal."] = None
    trials: Annotated[int | None, "How many candidates a search tries; else 12 on real sets, and 8 on drawn ones."] = (
        None
    )
    finished: Annotated[bool, "Put together what is finished, and measure nothing more."] = False


@dataclass(frozen=True)
class Promises(Study):
    """Which promises about answers are held against what is known, and how often.

    ``"coverage"`` and ``"calibration"`` share their cells, of real sets and of drawn ones; the others draw sets. Where
    the number is None each part decides.
    """

    parts: Annotated[
        tuple[str, ...],
        "'intervals', 'coverage', 'calibration', 'thresholds' or 'strangers'; repeat it. Else all.",
        "--part",
    ] = ()
    draws: Annotated[int | None, "How many sets to draw, or how often to divide them; else the part decides."] = None
    finished: Annotated[bool, "Put together what is finished, and measure nothing more."] = False


@dataclass(frozen=True)
class Digits(Study):
    """Which methods, and how many bags of digits they learn from.

    Where `repeats` is None the grid decides; of mean size 50 and 100 one set is drawn for MI-SVM. Epochs are fixed in
    advance: 40, or 8 where it is to be quick, which also means fewer and smaller training sets and 50 test bags.
    """

    methods: Annotated[tuple[str, ...], "One of the methods; repeat it. Else all.", "--method"] = ()
    training_bags: Annotated[tuple[int, ...], "A number of training bags; repeat it. Else all.", "--bags"] = ()
    repeats: Annotated[int | None, "How many training sets to draw of each number."] = None
    epochs: Epochs = None
    quick: Annotated[bool, "A small version of the whole, in minutes."] = False


@dataclass(frozen=True)
class Tissue(Study):
    """Which methods are measured on images of tissue, and how; epochs are fixed in advance.

    ``"default"`` has stratified folds of images, as the paper has. With ``"grouped"`` a block of tissue, whose images
    look alike, is never on both sides; the breast set alone says which block an image is from.
    """

    methods: Annotated[tuple[str, ...], "One of the six methods; repeat it. Else all.", "--method"] = ()
    protocol: Annotated[str, "'default': folds of images; 'grouped': blocks of tissue stay together (breast)."] = (
        "default"
    )
    folds: Annotated[int, "Number of folds."] = 10
    repeats: Annotated[int | None, "How often to divide the images anew; else attention 3 times, the others once."] = (
        None
    )
    epochs: Annotated[int, "How often each training image is seen."] = 40
    sample: Annotated[int | None, "Learn from at most so many patches of an image a step."] = None
