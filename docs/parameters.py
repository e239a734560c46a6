"""What the reference says of parameters: of each its own type, of a method's the range and what its default becomes."""

from importlib import import_module
from typing import Any

from griffe import Class, DocstringSectionParameters, Extension, Function

from bagwise.methods.base import BagEstimator
from bagwise.methods.parameters import parameters_of
from bagwise.parameters import Rule, rules_of
from bagwise.training.members import Settings


class Declared(Extension):
    """Griffe gives all names before a description the type and default of the first."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Take types and defaults from the signature, name by name."""
        for shown in _shown(func):
            if shown.name in func.parameters:
                shown.value = func.parameters[shown.name].default
                shown.annotation = func.parameters[shown.name].annotation

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Take them from the signature, and what their annotations declare from the class itself."""
        self.on_function(func=cls)
        kind = getattr(import_module(cls.module.path), cls.name, None)
        told = _declared(kind) if isinstance(kind, type) else {}
        for shown in _shown(cls):
            if shown.name in told:
                rule, default = told[shown.name]
                shown.annotation = rule.said if rule.said != "anything" else shown.annotation
                shown.value = default or shown.value


def _declared(kind: type) -> dict[str, tuple[Rule, str]]:
    """Give what each parameter must be, and, of a method's, what its default becomes."""
    if issubclass(kind, BagEstimator):
        return {name: (parameter.rule, parameter.told) for name, parameter in parameters_of(kind).items()}
    return {name: (rule, "") for name, rule in rules_of(kind).items()} if kind is Settings else {}


def _shown(documented: Function | Class) -> list[Any]:
    sections = documented.docstring.parsed if documented.docstring else []
    return [shown for section in sections if isinstance(section, DocstringSectionParameters) for shown in section.value]
