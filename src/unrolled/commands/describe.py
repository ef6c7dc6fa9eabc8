"""Follow a real batch through every layer of a model, in words, with parameter counts.

usage: unrolled describe task=bitcoin model=cnn_lstm [key=value ...]

The same overrides as `unrolled train` takes. Nothing is trained.
"""

from collections.abc import Sequence

from unrolled.checkout import project_root
from unrolled.config import compose_config
from unrolled.console import one_line_errors


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        root = project_root()
        config = compose_config(arguments, root)

        from unrolled.batches import TextStreams, windows_of
        from unrolled.describe import describe
        from unrolled.model import build
        from unrolled.oneoff import windows_for
        from unrolled.windowset import open_windows

        windows = open_windows(windows_for(config, root))
        model = build(config, windows.meta)
        size = config["training"]["batch_size"]
        if windows.meta["kind"] == "text":
            batch = TextStreams(windows, "train", streams=size, warm_up=0)[0]
        else:
            batch = windows_of(windows, "train", config["head"]["pool"] == "every").__getitems__(range(size))
        print(describe(model, batch, config, windows.meta))
