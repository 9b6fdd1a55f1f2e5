"""The choice among heads and fine-tunings, by hand; what is asked for is taken or refused."""

import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from carsclf.advising.advice import read_json, read_rows
from carsclf.advising.choose import choose, options_of, plan_anew, search_hours
from carsclf.advising.curve import CURVE, Tried, pace_of
from carsclf.advising.ledger import Ledger
from carsclf.advising.options import fine_tunings
from carsclf.advising.plan import SAME, AdvicePlan, Choice, check_latency, decide, told
from carsclf.advising.probed import read_probed
from carsclf.advising.times import Counts, Pace
from carsclf.analysis.forecast import Short
from carsclf.errors import ConfigError
from carsclf.files import write_json
from tests.advising.conftest import candidate, head

stage = sys.modules["carsclf.advising.choose"]


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch):
    """While a test runs: what fits within some seconds must not hang on how busy a machine is."""
    monkeypatch.setattr("carsclf.advising.ledger.time", SimpleNamespace(monotonic=lambda: 0.0))


def choice(network: str, mode: str, top1: float, half: float, **values) -> Choice:
    plain = {"weights": "none", "image_size": 160, "epochs": 10, "seconds": 100.0}
    return Choice(
        network, mode=mode, top1=top1, low=top1 - half, high=top1 + half, **(plain | values)
    )


def test_cars_are_fine_tuned():
    """The real case: a frozen head of 53.5 %, and a fine-tuning that may reach 82 %."""
    one, verdict, why = decide(
        [choice("a", "freeze", 0.535, 0.03), choice("a", "finetune", 0.82, 0.09)]
    )
    assert (one.mode, verdict) == ("finetune", "finetune")
    assert "28 points above" in why


def test_a_fine_tuning_that_will_be_worse_is_left_out():
    head = choice("a", "freeze", 0.877, 0.03)
    one, verdict, why = decide([head, choice("b", "finetune", 0.84, 0.05)])
    assert (one.mode, verdict) == ("freeze", SAME)
    assert "84.0 % [79 to 89] only" in why


def test_what_cannot_be_told_from_the_head_is_tried():
    """Scenes, the real case: 87.7 % frozen and 86.8 % fine-tuned, of 600 pictures."""
    for tuned in (0.868, 0.90):
        one, verdict, why = decide(
            [choice("a", "freeze", 0.877, 0.03), choice("b", "finetune", tuned, 0.05)]
        )
        assert (one.mode, verdict) == ("finetune", "finetune")
        assert "cannot tell" in why
        assert "the better of both on validation" in why


def test_of_several_heads_and_trainings_the_best_are_compared():
    one, _, _ = decide(
        [
            *(choice("a", "freeze", 0.6, 0.02), choice("b", "freeze", 0.7, 0.02)),
            *(choice("a", "finetune", 0.65, 0.1), choice("b", "finetune", 0.71, 0.1)),
        ]
    )
    assert (one.network, one.mode) == ("b", "finetune")  # 0.71 is between b's 0.68 and 0.72


def test_a_latency_that_nothing_meets_names_the_nearest():
    check_latency({"a at 160 px": 12.0, "b at 96 px": 5.0}, 6)
    with pytest.raises(ConfigError, match=r"latency_ms=4: .*nearest is b at 96 px with about 5 ms"):
        check_latency({"a at 160 px": 12.0, "b at 96 px": 5.0}, 4)


def test_networks_that_answer_too_slowly_at_a_size_are_trained_at_a_smaller_one(advice_of):
    """4 ms at 32 px are 36 ms at 96, 64 at 128, 100 at 160."""
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)], latency_ms=70)
    (one,) = fine_tunings(read_probed(advice.folder), Counts(36, 12, 12), advice, {}, 0)
    assert one.image_size == 128


