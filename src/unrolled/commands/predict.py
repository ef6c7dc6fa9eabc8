"""Forecast what follows the last row of a series.

usage: unrolled predict task=energy model=rnn [seed=0] [input=file.csv]
       unrolled predict run=outputs/NAME [input=file.csv]

Without input, the day after the last row of the task's own data; with it, the day after the last row of that file,
which must be a csv in the same form as the task's raw file. A model with quantiles (head.quantiles) tells the median and
the range between the outermost ones.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from unrolled.arguments import parse_arguments
from unrolled.checkout import project_root
from unrolled.console import one_line_errors
from unrolled.errors import UserError
from unrolled.trained import model_folder, read_about


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    with one_line_errors():
        root = project_root()
        given = parse_arguments(arguments, {"task": None, "model": None, "seed": "0", "run": None, "input": None})
        folder = model_folder(root, given)
        about = read_about(folder)
        meta = about["windows"]
        if meta["kind"] != "series":
            raise UserError(f"{folder.name} does not forecast a series; predict takes {_series_hint()}")

        import numpy as np
        import torch

        from unrolled.dataset import Series
        from unrolled.model import load
        from unrolled.oneoff import windows_folder
        from unrolled.predictions import forecast_next
        from unrolled.taskmodule import task_module
        from unrolled.windowset import open_windows

        if given["input"] is not None:
            series: Series = task_module(about["task"]).read_file(Path(given["input"]))
            values, start, known = series.values, series.start, series.known
        else:
            windows = open_windows(windows_folder(root, about["task"], about["data_digest"]))
            values, start = np.asarray(windows.arrays["series"]), date.fromisoformat(meta["start"])
            known = windows.arrays.get("known")
        torch.set_num_threads(1)
        forecast = forecast_next(load(folder), values, meta, known)
        last = np.datetime64(start, "D") + len(values) - 1
        print(f"last known: {last}  {values[-1, 0]:,.2f} {meta['unit']}")
        days = zip(forecast.points()[0].tolist(), forecast.values[0].tolist(), strict=True)
        for ahead, (point, quantiles) in enumerate(days, start=1):
            told = f"{last + ahead}  {point:,.2f} {meta['unit']}"
            print(f"forecast:   {told}{_range(forecast.levels, quantiles)}")


def _range(levels: Sequence[float], quantiles: Sequence[float]) -> str:
    """Return between which values the outermost quantiles put the day, if there is more than the median."""
    if len(levels) < 2:
        return ""
    return f"  {100 * (levels[-1] - levels[0]):.4g} % between {quantiles[0]:,.2f} and {quantiles[-1]:,.2f}"


def _series_hint() -> str:
    return "a forecasting task's model, such as task=energy model=rnn; text is written by `unrolled generate`"
