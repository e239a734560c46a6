"""What of the site does not lie in docs/: the README, the numbers, and the options where they are declared."""

from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from bagwise.cli.commands import app
from bagwise.commands.options import Options

ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, the options and the results."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "reference/options.md", content=options_page()))
    for path in sorted(ROOT.glob("results/*.json")):
        files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Link results where the site has them."""
    return markdown.replace("](../results/", "](results/")


def options_page() -> str:
    """Tell of all options that commands share, and of the commands that take them."""
    commands: Any = typer.main.get_command(app)
    taken = {
        name: {(flag, one.help) for one in command.params for flag in one.opts}
        for name, command in commands.commands.items()
    }
    text = "# Options\n\nWhat commands share; `bagwise COMMAND --help` says what each has of its own.\n"
    for kind in (one for one in Options.__subclasses__() if one.__module__ == Options.__module__):
        text += f"\n## {kind.__name__}\n\n{kind.__doc__}\n\n| option | default | what | commands |\n|---|---|---|---|\n"
        for name, one in kind.options().items():
            by = [command for command, options in taken.items() if (one.flag or name, one.help) in options]
            default = " ".join(one.default) if isinstance(one.default, tuple) else one.default
            shown = "" if one.flag is None or default in (None, "") or default is False else f"`{default}`"
            text += f"| `{one.flag or name}` | {shown} | {one.help.replace('|', '&#124;')} | {', '.join(by)} |\n"
    return text
