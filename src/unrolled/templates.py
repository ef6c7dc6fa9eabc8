"""The page's templates, filled in; what comes from files is escaped."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

HERE = Path(__file__).parent


def rendered(template: str, **values: Any) -> Markup:
    """Return a template of this folder with its values; one that it needs and that is not given is an error.

    Args:
        template: file name.
        values: by the names that the template has for them; ``Markup`` is taken as it is.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return Markup(environment.get_template(template).render(values))
