"""Models of a user's own: a module that encodes and aggregates, behind Bagwise's scaler.

Such a model is any `torch.nn.Module` with two methods. ``encode(instances)`` takes packed instances, scaled, shape
(N, ...), to embeddings, shape (N, ...), each instance by itself, so that bags larger than memory can be encoded in
chunks. ``aggregate(embeddings, offsets)`` takes the embeddings of packed bags to an `Output`, each bag by itself; in it
instances of a bag may see each other. It may declare, as attributes,

- ``wants_coordinates = True``: ``aggregate`` then takes a third argument, the coordinates of the instances, shape
  (N, 2) or (N, 3), as `Bags.coordinates` holds them;
- ``wants_neighbours = Neighbourhood(8, "features")`` (`bagwise.models.neighbours`): the third argument is then the
  nearest neighbours of each instance, as positions among the N, shape (N, 8), int64;
- ``weight_axis = "classes"``: the columns of its weights, shape (N, K), are classes, and not heads;

and have a method ``loss(output, targets)`` in the place of the target's loss (`bagwise.training.losses`).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from bagwise.errors import BagwiseError
from bagwise.models.architecture import Design
from bagwise.models.contract import check_model
from bagwise.models.encoders import CentreCrop
from bagwise.models.model import MILModel, Output
from bagwise.models.scaling import Scaler

__all__ = ["ModelSpec", "OwnArchitecture", "OwnModel"]

ModelSpec = nn.Module | Callable[..., nn.Module]


class OwnModel(MILModel):
    """A user's module as the engine takes models: with a scaler in front of it, and dropout in its middle.

    Parameters
    ----------
    scaler, dropout
        As in `MILModel`.
    before
        What becomes of scaled instances before the model encodes them.
    model
        The module.
    """

    def __init__(self, scaler: Scaler, dropout: float, before: nn.Module, model: nn.Module) -> None:
        super().__init__(scaler, before, dropout)
        self.model: Any = model  # of which is known that it passed `check_model`
        self.wants_coordinates = getattr(model, "wants_coordinates", False)
        self.wants_neighbours = getattr(model, "wants_neighbours", None)
        self.ties_instances = self.wants_neighbours is not None
        self.weight_axis = getattr(model, "weight_axis", "heads")

    @property
    def loss(self) -> Callable[..., Tensor] | None:
        """As `MILModel.loss`: the module's, if it has one."""
        found: Callable[..., Tensor] | None = getattr(self.model, "loss", None)
        return found

    def embed(self, shown: Tensor) -> Tensor:
        """Encode as `MILModel.embed` says."""
        embeddings: Tensor = self.model.encode(super().embed(shown))
        return embeddings

    def aggregate(self, embeddings: Tensor, offsets: Tensor, where: Tensor | None = None) -> Output:
        """Aggregate as `MILModel.aggregate` says."""
        places = [where] if self.wants_coordinates or self.wants_neighbours else []
        output: Output = self.model.aggregate(self.dropout(embeddings), offsets, *places)
        return output if output.logits.ndim == 3 else output._replace(logits=output.logits.unsqueeze(0))


@dataclass(frozen=True)
class OwnArchitecture(Design):
    """How a model of a user's own is made, as `Architecture` says it of Bagwise's.

    Parameters
    ----------
    model
        A class, or a function, that makes the module from the shape of an instance and the number of outputs; or a
        module to start from.
    options
        What it takes beside, by name.
    crop
        As in `Architecture`.

    Examples
    --------
    >>> import torch
    >>> from bagwise.segments import segment_mean
    >>> class Linear(nn.Module):
    ...     def __init__(self, instance_shape, outputs):
    ...         super().__init__()
    ...         self.layer = nn.Linear(*instance_shape, outputs)
    ...     def encode(self, instances):
    ...         return instances
    ...     def aggregate(self, embeddings, offsets):
    ...         return Output(self.layer(segment_mean(embeddings, offsets)))
    >>> model = OwnArchitecture(Linear).build((3,), outputs=1, seed=0)
    >>> model(torch.ones(5, 3), torch.tensor([0, 2, 5])).logits.shape
    torch.Size([1, 2, 1])
    """

    model: ModelSpec
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ModelSpec, crop: int | None = None) -> "OwnArchitecture":
        """Describe what makes a model; what `functools.partial` binds by name are its options.

        Parameters
        ----------
        model, crop
            As the class takes them.

        Returns
        -------
        OwnArchitecture

        Raises
        ------
        BagwiseError
            If nothing can be made of it.
        """
        options: dict[str, Any] = {}
        while isinstance(model, partial) and not model.args:
            options = model.keywords | options
            model = model.func
        if not callable(model):
            raise BagwiseError(
                f"model is {model!r}: it must be a class or a function that makes a torch.nn.Module from the shape of"
                " an instance and the number of outputs, or a module"
            )
        return cls(model, options, crop=crop)

    @property
    def own(self) -> dict[str, Any]:
        """As `Design.own`."""
        return {"model": self.model}

    @property
    def summary(self) -> str:
        """As `Design.summary`."""
        return f"model {self._name}"

    @property
    def _name(self) -> str:
        return str(getattr(self.model, "__qualname__", type(self.model).__qualname__))

    def _compose(self, scaler: Scaler, instance_shape: Sequence[int], outputs: int, dropout: float) -> MILModel:
        shown = self._shown(instance_shape)
        if isinstance(self.model, nn.Module):
            made: nn.Module = copy.deepcopy(self.model)
        else:
            try:
                made = self.model(shown, outputs, **self.options)
            except BagwiseError:
                raise
            except Exception as error:  # whatever a user's own code may raise
                told = (str(error) or type(error).__name__).splitlines()[0]
                raise BagwiseError(
                    f"the model cannot be made by {self._name}(instance_shape={shown}, outputs={outputs}"
                    f"{''.join(f', {name}={value!r}' for name, value in self.options.items())}): {told}"
                ) from error
        check_model(made, shown, outputs)
        before = nn.Identity() if self.crop is None else CentreCrop(self.crop)
        return OwnModel(scaler, dropout, before, made)
