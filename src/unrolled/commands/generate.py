"""Write text with a trained language model, one symbol at a time from its carried state.

usage: unrolled generate task=shakespeare model=gru prompt="ROMEO:" [length=500] [temperature=0.8] [top_k=40] [seed=0]
       unrolled generate run=outputs/NAME prompt="ROMEO:"
       unrolled generate streams=256 precision=bf16-mixed     many texts at once

The same seed writes the same text, and streams=3 seed=5 the texts of the seeds 5, 6 and 7. temperature=0 always takes the
likeliest symbol; top_k=0 keeps all symbols. precision=32-true or bf16-mixed, which may choose another symbol where two are
nearly as likely and is faster for many texts, if the processor multiplies bfloat16 itself; a notice tells if it does not.
model_seed=0 chooses the grid's cell, run= a run outside the grid.
"""

import sys
from collections.abc import Sequence

from unrolled.arguments import decimal, parse_arguments, required, whole_number
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
    "streams": "1",
    "precision": "32-true",
}
PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16"}  # as for trainer.precision; torch's names for them


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        given = parse_arguments(arguments, DEFAULTS)
        folder = model_folder(project_root(), given | {"seed": given["model_seed"]})
        length, top_k, seed = (whole_number(given, key) for key in ("length", "top_k", "seed"))
        streams, temperature = whole_number(given, "streams", low=1), decimal(given, "temperature")
        precision = required(given, "precision", list(PRECISIONS))

        vocabulary = read_about(folder)["windows"].get("vocabulary")
        if vocabulary is None:
            raise UserError(f"{folder.name} is not a language model; generate writes with those of task=shakespeare")

        import torch

        from unrolled.generate import encode, generate
        from unrolled.model import load

        if precision != DEFAULTS["precision"]:
            _tell_if_emulated(precision)
        torch.set_num_threads(1)
        prompt = given["prompt"] or ""
        tokens, model = encode(prompt, vocabulary), load(folder)
        written = generate(
            model, tokens, length, temperature, top_k, seed, streams, getattr(torch, PRECISIONS[precision])
        )
        for number, text in enumerate(written.tolist()):
            if streams > 1:
                print(f"--- seed {seed + number}")
            print(prompt + "".join(vocabulary[token] for token in text))


def _tell_if_emulated(precision: str) -> None:
    from unrolled.training import cpu_has_bf16

    if not cpu_has_bf16():
        told = f"notice: this processor has no bfloat16, so precision={precision} is emulated; 32-true is many times as fast here"
        print(told, file=sys.stderr, flush=True)
