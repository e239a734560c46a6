"""Parameters that share a description in a documentation string, each with its own type and default on the page."""

from typing import Any

from griffe import Class, DocstringSectionParameters, Extension, Function, Parameters


class OwnDefaults(Extension):
    """Griffe gives all names before a description the type and default of the first."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Mend the parameters of a function."""
        mend(func, func.parameters)

    def on_class(self, *, cls: Class, **_: Any) -> None:
        """Mend the parameters of a class."""
        mend(cls, cls.parameters)


def mend(documented: Function | Class, parameters: Parameters) -> None:
    """Take types and defaults from the signature, name by name."""
    sections = documented.docstring.parsed if documented.docstring else []
    for section in sections:
        if isinstance(section, DocstringSectionParameters):
            for shown in section.value:
                if shown.name in parameters:
                    shown.value = parameters[shown.name].default
                    shown.annotation = parameters[shown.name].annotation
