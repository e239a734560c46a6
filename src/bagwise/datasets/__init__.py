"""Data sets by name, and generators that make bags from single images."""

from bagwise.datasets.classical import Dataset, list_datasets, load_dataset
from bagwise.datasets.digits import Digits, load_digits
from bagwise.datasets.generator import TrainingAndTest, bags_from_images, mnist_bags
from bagwise.datasets.store import data_directory

__all__ = [
    "Dataset",
    "Digits",
    "TrainingAndTest",
    "bags_from_images",
    "data_directory",
    "list_datasets",
    "load_dataset",
    "load_digits",
    "mnist_bags",
]
