"""The first thing a model does to an instance of columns of all kinds: encode it, where others only scale."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bagwise.encoding import LIMIT, Encoding
from bagwise.models.scaling import Scaler

__all__ = ["ShownColumns", "encoding_in", "tensors_of"]

_ARRAYS = tuple(field.name for field in fields(Encoding) if field.name != "of_bag")
_PLACES = tuple(name for name in _ARRAYS if name not in ("shift", "factor"))


class ShownColumns(Scaler):
    """What `Encoding.apply` does, in torch.

    Parameters
    ----------
    encoding
        What was learnt of training bags.
    dtype
        What the model computes in.

    Examples
    --------
    >>> from bagwise.feature_columns import Column
    >>> raw = np.array([[0.0], [1.0]] * 3)
    >>> encoding = Encoding.learn([Column("colour", "category", ("blue", "red"))], raw, np.arange(7), np.arange(6))
    >>> ShownColumns(encoding, torch.float32)(torch.tensor([[1.0], [float("nan")]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """

    numbers: Tensor
    gaps: Tensor
    dates: Tensor
    pace: Tensor
    categories: Tensor
    begins: Tensor
    sizes: Tensor
    places: Tensor
    hot: Tensor

    def __init__(self, encoding: Encoding, dtype: torch.dtype) -> None:
        super().__init__(encoding.shift, encoding.factor, dtype, LIMIT)
        for name in _PLACES:
            self.register_buffer(name, torch.as_tensor(np.asarray(getattr(encoding, name))))
        self._hot = encoding.hot
        self.beside = encoding.beside
        self.of_bag = None if encoding.of_bag is None else ShownColumns(encoding.of_bag, dtype)

    def cast(self, dtype: torch.dtype) -> None:
        """Let it compute in another type."""
        super().cast(dtype)
        if self.of_bag is not None:
            self.of_bag.cast(dtype)

    def scaled(self, instances: Tensor) -> Tensor:
        """Encode raw instances.

        Parameters
        ----------
        instances
            Shape (N, D), with NaN for what is missing.

        Returns
        -------
        Tensor
            Shape (N, W), in the model's floating point.
        """
        dtype, raw = self.factor.dtype, instances.double()
        distances = (raw[:, self.numbers] - self.shift).to(dtype).mul_(self.factor)
        parts = [distances.asinh_().clamp_(-self.limit, self.limit).nan_to_num_()]
        if len(self.gaps):
            parts.append(raw[:, self.gaps].isnan().to(dtype))
        if len(self.dates):
            angles = raw[:, self.dates] * self.pace
            parts += [turned.nan_to_num_().to(dtype) for turned in (angles.sin(), angles.cos())]
        if self._hot:
            codes = raw[:, self.categories]
            known = codes.nan_to_num().clamp_(min=0).minimum(self.sizes).long()
            place = self.places[self.begins + torch.where(codes.isnan(), self.sizes + 1, known)]
            hot = torch.zeros(len(raw), self._hot + 1, dtype=dtype, device=raw.device)
            parts.append(hot.scatter_(1, place, 1.0)[:, : self._hot])
        if self.of_bag is not None:
            parts.append(self.of_bag.scaled(raw))
        return torch.cat(parts, dim=1)


def tensors_of(
    encoding: Encoding, dtype: torch.dtype, path: str = "scaler."
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Say of which type and shape the tensors of an encoding are, in the state of a model of a type.

    Parameters
    ----------
    encoding
        What was learnt.
    dtype
        What the model computes in.
    path
        Where they are.

    Returns
    -------
    dict
        By name.
    """
    like = {"pace": encoding.dates, "begins": encoding.categories, "sizes": encoding.categories}
    of_their_own = {"pace": torch.float64, "shift": torch.float64, "factor": dtype}
    found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        f"{path}{name}": (
            of_their_own.get(name, torch.int64),
            () if name == "hot" else (len(like.get(name, getattr(encoding, name))),),
        )
        for name in _ARRAYS
    }
    found[f"{path}limit"] = (dtype, ())
    return found if encoding.of_bag is None else found | tensors_of(encoding.of_bag, dtype, f"{path}of_bag.")


def encoding_in(state: Mapping[str, Tensor], path: str = "scaler.") -> Encoding | None:
    """Give the encoding that the state of a model has.

    Parameters
    ----------
    state
        Tensors by name.
    path
        Where it is.

    Returns
    -------
    Encoding or None
        None where instances are only scaled.
    """
    if f"{path}places" not in state:
        return None
    arrays: dict[str, Any] = {name: state[f"{path}{name}"].numpy(force=True) for name in _ARRAYS}
    arrays |= {"hot": int(arrays["hot"]), "factor": arrays["factor"].astype(np.float64)}
    return Encoding(**arrays, of_bag=encoding_in(state, f"{path}of_bag."))