def test_little_time_takes_the_head_that_is_there(advice_of):
    """18 s hold nothing beside the 10 s of the page, so the better head is the plan."""
    rows = [candidate("test_resnet"), candidate("test_efficientnet")]
    heads = [head("test_resnet", 0.5), head("test_efficientnet", 0.75, penalty=0.01)]
    advice = advice_of(rows, heads, hours=0.005)
    choose(advice)
    plan = AdvicePlan.read(advice.folder.plan)
    assert (plan.choice.network, plan.choice.mode) == ("test_efficientnet", "freeze")
    assert "optimizer.weight_decay=0.01" in plan.overrides
    assert plan.verdict == "frozen"
    assert not advice.folder.curve.exists()
    # 0.75 of 12 pictures, with half a picture each way, on 12 others; the best of 6 normal deviates
    # is 1.267 on average (Harter 1961)
    deviation = (((9 + 0.5) / 13) * ((3 + 0.5) / 13)) ** 0.5
    flattery = 1.267 * deviation / 12**0.5 / 2
    half = ((1.96 * deviation * (2 / 12) ** 0.5) ** 2 + flattery**2) ** 0.5
    assert plan.choice.top1 == pytest.approx(0.75 - flattery, abs=2e-3)
    assert plan.choice.low == pytest.approx(0.75 - flattery - half, abs=4e-3)


def test_a_dropped_candidate_is_no_head(advice_of):
    heads = [head("a", 0.5), head("b", 0.9, share=0.1, dropped="below the leader")]
    advice = advice_of([candidate("a"), candidate("b")], heads, hours=0.004)
    choose(advice)
    assert AdvicePlan.read(advice.folder.plan).choice.network == "a"


def test_a_slower_machine_than_was_measured_spares_the_second_short_training(
    advice_of, monkeypatch
):
    """Epochs of 30 s, where 0.9 s were measured: 187 s hold no second one of 2 beside 3 epochs."""
    tries = []

    def slowly(advice, option, epochs):
        tries.append(epochs)
        return Tried(replace(option, epochs=epochs), Short(epochs, 0.6, 12), 0.0, Pace(30.0, 5.0))

    monkeypatch.setattr(stage, "try_shortly", slowly)
    asked = {"mode": "finetune", "image_size": 96, "epochs": 4}
    advice = advice_of([candidate("a")], [head("a", 0.5)], 0.052, **asked)  # 187 s
    choose(advice)
    assert tries == [1]  # 65 and 95 s, where 144 are left beside judging and the page
    one = AdvicePlan.read(advice.folder.plan).choice
    assert one.epochs == 4
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0.6 < one.high


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (2e-3, [(2e-3, 1), (5e-4, 1), (2e-3, 2)]),
        (5e-4, [(2e-3, 1), (5e-4, 1), (1.25e-4, 1), (5e-4, 2)]),
        (1.25e-4, [(2e-3, 1), (5e-4, 1), (1.25e-4, 1), (3.125e-5, 1), (1.25e-4, 2)]),
    ],
)
def test_slower_rates_are_tried_while_they_do_better(advice_of, monkeypatch, best, tried):
    """As with a MobileNetV2, which the default rate does not suit."""
    told = []

    def at_rate(advice, option, epochs):
        told.append((option.rate, epochs))
        right = 0.6 - 0.1 * abs(math.log(option.rate / best))
        return Tried(replace(option, epochs=epochs), Short(epochs, right, 12), 0.0, Pace(1.0, 0.0))

    monkeypatch.setattr(stage, "try_shortly", at_rate)
    asked = {"mode": "finetune", "image_size": 96, "epochs": 4, "search": False}
    advice = advice_of([candidate("a")], [head("a", 0.5)], **asked)
    choose(advice)
    assert told == [(pytest.approx(rate), epochs) for rate, epochs in tried]
    plan = AdvicePlan.read(advice.folder.plan)
    assert plan.choice.rate == pytest.approx(best)
    assert f"optimizer.lr={best:g}" in plan.overrides
    assert plan.choice.rests == "complete trainings of 1 and 2 epochs"  # at that rate


KEPT = {"boundary": "layer2", "kept_rate": 1440.0, "kept_bytes": 1000}
"""Four times as fast as all of it: 0.03 s an epoch at 32 px, and 0.2 s for 3 views of 36."""


