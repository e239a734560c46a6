"""Data sets by name, and generators that make bags from single images."""

from bagwise.datasets.digits import Digits, load_digits
from bagwise.datasets.generator import (
    KnownHazard,
    TrainingAndTest,
    bags_from_images,
    mnist_bags,
    slides_of_known_hazard,
)
from bagwise.datasets.histology import breast_cancer, colon_cancer
from bagwise.datasets.named import Dataset, list_datasets, load_dataset
from bagwise.datasets.store import data_directory

__all__ = [
    "Dataset",
    "Digits",
    "KnownHazard",
    "TrainingAndTest",
    "bags_from_images",
    "breast_cancer",
    "colon_cancer",
    "data_directory",
    "list_datasets",
    "load_dataset",
    "load_digits",
    "mnist_bags",
    "slides_of_known_hazard",
]
