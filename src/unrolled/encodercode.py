"""Stage encoders: for every model, the hash of the code of its encoder; what its cells depend on.

usage: python -m unrolled.encodercode

A model file may name any encoder, so that a recipe (``lstm_wide.yaml``) is a model of its own name. DVC cannot look into
the file for the encoder's module; this stage does, and leaves ``data/encoders/<model>``. An edit of one encoder changes
the files of its models only, and a new one changes none of the others: their cells stay as they are.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from unrolled.errors import UserError


def encoder_codes(root: Path) -> dict[str, str]:
    """Return for every file of conf/model a line: the encoder's name and the sha256 of all our code that it runs.

    Raises:
        UserError: a file is not YAML or names no encoder of ours.
    """
    import yaml

    from unrolled.identity import code_digest
    from unrolled.imports import import_closure

    src, codes = root / "src", {}
    valid = sorted(path.stem for path in (src / "unrolled" / "encoders").glob("[!_]*.py"))
    for path in sorted((root / "conf" / "model").glob("*.yaml")):
        try:
            name = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("encoder", {}).get("name")
        except (yaml.YAMLError, AttributeError) as error:
            raise UserError(f"conf/model/{path.name} is not a model file: {' '.join(str(error).split())}") from error
        if name not in valid:
            raise UserError(f"conf/model/{path.name}: encoder.name is {name!r}; valid: {', '.join(valid)}")
        codes[path.stem] = f"{name} {code_digest(import_closure(f'unrolled.encoders.{name}', src), src)}\n"
    return codes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.encodercode``."""
    from unrolled.arguments import parse_arguments
    from unrolled.checkout import project_root
    from unrolled.console import one_line_errors
    from unrolled.outputs import whole_folder

    with one_line_errors():
        parse_arguments(sys.argv[1:] if arguments is None else arguments, {})
        root = project_root()
        codes = encoder_codes(root)
        with whole_folder(root / "data" / "encoders") as folder:
            for name, line in codes.items():
                (folder / name).write_text(line, encoding="utf-8")
        print(f"encoders: the code of {', '.join(codes)}")


if __name__ == "__main__":
    main()