def test_what_is_frozen_half_way_is_taken_where_it_allows_larger_pictures(advice_of):
    """An epoch of all of it takes 7.68 s at 256 px and 9.72 s at 288: beside judging 10 and 8 fit.

    Of these, four short ones leave 6 and 4. Kept, one takes 2.25 s at 288 px, after 16.2 s of
    keeping.
    """
    rows, heads = [candidate("test_resnet", **KEPT)], [head("test_resnet", 0.5)]
    advice = advice_of(rows, heads, hours=90 / 3600)
    first, second = fine_tunings(read_probed(advice.folder), Counts(36, 12, 12), advice, {}, 0)
    assert (first.mode, first.image_size, first.boundary) == ("partial", 288, "layer2")
    assert (second.mode, second.image_size, second.epochs) == ("finetune", 256, 6)
    assert "mode.boundary=layer2" in first.overrides
    assert "mode.views=3" in first.overrides
    assert first.seconds == pytest.approx(16.2 + 2.25 * first.epochs, rel=1e-3)
    assert "mode.boundary" not in " ".join(second.overrides)


def test_two_views_are_kept_where_three_would_make_pictures_smaller(advice_of):
    """32.5 s beside judging: 9.4 epochs at 288 px after 11.3 s of keeping two, 7.2 after three."""
    rows, heads = [candidate("test_resnet", **KEPT)], [head("test_resnet", 0.5)]
    advice = advice_of(rows, heads, hours=(32.5 + 3.24) / 0.96 / 3600)
    first = fine_tunings(read_probed(advice.folder), Counts(36, 12, 12), advice, {}, 0)[0]
    assert (first.mode, first.image_size, first.epochs) == ("partial", 288, 5)
    assert "mode.views=2" in first.overrides


def test_with_time_enough_all_of_it_is_trained(advice_of):
    rows, heads = [candidate("test_resnet", **KEPT)], [head("test_resnet", 0.5)]
    advice = advice_of(rows, heads, hours=1)
    one, two = fine_tunings(read_probed(advice.folder), Counts(36, 12, 12), advice, {}, 0)
    assert [(c.mode, c.image_size) for c in (one, two)] == [("finetune", 288), ("partial", 288)]


@pytest.mark.parametrize(("epochs", "first"), [(11, "partial"), (12, "finetune")])
def test_of_one_size_all_of_it_is_trained_if_for_plenty_of_epochs(advice_of, epochs, first):
    """At 9.72 s an epoch, of which the short trainings have eight, beside 3.24 s of judging."""
    rows, heads = [candidate("test_resnet", **KEPT)], [head("test_resnet", 0.5)]
    seconds = (9.72 * (epochs + 8.5) + 3.24) / 0.96
    advice = advice_of(rows, heads, hours=seconds / 3600)
    found = fine_tunings(read_probed(advice.folder), Counts(36, 12, 12), advice, {}, 0)
    assert [one.image_size for one in found] == [288, 288]
    assert {one.mode: one.epochs for one in found}["finetune"] == epochs
    assert found[0].mode == first


def test_a_size_whose_steps_the_memory_does_not_hold_is_left_out(advice_of, monkeypatch):
    """80 MB at 32 px would be 3,920 MB at 224 px, 5,120 at 256."""
    monkeypatch.setattr("carsclf.advising.options.free_memory", lambda device: 4e9)
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)])
    (one,) = fine_tunings(read_probed(advice.folder), Counts(36, 12, 12), advice, {}, 0)
    assert one.image_size == 224


def test_epochs_that_are_asked_for_take_a_size_that_holds_them(advice_of):
    """An epoch takes 3 s at 160 px and 4.32 at 192: 28 and 19 fit, 16 and 11 beside short ones."""
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)], hours=90 / 3600)
    probed, counts = read_probed(advice.folder), Counts(36, 12, 12)
    (one,) = fine_tunings(probed, counts, advice, {"epochs": 12}, 0)
    assert (one.image_size, one.epochs) == (160, 12)


def test_names_tell_how_many_views_are_kept():
    plain = choice("a", "partial", 0.5, 0.1)
    kept = replace(plain, views=["augmentation=light", "mode.views=3"], rate=1e-3)
    assert plain.name == "a-partial-160px-10"
    assert kept.name == "a-partial-160px-3views-10-lr0.001"


