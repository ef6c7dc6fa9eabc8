"""The report: every model over its seeds beside the baselines, told apart by where its score comes from."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from judgedcheckout import make_root, real, write_ensemble
from windowsets import example_windows, series_windows, text_windows

from unrolled.errors import UserError
from unrolled.leaderboard import Table, tables
from unrolled.report import leaderboard_text, report_files
from unrolled.reportcards import cards
from unrolled.runrecord import judged_cell, read_trained
from unrolled.shown import percent, shown
from unrolled.tasksection import is_whole, section


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path, real(series_windows(110)), missing=("lstm",))


def _rows(root: Path) -> dict[str, dict[str, Any]]:
    return {row["row"]: row for row in csv.DictReader(io.StringIO(report_files(root)["leaderboard.csv"]))}


def _judgement(root: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((root / "reports/ramp/judgement.json").read_text())
    return told


def test_rows_say_where_their_score_comes_from(root: Path) -> None:
    rows = _rows(root)
    assert {name: (row["kind"], row["state"]) for name, row in rows.items()} == {
        "gru": ("model", "run here"),
        "lstm": ("model", "missing"),
        "persistence": ("baseline", "run here"),
        "classical": ("baseline", "run here"),
        "gru-0": ("cell", "run here"),
        "gru-1": ("cell", "run here"),
        "lstm-0": ("cell", "missing"),
    }
    assert rows["lstm"]["value"] == ""
    assert float(rows["persistence"]["mae"]) == pytest.approx(1)


def test_a_models_row_is_about_all_of_its_seeds(root: Path) -> None:
    row, told = _rows(root)["gru"], _judgement(root)["models"]["gru"]
    seeds = [float(_rows(root)[name]["mae"]) for name in ("gru-0", "gru-1")]
    assert float(row["value"]) == pytest.approx(sum(seeds) / 2)
    assert row["seeds"] == "2"
    for column, key in (("value_spread", "value_spread"), ("skill", "skill"), ("skill_low", "skill_low")):
        assert float(row[column]) == told[key]
    assert float(row["p_value"]) == told["p_value"]
    assert row["verdict"] == told["verdict"] == "loses", "untrained: that is a result like any other"
    assert float(row["coverage_90"]) == 0.875
    page = report_files(root)["index.html"]
    assert '<span class="badge loses">loses</span>' in page
    assert "The one model judged ties with persistence" in page or "The one model judged loses to persistence" in page


def test_a_score_on_other_data_is_committed_not_run_here(root: Path) -> None:
    meta = root / "data/windows/ramp/meta.json"
    meta.write_text(meta.read_text().replace('"digest": "', '"digest": "0'))
    assert {row["state"] for row in _rows(root).values()} == {"committed, not run here", "missing"}
    assert "committed, not run here" in report_files(root)["index.html"]
    assert "gru" not in leaderboard_text(root)
    assert cards(root) == {}


def test_a_fresh_clone_shows_what_is_committed(root: Path) -> None:
    shutil.rmtree(root / "data")
    rows = _rows(root)
    assert rows["gru"]["state"] == "committed, not run here"
    assert rows["gru"]["verdict"] == "loses"
    page = report_files(root)["index.html"]
    assert ">Learning curves<" in page, "the learning curves are committed"
    assert ">Forecast against truth<" not in page


def _committed(root: Path) -> dict[str, Any]:
    """Write the section as the stage does, take the data away, and return the section."""
    written = report_files(root)["ramp/section.json"]
    (root / "reports/ramp/section.json").write_text(written)
    shutil.rmtree(root / "data")
    told: dict[str, Any] = json.loads(written)
    return told


def test_a_clone_that_ran_another_task_shows_this_ones_figures_as_committed(tmp_path: Path) -> None:
    root = make_root(tmp_path, real(series_windows(110)), real(example_windows()))
    before = report_files(root)
    for task in ("ramp", "patches"):
        (root / "reports" / task / "section.json").write_text(before[f"{task}/section.json"])
    for folder in (root / "data").iterdir():
        shutil.rmtree(folder / "ramp", ignore_errors=True)
    after = report_files(root)
    assert "ramp/section.json" not in after, "nothing new to commit"
    assert after["patches/section.json"] == before["patches/section.json"]
    told = before["index.html"].replace("run here", "")
    kept = '<p class="soft">The figures are as they were committed: ramp was not run here, or not all of it.</p>\n'
    assert kept in after["index.html"]
    page = after["index.html"].replace(kept, "").replace("committed, not run here", "").replace("run here", "")
    assert page == told
    assert ">63 s<" in after["index.html"], "how long it trained is not in any other committed file"


def test_figures_of_another_judgement_are_not_shown(root: Path) -> None:
    _committed(root)
    assert ">Forecast against truth<" in report_files(root)["index.html"]
    judgement = root / "reports/ramp/judgement.json"
    judgement.write_text(json.dumps(_judgement(root) | {"n_test": 1}))
    assert ">Forecast against truth<" not in report_files(root)["index.html"]


def test_a_cell_that_is_no_longer_in_the_grid_takes_the_committed_figures_with_it(root: Path) -> None:
    _committed(root)
    params = json.loads((root / "params.yaml").read_text())
    params["cells"]["ramp-new-0"] = {"task": "ramp", "model": "new", "seed": 0}
    (root / "params.yaml").write_text(json.dumps(params))
    assert ">Forecast against truth<" in report_files(root)["index.html"], "a cell that was not run yet"
    del params["cells"]["ramp-gru-1"]
    (root / "params.yaml").write_text(json.dumps(params))
    assert ">Forecast against truth<" not in report_files(root)["index.html"]


@pytest.mark.parametrize("gone", ["data/predictions/ramp/gru-1", "data/judgements/ramp"])
def test_where_not_all_is_here_the_whole_committed_section_stays(root: Path, gone: str) -> None:
    whole = report_files(root)
    assert "as they were committed" not in whole["index.html"]
    (root / "reports/ramp/section.json").write_text(whole["ramp/section.json"])
    shutil.rmtree(root / gone)
    files = report_files(root)
    assert "ramp/section.json" not in files
    assert json.loads(whole["ramp/section.json"])["html"] in files["index.html"]
    assert "The figures are as they were committed: ramp was not run here, or not all of it." in files["index.html"]
    (root / "reports/ramp/section.json").unlink()
    assert "ramp/section.json" not in report_files(root), "figures of a part are shown, but not for others to keep"


def test_training_times_outlive_the_sidecars(root: Path) -> None:
    whole = report_files(root)
    (root / "reports/ramp/section.json").write_text(whole["ramp/section.json"])
    shutil.rmtree(root / "data/sidecars")
    files = report_files(root)
    assert json.loads(files["ramp/section.json"])["seconds"] == {"gru-0": 63, "gru-1": 63}
    assert ">63 s<" in files["index.html"]


def test_without_a_judgement_no_section_counts(root: Path) -> None:
    (root / "reports/ramp/judgement.json").unlink()
    assert "ramp/section.json" not in report_files(root)
    made_with = hashlib.sha256(b'{"cells":[],"judgement":{}}').hexdigest()
    (root / "reports/ramp/section.json").write_text(
        json.dumps({"made_with": made_with, "html": "<p>old</p>", "seconds": {}})
    )
    assert "<p>old</p>" not in report_files(root)["index.html"]


def test_a_damaged_section_is_named_with_what_brings_it_back(root: Path) -> None:
    told = _committed(root)
    place = root / "reports/ramp/section.json"
    changes: list[dict[str, Any]] = [{"html": None}, {"html": ["<p>"]}, {"seconds": None}, {"seconds": [63]}]
    changes += [{"seconds": {"gru-0": value}} for value in ("63", True, None, -5, float("nan"), float("inf"))]
    for content in ["{", *(json.dumps(told | change) for change in changes)]:
        place.write_text(content)
        with pytest.raises(
            UserError, match=r"section.json is damaged .* `git restore reports/ramp/section.json` brings"
        ):
            section(root, tables(root)[0])
    place.write_text(json.dumps(told))
    assert section(root, tables(root)[0]).kept


@pytest.mark.parametrize("table", [table for table in tables(ROOT) if table.judgement], ids=lambda table: table.task)
def test_the_committed_sections_are_of_the_committed_judgements(table: Table) -> None:
    made = section(ROOT, table)
    assert made.kept or is_whole(ROOT, table), "in a clone the page would have no figures"
    assert made.html.count("<figure") > 5


def _with_seeds(root: Path, count: int) -> None:
    """Say in the judgement and beside it that gru was trained with ``count`` seeds, all like the first."""
    judgement, cell = _judgement(root), (root / "reports/ramp/gru/0/metrics.json").read_text()
    params = json.loads((root / "params.yaml").read_text())
    for name in [name for name in params["cells"] if "gru" in name]:
        del params["cells"][name]
    judgement["cells"] = {f"gru-{seed}": judgement["cells"]["gru-0"] for seed in range(count)}
    judgement["models"]["gru"]["seeds"] = list(range(count))
    for seed in range(count):
        params["cells"][f"ramp-gru-{seed}"] = {"task": "ramp", "model": "gru", "seed": seed}
        (root / "reports/ramp/gru" / str(seed)).mkdir(exist_ok=True)
        (root / "reports/ramp/gru" / str(seed) / "metrics.json").write_text(cell)
    (root / "params.yaml").write_text(json.dumps(params))
    (root / "reports/ramp/judgement.json").write_text(json.dumps(judgement))


@pytest.mark.parametrize(("count", "few"), [(1, "1 seed"), (2, "2 seeds"), (3, "")])
def test_a_verdict_on_fewer_than_three_seeds_is_marked(root: Path, count: int, few: str) -> None:
    _with_seeds(root, count)
    files = report_files(root)
    page = files["index.html"]
    mark = '<span class="badge loses">loses</span><small>'
    assert (mark + few + "<" in page) if few else (mark not in page)
    assert f" GWh, {'of 1 seed' if count == 1 else f'mean of {count} seeds'}." in page
    assert ("On fewer than 3 seeds, this is said of those runs only." in page) is bool(few)
    assert ('<span class="soft">1 of fewer seeds</span>' in page) is bool(few)
    assert ('<span class="badge loses">1 behind</span>' in page) is not bool(few)
    assert (f"| loses{f' ({few})' if few else ''} |") in files["leaderboard.md"]
    assert ("holds for the networks that were trained" in files["leaderboard.md"]) is bool(few)


def test_models_of_few_seeds_are_counted_apart(root: Path) -> None:
    _with_seeds(root, 3)
    judgement = _judgement(root)
    params = json.loads((root / "params.yaml").read_text())
    params["cells"]["ramp-lstm-0"] = {"task": "ramp", "model": "lstm", "seed": 0}
    (root / "params.yaml").write_text(json.dumps(params))
    judgement["cells"]["lstm-0"] = judgement["cells"]["gru-0"]
    judgement["models"]["lstm"] = judgement["models"]["gru"] | {"seeds": [0], "verdict": "beats"}
    (root / "reports/ramp/judgement.json").write_text(json.dumps(judgement))
    shutil.copytree(root / "reports/ramp/gru/0", root / "reports/ramp/lstm/0")
    page = report_files(root)["index.html"]
    assert "The one model judged on 3 seeds or more loses to persistence" in page
    assert "On fewer seeds, and so of those runs only: 1 ahead." in page


def test_the_terminal_leaves_out_tasks_of_which_nothing_ran(tmp_path: Path) -> None:
    root = make_root(tmp_path, real(series_windows(110)), real(example_windows()))
    assert "patches: accuracy" in leaderboard_text(root)
    shutil.rmtree(root / "data/windows/patches")
    assert "patches" not in leaderboard_text(root)
    assert "ramp: mae" in leaderboard_text(root)


def test_scores_that_were_not_judged_together_have_no_verdict(root: Path) -> None:
    metrics = root / "reports/ramp/gru/1/metrics.json"
    told = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(told | {"mae": 3.5}))
    rows = _rows(root)
    assert rows["gru-1"]["verdict"] == "", "trained again since"
    assert rows["gru-0"]["verdict"] != ""
    assert rows["gru"]["verdict"] == "", "the test was on other seeds' losses"
    assert float(rows["gru-1"]["skill"]) == pytest.approx(1 - 3.5)
    metrics.write_text(json.dumps(told | {"data_digest": "other"}))
    rows = _rows(root)
    assert rows["gru-1"]["skill"] == "", "another data set's score saves no share of this baseline's error"
    assert float(rows["gru"]["value"]) == float(rows["gru-0"]["value"]), "seeds of two data sets have no mean"


def test_before_anything_ran_every_cell_is_missing(tmp_path: Path) -> None:
    cells = {"ramp-gru-0": {"task": "ramp", "model": "gru", "seed": 0}}
    (tmp_path / "params.yaml").write_text(json.dumps({"tasks": ["ramp"], "cells": cells}))
    files = report_files(tmp_path)
    assert "missing" in files["index.html"]
    assert "Nothing has been judged yet." in files["index.html"]
    assert "| gru |  |  |  |  |  |  |  | missing |" in files["leaderboard.md"]


def test_the_terminal_tells_the_verdict(root: Path) -> None:
    told = _judgement(root)["models"]["gru"]
    line = next(line for line in leaderboard_text(root).splitlines() if line.strip().startswith("gru"))
    assert shown("mae", told["value"]) in line
    assert percent(told["skill"]) in line
    assert line.endswith("2 seeds: loses persistence")
    assert "(the baseline to beat)" in leaderboard_text(root)


def test_card_judgement_and_page_show_the_same_numbers(root: Path) -> None:
    page, written = report_files(root)["index.html"], cards(root)
    assert set(written) == {"ramp/gru/0/card.md", "ramp/gru/1/card.md"}
    for seed in (0, 1):
        told = _judgement(root)["cells"][f"gru-{seed}"]
        card = written[f"ramp/gru/{seed}/card.md"]
        record = read_trained(root, root / f"data/models/ramp-gru-{seed}").record
        judged = judged_cell(root, record)
        assert judged is not None
        assert judged["cell"] == told
        for said in (shown("mae", told["mae"]), percent(told["skill"]), percent(told["skill_low"])):
            assert said in card
            assert said in page
        assert "87.5 % of the test inside, mean width 12.50 GWh" in card
        assert "interval {" not in card


def test_an_ensemble_stands_among_the_models_and_says_what_it_is_made_of(tmp_path: Path) -> None:
    windows = [real(w) for w in (series_windows(110, name="log_return"), example_windows(), text_windows(2450))]
    root = make_root(tmp_path, *windows)
    assert "ensemble" not in report_files(root)["index.html"]
    for each in windows:
        write_ensemble(root, each)
        reports = root / "reports" / each.meta["task"] / "ensemble/0/metrics.json"
        better = (
            "accuracy" if each.meta["kind"] == "examples" else {"series": "mae", "text": "loss_nats"}[each.meta["kind"]]
        )
        told = json.loads(reports.read_text())
        told[f"validation_{better}"] = 2.0 if better == "accuracy" else 0.0  # best on validation: the figures show it
        reports.write_text(json.dumps(told))
    files = report_files(root)
    assert "The one model judged loses to persistence" in files["index.html"], "an ensemble is no model more"
    rows = _rows(root)
    assert (rows["ensemble"]["kind"], rows["ensemble"]["state"], rows["ensemble"]["seeds"]) == ("model", "run here", "")
    assert rows["ensemble"]["verdict"] != ""
    made = "1.00 gru (2 seeds): best model, chosen on validation"
    assert files["index.html"].count(made) == 2 * 3, "in the leaderboard and in the table of seeds"
    assert f"ensemble: {made}." in files["leaderboard.md"]
    assert ", a mixture: " in leaderboard_text(root)
    assert "Drawn is ensemble-0" in files["index.html"]
    assert "what ensemble-0 (best on validation) read" in files["index.html"]
    assert '<details open="open"><summary>gru-0</summary>' in files["index.html"], "an ensemble writes no text"
    drawn = pd.read_csv(io.StringIO(files["ramp/forecast.csv"]))
    told_of = pd.read_parquet(root / "data/ensembles/ramp/test.parquet")
    assert drawn[drawn["line"] == "forecast"]["value"].iloc[-1] == pytest.approx(
        told_of["predicted"].iloc[-1], rel=1e-5
    )
    card = cards(root)["ramp/ensemble/0/card.md"]
    assert f"An ensemble: {made}." in card
    assert "- Chosen: best model, by mae on held-out blocks of validation (best model " in card
    assert "- Verdict: it " in card
    shutil.rmtree(root / "data")
    assert _rows(root)["ensemble"]["state"] == "committed, not run here"


def test_every_kind_of_task_has_its_figures(tmp_path: Path) -> None:
    windows = [real(w) for w in (series_windows(110, name="log_return"), example_windows(), text_windows(2450))]
    page = report_files(make_root(tmp_path, *windows))["index.html"]
    titles = re.findall(r"<h3[^>]*>([^<]+)<", page)
    for title in (
        *("Forecast against truth", "The worst days", "Residuals", "Intervals", "What the forecasts venture"),
        *("What is mistaken for what", "Most confidently misread", "Reliability", "Error by class"),
        *("What the models write", "Loss along the text", "Loss by kind of character"),
        *("Error by month", "Against every baseline", "Learning curves"),
    ):
        assert title in titles, title
    assert titles.count("Where the numbers come from") == 3
    assert "c0ffeec0ffee" in page, "the commit"
    assert "10.0 % copied" in page
    assert "data:image/png;base64," in page


def test_the_figure_shows_the_forecast_the_interval_and_the_baseline_of_the_same_day(root: Path) -> None:
    page = report_files(root)["index.html"]
    lines = json.loads(re.search(r'data-lines="([^"]*ramp|[^"]*actual[^"]*)"', page)[1].replace("&#34;", '"'))  # type: ignore[index]
    days = pd.read_parquet(root / "data/predictions/ramp/gru-0/test.parquet")
    last = days.iloc[-1]
    assert len(lines) == len(days)
    assert lines[-1] == (
        f"{last['date']:%a %Y-%m-%d}: actual {last['actual']:,.0f} GWh, gru-0 {last['predicted']:,.0f} "
        f"(90 %: {last['predicted'] - 9:,.0f} to {last['predicted'] + 9:,.0f}), persistence {last['anchor']:,.0f}"
    )


def test_the_page_is_self_contained_and_runs_only_its_own_script(root: Path) -> None:
    page = report_files(root)["index.html"]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == page.count("<script") == 1
    checksum = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy[1].startswith("default-src 'none';")
    assert f"script-src 'sha256-{checksum}'" in policy[1]
    assert "unsafe-inline" not in policy[1].replace("style-src 'unsafe-inline'", "")
    addresses = set(re.findall(r"(?:src|href)=\"([^\"]+)\"", page))
    assert all(address.startswith(("#", "data:image/png")) for address in addresses), addresses
    assert not re.findall(r"url\((?!#)", page)
    assert len(page.encode()) < 3_000_000


def test_the_page_repeats_to_the_byte(root: Path) -> None:
    assert report_files(root) == report_files(root)


def test_what_comes_from_files_is_escaped(tmp_path: Path) -> None:
    windows = text_windows(2450)
    root = make_root(tmp_path, real(windows), missing=("<script>alert(1)</script>",))
    meta = root / "data/windows/letters/meta.json"
    content = json.loads(meta.read_text()) | {"attribution": "<img src=x onerror=alert(2)> & sons"}
    meta.write_text(json.dumps(content))
    page = report_files(root)["index.html"]
    assert page.count("<script") == 1, "the page's own"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert(2)&gt; &amp; sons" in page
    assert "&lt;b&gt;abc&lt;/b&gt;" in page, "a generated text"
    assert "<b>abc" not in page


def test_stand_in_data_cannot_be_overlooked(tmp_path: Path) -> None:
    root = make_root(tmp_path, series_windows(110), example_windows(), text_windows(2450))
    files = report_files(root)
    assert "Stand-in data: ramp, patches, letters" in files["index.html"]
    for figure in re.findall(r"<figure.*?</figure>", files["index.html"], re.DOTALL):
        if "Where the numbers come from" not in figure:
            assert '<span class="mark-standin">STAND-IN DATA</span>' in figure
        assert figure.count('class="standin"') == figure.count("<svg viewBox") - figure.count(
            '<svg viewBox="0 0 24 12"'
        )
    assert "stand-in" in files["leaderboard.csv"]
    assert "stand-in" in files["leaderboard.md"]
    assert "STAND-IN DATA" in leaderboard_text(root)


def test_real_data_carry_no_such_mark(root: Path) -> None:
    files = report_files(root)
    page = re.sub(r"<style>.*?</style>", "", files["index.html"], flags=re.DOTALL)
    assert all(
        "stand-in" not in content.lower() for content in (page, files["leaderboard.csv"], files["leaderboard.md"])
    )
    assert "made for a test" in page, "the attribution"


def test_a_damaged_file_is_named(root: Path) -> None:
    (root / "reports/ramp/gru/0/metrics.json").write_text("{")
    with pytest.raises(UserError, match="metrics.json is damaged .* `unrolled verify data` names the command"):
        report_files(root)


def test_dvc_draws_what_the_report_writes(tmp_path: Path) -> None:
    root = make_root(tmp_path, real(series_windows(110)), real(example_windows()))
    files = report_files(root)
    curves = pd.read_csv(io.StringIO(files["ramp/curves.csv"]))
    assert set(curves["line"]) == {"gru"}
    assert set(curves["part"]) == {0, 1}
    days = pd.read_csv(io.StringIO(files["ramp/forecast.csv"]))
    assert set(days["line"]) == {"actual", "forecast", "baseline"}
    told = pd.read_parquet(root / "data/predictions/ramp/gru-0/test.parquet")
    last = days[days["date"] == str(told["date"].iloc[-1].date())].set_index("line")["value"]
    assert last["actual"] == pytest.approx(told["actual"].iloc[-1], rel=1e-5)
    assert last["forecast"] == pytest.approx(told["predicted"].iloc[-1], rel=1e-5)
    assert list(pd.read_csv(io.StringIO(files["patches/confusion.csv"]))) == ["actual", "predicted"]
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    for plot in plots:
        (definition,) = plot.values()
        ((file, column),) = definition["y"].items()
        kind = {"curves.csv": "ramp", "forecast.csv": "ramp", "confusion.csv": "patches"}[Path(file).name]
        columns = list(pd.read_csv(io.StringIO(files[f"{kind}/{Path(file).name}"])))
        assert {definition["x"], column} <= set(columns), plot
        assert definition["template"] == "confusion" or (ROOT / f".dvc/plots/{definition['template']}.json").is_file()
