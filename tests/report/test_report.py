"""The report: true to the evaluation, complete without network, for every kind of data."""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file

from plurimask.data import DataDescription, DataSource, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import Preprocessing
from plurimask.errors import InputError
from plurimask.figures.style import SMALL, TEXT
from plurimask.flips import Flip
from plurimask.methods import build_method
from plurimask.metrics.table import row_of
from plurimask.prediction.predict import Sampling
from plurimask.report.content import collect_report, evenly_spread
from plurimask.report.figures import report_figures
from plurimask.report.images import image_blocks
from plurimask.report.page import LONG_TABLE, build_report, write_report
from plurimask.report.words import percent
from plurimask.runs.load import Run, load_run
from plurimask.runs.record import RunRecord
from plurimask.training.config import TrainingConfig

HEIGHT, WIDTH, NUM_IMAGES = 32, 40, 5
SAMPLING = Sampling(num_samples=3, seed=1, batch_size=2)
METRICS = "step,minutes,learning_rate,loss,kl,val_ged\n10,0.5,0.001,9.5,1.5,\n20,1.25,0.001,7.5,1.25,0.75\n"


class Noise(ExampleSet):
    """Images of noise; every rater's map is bright pixels, the last rows unjudged."""

    def __init__(self, about: DataDescription) -> None:
        self.about = about
        self.names = tuple(f"image-{number}<b>" for number in range(NUM_IMAGES))
        self.groups = self.names

    def __getitem__(self, index: int) -> Example:
        random = torch.Generator().manual_seed(index)
        image = torch.randn(len(self.about.channel_names), HEIGHT, WIDTH, generator=random)
        shape = (len(self.about.rater_names), HEIGHT, WIDTH)
        labels = torch.randint(self.about.num_classes, shape, generator=random, dtype=torch.uint8)
        labels[:, -2:] = 255
        return Example(self.names[index], image, labels)


def make_source(num_raters: int = 4, num_classes: int = 2, has_background: bool = True) -> DataSource:
    about = DataDescription(
        layout="made up",
        class_names=tuple(f"<b>class {number}</b>" for number in range(num_classes)),
        class_values=tuple(range(num_classes)),
        ignore_value=255,
        has_background=has_background,
        encoding="class indices & nothing else",
        channel_names=("red", "<i>far</i> red"),
        rater_names=tuple(f"rater{number}" for number in range(num_raters)),
    )
    return DataSource(about, {"train": Noise(about), "val": Noise(about)}, drawn=False)


def make_run(
    folder: Path, source: DataSource, metrics: str | None = METRICS, method_name: str = "probabilistic-unet"
) -> Run:
    about = source.description
    torch.manual_seed(0)
    method = build_method(
        method_name, channels=(4, 6), convs_per_scale=1, image_channels=2, num_classes=about.num_classes
    )
    with torch.no_grad():  # larger weights: with initial ones, samples hardly differ
        for parameter in method.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    record = RunRecord(
        method=method_name,
        preset="small",
        config=method.config.model_dump(mode="json"),
        training=TrainingConfig(max_steps=20),
        data=about,
        preprocessing=Preprocessing(mean=(0.0, 0.0), std=(1.0, 1.0)),
        split=None,
        group=None,
        seed=3,
        packages={"plurimask": "0.0"},
    )
    folder.mkdir()
    (folder / "run.json").write_text(record.model_dump_json())
    save_file(method.state_dict(), folder / "weights.safetensors")
    if metrics is not None:
        (folder / "metrics.csv").write_text(metrics)
    return load_run(folder)


def assert_is_whole(page: str) -> None:
    """Nothing is loaded from elsewhere, and every picture is inside."""
    assert not re.search(r"""(src|href|url|@import|srcset)\s*[=(]\s*["']?\s*(https?:|//|file:)""", page)
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")), address[:40]
    for kind, content in re.findall(r'data:image/(png|webp);base64,([^"]*)"', page):
        start = {"png": b"\x89PNG", "webp": b"RIFF"}[kind]
        assert base64.b64decode(content, validate=True).startswith(start)
    anchors = set(re.findall(r'href="#([^"]*)"', page))
    assert anchors <= set(re.findall(r'id="([^"]*)"', page))