def test_a_head_leaves_out_what_is_a_training_s_alone():
    given = [
        *("augmentation=trivial", "+augmentation.share=0.5", "~mixing.alpha", "mixing=mixup"),
        *("data.sampling=balanced", "trainer.gradient_clip_val=1", "data.image_size=64"),
    ]
    one = choice("a", "freeze", 0.5, 0.1)
    assert one.after(given)[:2] == ["data.image_size=64", "mode=freeze"]
    assert choice("a", "finetune", 0.5, 0.1).after(given)[: len(given)] == given


def tried(one: Choice, epochs: int, epoch: float, beside: float) -> Tried:
    return Tried(replace(one, epochs=epochs), Short(epochs, 0.5, 12), 0.0, Pace(epoch, beside))


def test_what_is_done_once_is_not_planned_again():
    """Keeping views was to take 16 s: of the first training's 21 s beside epochs 5 may come again.

    The second one shows that it were 2.
    """
    one = choice("a", "partial", 0.5, 0.1, pace={"epoch": 2.0, "beside": 16.0})
    first = tried(one, 1, 2.5, 21.0)
    assert pace_of([first]) == Pace(2.5, 5.0)
    assert pace_of([first, tried(one, 2, 2.25, 2.0)]) == Pace(2.25, 2.0)


def test_a_kill_changes_no_choice(advice_of, monkeypatch):
    """90 s hold 256 px; when 60 are left of them, 192 would: but 256 had been begun."""
    sizes = []

    def killed(advice, option, epochs):
        sizes.append(option.image_size)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "try_shortly", killed)
    rows, heads = [candidate("test_resnet")], [head("test_resnet", 0.5)]
    for seconds in (90, 60):
        with pytest.raises(KeyboardInterrupt):
            choose(advice_of(rows, heads, hours=seconds / 3600))
    assert sizes == [256, 256]


def at_once(advice, option, epochs):
    return tried(option, epochs, 1.0, 0.0)


def files_of(folder) -> dict[str, bytes]:
    found = (path for path in folder.root.rglob("*") if path.is_file())
    return {str(path.relative_to(folder.root)): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"network": "resnet18"}, "none of the candidates"),
        ({"mode": "freeze", "image_size": 96}, "features of data.image_size"),
        ({"mode": "freeze", "search": True}, "the plan is a frozen head"),
        ({"mode": "finetune", "epochs": 100_000}, "plan.epochs=100000: .* are left"),
        ({"image_size": 2048}, "a training step of test_resnet would take about"),
    ],
)
def test_a_plan_that_is_refused_leaves_the_one_before(advice_of, monkeypatch, asked, said):
    monkeypatch.setattr(stage, "try_shortly", at_once)
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)], hours=0.05)
    choose(advice)
    write_json(advice.folder.stages, {"choose": {}, "carry_out": {}, "page": {}})
    before = files_of(advice.folder)
    with pytest.raises(ConfigError, match=said):
        plan_anew(replace(advice, plan=asked))
    after = files_of(advice.folder)
    assert {name for name in after if after[name] != before.get(name)} <= {
        "time.jsonl", "options.json", "curve.csv",
    }  # fmt: skip


def test_one_can_go_back_to_a_plan_when_the_time_is_over(advice_of, monkeypatch):
    monkeypatch.setattr(stage, "try_shortly", at_once)
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)], hours=0.05)
    choose(advice)
    first = advice.folder.plan.read_bytes()
    write_json(advice.folder.stages, {"choose": {}, "carry_out": {}, "page": {}})
    plan_anew(replace(advice, plan={"mode": "freeze"}))
    assert AdvicePlan.read(advice.folder.plan).choice.mode == "freeze"
    assert set(read_json(advice.folder.stages)) == {"choose"}  # what follows is done again
    over = replace(advice, ledger=Ledger(advice.folder.time, 0.0))
    plan_anew(over)
    assert advice.folder.plan.read_bytes() == first


def test_a_second_fine_tuning_is_tried_where_there_is_time_for_many_epochs(advice_of):
    """At 288 px an epoch has 9.72 s: half an hour holds 170 of them, five minutes 29."""
    rows, heads = [candidate("test_resnet")], [head("test_resnet", 0.5)]
    for seconds, rivals in ((1800, 2), (300, 1)):
        advice = advice_of(rows, heads, hours=seconds / 3600)
        advice.folder.options.unlink(missing_ok=True)
        probed, counts = read_probed(advice.folder), Counts(36, 12, 12)
        assert options_of(advice, probed, counts, 0.0, {})[1] == rivals


