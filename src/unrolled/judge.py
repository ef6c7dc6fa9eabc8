"""Stage judge: all of a task's predictions beside the baselines that they must beat. Retrains and re-predicts nothing.

usage: unrolled judge task=energy
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import UserError

if TYPE_CHECKING:
    from unrolled.judgement import Judgement
    from unrolled.windowset import WindowSet


def judge_task(
    windows: "WindowSet", predictions: Path, ensemble: Path, baselines: Path, config: dict[str, Any]
) -> "Judgement":
    """Return the judgement of all cells whose predictions lie in ``predictions``, and of the ensemble, if there is one.

    Args:
        windows: the task's data.
        predictions: folder with one folder per cell.
        ensemble: folder that the ensemble stage wrote.
        baselines: folder that the baseline stage wrote.
        config: section ``judge`` of the task's file.

    Raises:
        UserError: predictions, ensemble or baselines were made on other data, or a breakdown does not fit the kind of data.
    """
    from unrolled.breakdowns import KIND_OF
    from unrolled.judgement import Judgement
    from unrolled.predicted import read_baselines, read_cells, read_ensemble

    kind = windows.meta["kind"]
    for name in config["breakdowns"] or []:
        if KIND_OF.get(name) != kind:
            valid = ", ".join(sorted(name for name, fits in KIND_OF.items() if fits == kind))
            raise UserError(f"judge.breakdowns has {name!r}; valid for {windows.meta['task']}: {valid}")
    cells = list(read_cells(predictions, windows))
    made = read_ensemble(ensemble, windows, cells)
    return Judgement(windows, cells + ([made] if made else []), read_baselines(baselines, windows), config)


def details(judgement: "Judgement") -> dict[str, Any]:
    """Return what the report shows beyond judgement.json."""
    from unrolled.judgement import misread

    told: dict[str, Any] = {"comparisons": judgement.comparisons(), "breakdowns": judgement.breakdowns()}
    told["reliability"] = judgement.reliability
    best = judgement.best()
    if best is not None and judgement.kind == "examples":
        told["misread"] = {"cell": best, "images": misread(judgement.test(best), judgement.windows.arrays["inputs"])}
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stage: ``python -m unrolled.judge task=energy``."""
    from unrolled.arguments import parse_arguments, required
    from unrolled.checkout import project_root
    from unrolled.config import compose_config, names
    from unrolled.console import one_line_errors
    from unrolled.outputs import check_writable, whole_folder, write_whole
    from unrolled.windowset import open_windows

    with one_line_errors():
        root = project_root()
        given = parse_arguments(sys.argv[1:] if arguments is None else arguments, {"task": None})
        task = required(given, "task", names(root, "task"))
        config = compose_config([f"task={task}"], root, needs=("task",))["judge"]
        windows = open_windows(root / "data" / "windows" / task)
        check_writable(root / "data" / "judgements")
        check_writable(root / "reports" / task)
        predictions, ensemble, baselines = (root / "data" / n / task for n in ("predictions", "ensembles", "baselines"))
        judgement = judge_task(windows, predictions, ensemble, baselines, config)
        summary = judgement.summary()
        with whole_folder(root / "data" / "judgements" / task) as folder:
            _write_json(folder / "details.json", details(judgement))
            (folder / "intervals").mkdir()
            for name, table in judgement.intervals.items():
                table.to_parquet(folder / "intervals" / f"{name}.parquet", index=False)
        write_whole(root / "reports" / task / "judgement.json", json.dumps(summary, indent=1) + "\n")
        print(f"{task}: {len(summary['cells'])} cells beside {', '.join(summary['baselines'])}")
        if judgement.kind == "series" and not judgement.intervals:
            print("  no intervals: validation has too few forecasts to calibrate them; give it more rows")
        for model, told in summary["models"].items():
            print(
                f"  {model} {told['verdict']} {told['baseline']}, skill {told['skill']:+.1%}, p {told['p_value']:.2g}"
            )

        from unrolled.tracking import mirror

        for name in summary["cells"]:
            model_folder = root / "data" / "models" / f"{task}-{name}"
            if model_folder.is_dir():
                mirror(root, model_folder)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