def test_the_report_holds_the_figures_of_the_evaluation(tmp_path: Path) -> None:
    source = make_source()
    run = make_run(tmp_path / "my-run", source)
    totals = write_report(run, source, tmp_path / "deep" / "report.html", "val", SAMPLING)
    page = (tmp_path / "deep" / "report.html").read_text()
    assert_is_whole(page)
    for name in (
        "ged",
        "ged_unbiased",
        "ged_oracle",
        "hungarian_iou_balanced",
        "rater_diversity",
        "dice",
        "ece",
        "nll",
        "mean_class_dice",
        "mean_class_iou",
        "error_auroc",
        "error_auroc_information",
        "error_auroc_spread",
        "ause",
        "reconstruction_iou",
        "reconstruction_iou_marked",
    ):
        assert f">{totals[name]:.{row_of(name).digits}f}<" in page, name
    assert totals["hungarian_iou_best_draws"] is None  # of fewer samples than raters
    assert f">{totals['subset_b']['ged']:.4f}<" in page and "Subset B" in page
    assert "Kohl et al." in page and "20 steps, 1.2 minutes" in page and "my-run" in page
    assert f"<td>{totals['class_iou'][0]:.4f}</td>" in page
    # Uncertainty of the classes, five diagrams, training, latents; and of each image itself, outlines, four raters, one
    # to three readings, three samples, five maps of where it is unsure.
    assert page.count("data:image/png") == 8
    assert NUM_IMAGES * 15 <= page.count("data:image/webp") <= NUM_IMAGES * 17
    assert str(tmp_path) not in page


def test_the_page_opens_with_a_verdict(tmp_path: Path) -> None:
    source = make_source()
    run = make_run(tmp_path / "run", source)
    content = collect_report(run, source, "val", SAMPLING)
    totals, page = content.evaluation.totals, build_report(content)
    words = re.sub(r"<[^>]*>", " ", page[page.index("<main>") :])
    assert "Not trained: 20 steps of the 500 that this method needs." in words[: words.index("Samples and readings")]
    assert f"The raters agree with each other at Dice {totals['rater_dice']:.2f}" in words
    for key in ("sample_dice", "dice"):
        assert f"<p><b>{totals[key]:.2f}</b>Dice" in page
    assert f"{totals['ged_ratio']:.1f} times the raters&#39;" in page
    assert f"<span>empty masks {totals['empty_ged']:.3f}</span>" in page
    assert f"<span>the raters themselves {totals['ged_oracle']:.3f}</span>" in page
    trained = run.record.model_copy(update={"steps": 700})
    assert "Not trained" not in build_report(replace(content, record=trained))


def test_the_order_is_that_of_the_viewer_and_details_are_folded_away(tmp_path: Path) -> None:
    source = make_source(num_classes=14)
    page = build_report(collect_report(make_run(tmp_path / "run", source), source, "val", SAMPLING))
    ids = re.findall(r'<section[^>]* id="([^"]*)"', page)
    assert ids == [
        "verdict",
        "samples",
        "uncertainty",
        "metrics",
        "section-1",
        "training",
        "data",
        "run",
        "conventions",
    ]
    starts = {one: page.index(f'id="{one}"') for one in ids}
    for one in ids[4:]:  # folded whole
        assert re.match(r'id="[^"]*">\s*<details><summary><h2>', page[starts[one] :]), one
    for one in ids[:4]:
        assert re.search(r"<h2>[A-Z]", page[starts[one] : starts[one] + 200]) or one == "verdict"
    assert (
        page.index("plausible reading")
        < page.index("sample 1")
        < starts["uncertainty"]
        < page.index("mutual information")
    )
    # Open: the samples of the images that are evenly spread over the ranking; nothing else.
    unfolded = re.findall(r"<details[^>]* open>", page)
    assert unfolded == ['<details class="samples" open>'] * NUM_IMAGES
    for table in re.findall(r"<table(?: class=\"(?!facts)\w+\")?>.*?</table>", page, re.DOTALL):
        if table.count("<tr>") > LONG_TABLE + 1:
            before = page[: page.index(table)]
            assert before.rfind("<details>") > before.rfind("</details>")
    assert "<summary>14 classes</summary>" in page