def test_views_that_the_disk_does_not_hold_are_not_kept(advice_of, monkeypatch):
    """3 rows of 36 and one of 12 pictures, of 1,000 bytes at 32 px; 9 times as large at 96."""
    monkeypatch.setattr("carsclf.advising.options.room_on_disk", lambda: 120 * 9000 * 1.01)
    rows, heads = [candidate("test_resnet", **KEPT)], [head("test_resnet", 0.5)]
    advice = advice_of(rows, heads)
    kept = [
        one
        for one in fine_tunings(read_probed(advice.folder), Counts(36, 12, 12), advice, {}, 0)
        if one.mode == "partial"
    ]
    assert [one.image_size for one in kept] == [96]


def test_freezing_half_way_is_refused_where_nothing_can_be(advice_of):
    advice = advice_of([candidate("a")], [head("a", 0.5)], mode="partial")
    with pytest.raises(ConfigError, match="take plan.mode=finetune"):
        choose(advice)


def test_what_is_asked_for_is_planned(advice_of):
    rows = [candidate("test_resnet"), candidate("test_efficientnet")]
    heads = [head("test_resnet", 0.5), head("test_efficientnet", 0.75)]
    advice = advice_of(
        rows, heads, network="test_resnet", mode="finetune", image_size=32, epochs=4, search=False
    )
    choose(advice)
    plan = AdvicePlan.read(advice.folder.plan)
    one = plan.choice
    assert (one.network, one.mode, one.image_size, one.epochs) == ("test_resnet", "finetune", 32, 4)
    assert "trainer.max_epochs=4" in plan.overrides
    assert plan.search_hours is None
    assert one.top1 is not None
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.top1 < one.high
    *short, longer = read_rows(advice.folder.curve, CURVE)
    assert [row["epochs"] for row in (*short, longer)] == [1] * len(short) + [2]
    assert len(short) > 1  # of several rates
    assert one.rate == longer["rate"] == max(short, key=lambda row: row["top1"])["rate"]
    assert plan.asked == advice.plan
    printed = "\n".join(told(plan, "python advise.py resume=there"))
    assert "test_resnet at 32 px, finetune, 4 epochs" in printed
    assert "resume=there plan.network=" in printed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"network": "test_resnett"}, "did you mean 'test_resnet'"),
        ({"mode": "freeze", "epochs": 3}, "has no epochs"),
        ({"mode": "finetune", "image_size": 32, "epochs": 9000}, "plan.epochs=200 fits"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(advice_of, asked, said):
    advice = advice_of([candidate("test_resnet")], [head("test_resnet", 0.5)], 0.05, **asked)
    with pytest.raises(ConfigError, match=said):
        choose(advice)
    assert not advice.folder.plan.exists()


def test_a_fine_tuning_without_time_says_what_can_be_had_instead(advice_of):
    advice = advice_of([candidate("a")], [head("a", 0.5)], 0.001, mode="finetune")
    with pytest.raises(ConfigError, match="plan.mode=freeze plan.network=a is a head"):
        choose(advice)


def test_a_search_needs_the_time_of_six_trainings():
    many, few = Counts(5000, 1000, 1000), Counts(5000, 100, 1000)
    long = choice("a", "finetune", 0.9, 0.02, epochs=30, seconds=100.0)
    assert search_hours(long, 599, many, {}) is None
    assert search_hours(long, 600, many, {}) == pytest.approx(600 * 0.96 / 3600, abs=1e-4)
    assert search_hours(long, 600, few, {}) is None  # 100 pictures tell no trials apart
    assert search_hours(long, 600, few, {"search": True}) is not None
    assert search_hours(long, 600, many, {"search": False}) is None
    with pytest.raises(ConfigError, match="a search needs 6 trainings"):
        search_hours(long, 300, many, {"search": True})


def test_a_plan_is_plain_json(advice_of):
    advice = advice_of([candidate("a")], [head("a", 0.5)], hours=0.004)
    choose(advice)
    assert read_json(advice.folder.plan)["chosen"]["network"] == "a"
