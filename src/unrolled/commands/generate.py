"""Write text with a trained language model, one symbol at a time from its carried state.

usage: unrolled generate task=shakespeare model=gru prompt="ROMEO:" [length=500] [temperature=0.8] [top_k=40] [seed=0]
       unrolled generate run=outputs/NAME prompt="ROMEO:"

The same seed writes the same text. temperature=0 always takes the likeliest symbol; top_k=0 keeps all symbols.
model_seed=0 chooses the grid's cell, run= a run outside the grid.
"""

from collections.abc import Sequence

from unrolled.arguments import decimal, parse_arguments, whole_number
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.trained import model_folder, read_about

DEFAULTS = {
    "task": "shakespeare",
    "model": "gru",
    "model_seed": "0",
    "run": None,
    "prompt": "ROMEO:",
    "length": "500",
    "temperature": "0.8",
    "top_k": "40",
    "seed": "0",
}


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        given = parse_arguments(arguments, DEFAULTS)
        folder = model_folder(project_root(), given | {"seed": given["model_seed"]})
        length, top_k, seed = (whole_number(given, key) for key in ("length", "top_k", "seed"))
        temperature = decimal(given, "temperature")

        vocabulary = read_about(folder)["windows"].get("vocabulary")
        if vocabulary is None:
            raise UserError(f"{folder.name} is not a language model; generate writes with those of task=shakespeare")

        import torch

        from unrolled.generate import encode, generate
        from unrolled.model import load

        torch.set_num_threads(1)
        prompt = given["prompt"] or ""
        tokens = encode(prompt, vocabulary)
        generator = torch.Generator().manual_seed(seed)
        written = generate(load(folder), tokens, length, temperature, top_k, generator)
        print(prompt + "".join(vocabulary[token] for token in written.tolist()))