def test_readings_lead_to_their_samples(tmp_path: Path) -> None:
    source = make_source()
    content = collect_report(make_run(tmp_path / "run", source), source, "val", SAMPLING)
    page = build_report(content)
    anchors = re.findall(r'<li><a href="#(image-\d+-sample-\d+)">', page)
    assert len(anchors) >= NUM_IMAGES and len(set(anchors)) == len(anchors)
    for anchor in anchors:
        assert re.search(f'id="{anchor}"><button type="button"><img src="data:image/webp', page)
    blocks = list(image_blocks(content))
    for block in blocks:
        readings = block["readings"]
        assert sum(one.percent for one in readings) == pytest.approx(100, abs=0.05)
        assert [one.percent for one in readings] == sorted((one.percent for one in readings), reverse=True)
        overlap = next(row["expected_dice"] for row in content.evaluation.rows if row["name"] == block["name"])
        assert f"Two samples overlap by {percent(overlap)} (Dice). GED " in block["summary"]
        if len(readings) == 1:
            assert block["headline"].startswith(("One", "Nothing", "No clear"))
        else:
            assert block["headline"] == f"{('Two', 'Three')[len(readings) - 2]} plausible readings"


def test_on_paper_what_is_folded_is_open_or_left_out(tmp_path: Path) -> None:
    source = make_source()
    page = build_report(collect_report(make_run(tmp_path / "run", source), source, "val", SAMPLING))
    paper = "".join(re.findall(r"@media print \{(.*?)\n\}", page, re.DOTALL))
    assert "details:not(.samples, .left-out)::details-content { display: block; content-visibility: visible" in paper
    assert "details.samples, details.left-out:not([open]) { display: none; }" in paper
    assert (
        "break-inside: avoid" in paper and "nav { display: none; }" in paper and "max-width: 100%; max-height" in paper
    )
    assert "loading=" not in page  # a picture that waits to be scrolled to is not printed
    left_out = re.findall(r'<details class="left-out"><summary>([^<]*)', page)
    assert left_out == ["Settings of the method", "Settings of the training", "Versions"]


def test_what_was_not_read_is_said_near_the_top(tmp_path: Path) -> None:
    source = replace(make_source(), notes=("3 files of .gif <b> were not read",))
    page = build_report(collect_report(make_run(tmp_path / "run", source), source, "val", SAMPLING))
    assert page.index("<li>3 files of .gif &lt;b&gt; were not read</li>") < page.index('id="samples"')


def test_raters_are_named_and_lengths_are_known(tmp_path: Path) -> None:
    class Measured(Noise):
        def pixel_size(self, index: int) -> PixelSize:
            return PixelSize(0.5, 0.5, "µm")

    source = make_source()
    source.splits["val"] = Measured(source.description)  # type: ignore[index]
    content = collect_report(make_run(tmp_path / "run", source), source, "val", SAMPLING)
    page = build_report(content)
    assert page.count("<figcaption>rater0</figcaption>") == NUM_IMAGES
    assert page.count('<span class="ruler" style="width: 25.0%"><span>5 µm</span></span>') == NUM_IMAGES
    assert page.count(" µm²</small>") >= NUM_IMAGES  # areas of readings
    titles = [text.get_text() for axes in report_figures(content)["spread"].figure.axes for text in axes.texts]
    assert titles.count("rater3") == NUM_IMAGES and titles.count("5 µm") == NUM_IMAGES


def test_the_page_fits_a_phone(tmp_path: Path) -> None:
    """No box is wider than a phone unless it scrolls by itself, and no text is smaller than 12 pixels."""
    source = make_source()
    page = build_report(collect_report(make_run(tmp_path / "run", source), source, "val", SAMPLING))
    style = page[page.index("<style>") : page.index("</style>")]
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    for selector, rules in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        for width in re.findall(r"(?<![-\w])(?:min-)?width: (\d+)px", rules):
            assert int(width) <= 320, selector
        for size in re.findall(r"font(?:-size)?: ([\d.]*)rem", rules):
            assert 16 * float(size) >= 12, selector
        for size in re.findall(r"font(?:-size)?: (\d+)px", rules):
            assert int(size) >= 12, selector
    assert re.search(r"\.figure \{[^}]*overflow-x: auto", style) and re.search(r"\.wide \{ overflow-x: auto", style)
    body = page[page.index("<main>") :]
    for table in re.finditer("<table", body):
        assert body[: table.start()].rstrip().endswith('<div class="wide">')
    for width in re.findall(r'<img[^>]* width="(\d+)"', body):  # at its natural size, in a box that scrolls
        assert int(width) > 0
    boxes = len(re.findall(r'<div class="figure(?: chart)?"><img', body))
    assert boxes == len(re.findall(r'<img[^>]* width="', body)) == 8
    assert body.count('<div class="figure chart"><img') == 6  # of the others no dark page may turn the images
    assert TEXT >= SMALL >= 9  # points, where 96 pixels are an inch: 12 pixels


