import builtins

import pytest

from bagwise import BagwiseError
from bagwise.commands.cluster import workers


def test_a_missing_ray_is_explained(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *rest, **options):
        if name == "ray" or name.startswith("ray."):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(BagwiseError, match=r'Ray is not installed: run pip install "bagwise\[ray\]"'), workers("ray"):
        pass


def test_an_address_needs_a_cluster():
    with pytest.raises(BagwiseError, match="--address is of no use"), workers("local", "here:1"):
        pass


def test_there_are_two_backends():
    with pytest.raises(BagwiseError, match="choose one of local, ray"), workers("spark"):
        pass
