"""The learning curve of one run as a picture."""

from pathlib import Path


def draw_learning_curve(history: list[tuple[int, dict[str, float]]], title: str, path: Path) -> None:
    """Write the losses over the epochs as a small SVG.

    Args:
        history: (epoch, metrics) in order; every metric whose name ends in ``loss`` is drawn where it was measured.
        title: what is shown, and from which data.
        path: file to write.
    """
    # Without pyplot: no backend is chosen and no figure is kept.
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for name in sorted({name for _, metrics in history for name in metrics if name.endswith("loss")}):
        points = [(epoch, metrics[name]) for epoch, metrics in history if name in metrics]
        axes.plot(*zip(*points, strict=True), marker=".", label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel="loss", title=title)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