def test_names_are_escaped(tmp_path: Path) -> None:
    source = make_source()
    run = make_run(tmp_path / "run<b>", source)
    page = build_report(collect_report(run, source, sampling=SAMPLING))
    assert "&lt;b&gt;class 1&lt;/b&gt;" in page and "&lt;i&gt;far" in page and "run&lt;b&gt;" in page
    assert "<b>class" not in page and "<i>" not in page and "run<b>" not in page


def test_one_rater_has_no_oracle_and_a_run_may_have_no_metrics(tmp_path: Path) -> None:
    source = make_source(num_raters=1, num_classes=11, has_background=False)
    run = make_run(tmp_path / "run", source, metrics=None)
    content = collect_report(run, source, "val", SAMPLING)
    page = build_report(content)
    assert_is_whole(page)
    assert content.evaluation.totals["ged_oracle"] is None and content.history == []
    assert "There is one rater of each image: whether samples differ as people would cannot be judged." in page
    assert (
        "the rater&#39;s own mask 1.00" in page and "one class everywhere 0." in page and "empty masks 0." not in page
    )
    assert "<li>one rater: " in page
    assert "Subset B" not in page and "no training curve" in page
    # Uncertainty of classes, GED, reliability, sparsification, referral, latents.
    assert page.count("data:image/png") == 6


def test_the_samples_shown_are_those_evaluated(tmp_path: Path, precision: str) -> None:
    source = make_source()
    run = make_run(tmp_path / "run", source)
    content = collect_report(run, source, sampling=SAMPLING)
    order = sorted(content.evaluation.rows, key=lambda row: row["ged"])
    assert [row.name for row in content.spread] == [row["name"] for row in order]
    assert [row.name for row in content.best] == [row["name"] for row in order[:2]]
    assert [row.name for row in content.worst] == [row["name"] for row in order[:-3:-1]]
    row = content.best[0]
    assert row.samples.shape == (3, HEIGHT, WIDTH) and row.mean.shape == (2, HEIGHT, WIDTH)
    assert row.caption.startswith(f"GED {order[0]['ged']:.3f} (raters themselves {order[0]['ged_oracle']:.3f})")
    image = source.splits["val"][source.splits["val"].names.index(row.name)].image
    assert (torch.from_numpy(row.image) == image).all()
    twin = collect_report(run, source, sampling=replace(SAMPLING, batch_size=5)).best[0]
    assert (twin.samples == row.samples).mean() > 0.999


def test_each_image_enters_the_network_once(tmp_path: Path) -> None:
    source = make_source()
    run = make_run(tmp_path / "run", source)
    entered: Counter[str] = Counter()
    names = {bytes(example.image.numpy()): example.name for example in map(source.splits["val"].__getitem__, range(5))}

    def count(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        entered.update(names[bytes(image.contiguous().numpy())] for image in arguments[0])

    run.method.register_forward_pre_hook(count)
    content = collect_report(run, source, sampling=SAMPLING)
    report_figures(content)
    assert len(content.spread) == NUM_IMAGES and content.plane is not None
    assert sorted(entered.values())[:-1] == [1] * (NUM_IMAGES - 1)
    ((walked, times),) = entered.most_common(1)
    assert walked == content.spread[NUM_IMAGES // 2].name and times == 2  # once more for its latents


def test_further_sections(tmp_path: Path) -> None:
    source = make_source()
    run = make_run(tmp_path / "run", source)
    content = collect_report(run, source, "val", SAMPLING)
    extra = [("Known <truth>", "It is known.", Figure(figsize=(2, 2))), ("Only words", "None drawn.", None)]
    page = build_report(replace(content, extra=extra))
    assert_is_whole(page)
    assert "Known &lt;truth&gt;" in page and "None drawn." in page


def test_uncertainty_is_shown_beside_the_errors(tmp_path: Path, precision: str) -> None:
    source = make_source()
    content = collect_report(make_run(tmp_path / "run", source), source, sampling=SAMPLING)
    row = content.spread[0]
    assert row.mutual_information.shape == row.entropy.shape == (HEIGHT, WIDTH)
    assert row.variance.shape == (2, HEIGHT, WIDTH)
    assert 0 < row.variance.max() <= 0.25
    assert (row.mutual_information <= row.entropy + 1e-6).all()
    page = build_report(content)
    assert f"<b>{content.evaluation.totals['error_auroc']:.3f}</b>" in page
    assert len({row["expected_dice"] for row in content.evaluation.rows}) > 1
    assert "ordered by their expected Dice" in page
    assert "standard deviation of a class's probability over the samples: the same for both classes." in page
    assert {"class-uncertainty", "sparsification"} <= report_figures(content).keys()


def test_a_single_prediction_is_referred_by_its_entropy(tmp_path: Path) -> None:
    source = make_source(num_raters=1)
    run = make_run(tmp_path / "run", source, method_name="unet")
    content = collect_report(run, source, sampling=SAMPLING)
    page = build_report(content)
    assert_is_whole(page)
    assert {row["expected_dice"] for row in content.evaluation.rows} == {1.0}
    assert "a single prediction always agrees with itself" in page
    assert "class-uncertainty" not in report_figures(content)
    totals = content.evaluation.totals
    assert totals["error_auroc_information"] is totals["error_auroc_spread"] is None
    assert totals["error_auroc"] is not None


@pytest.mark.parametrize("nobody", [slice(0, 2), slice(0, None)])
def test_images_that_nobody_judged_do_no_harm(tmp_path: Path, nobody: slice) -> None:
    source = make_source()
    examples = [source.splits["val"][index] for index in range(NUM_IMAGES)]
    for example in examples[nobody]:
        example.labels[:] = 255

    class Stored(Noise):
        def __getitem__(self, index: int) -> Example:
            return examples[index]

    source.splits["val"] = Stored(source.description)  # type: ignore[index]
    content = collect_report(make_run(tmp_path / "run", source), source, sampling=SAMPLING)
    page = build_report(content)
    assert_is_whole(page)
    assert ("There is no AUROC" in page) == (content.evaluation.totals["num_undefined"] == NUM_IMAGES)


def test_a_run_that_resizes_and_classes_that_flip(tmp_path: Path) -> None:
    source = make_source(num_raters=1, num_classes=4)
    flips = (Flip(1, 3, 0.25),)
    about = source.description.model_copy(update={"flips": flips})
    examples = [source.splits["val"][index] for index in range(NUM_IMAGES)]
    for example in examples:
        example.labels[example.labels == 3] = 0

    class Flipping(Noise):
        def __getitem__(self, index: int) -> Example:
            return replace(examples[index], flips=flips)

    source = DataSource(about, {"val": Flipping(about)}, drawn=False)
    run = make_run(tmp_path / "run", source)
    preprocessing = run.record.preprocessing.model_copy(update={"resize": (16, 24)})
    run = replace(run, record=run.record.model_copy(update={"preprocessing": preprocessing}))
    content = collect_report(run, source, sampling=SAMPLING)
    raters = content.spread[0].raters
    assert raters.shape[1:] == (16, 24) == content.spread[0].image.shape[1:]
    assert 0.1 < (raters == 3).sum() / ((raters == 1) | (raters == 3)).sum() < 0.5  # 16 draws: 0.25 +- 0.11
    assert_is_whole(build_report(content))


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    source = make_source()
    with pytest.raises(InputError, match="unknown split 'tset'"):
        write_report(make_run(tmp_path / "run", source), source, tmp_path / "report.html", "tset", SAMPLING)
    assert not (tmp_path / "report.html").exists()


def test_evenly_spread_takes_the_middles_of_equal_parts() -> None:
    assert evenly_spread(range(80), 4) == [10, 30, 50, 70]
    assert evenly_spread([5, 3], 6) == [5, 3]
    assert evenly_spread([], 6) == []
