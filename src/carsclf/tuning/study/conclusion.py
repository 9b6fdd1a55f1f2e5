"""The end of a study: what it wrote, drew and says."""

from carsclf.errors import CarsclfError
from carsclf.options.command_line import argument, say_next
from carsclf.tuning.study.display import state, summarise
from carsclf.tuning.study.figures import draw_study
from carsclf.tuning.study.plan import Plan
from carsclf.tuning.study.study import Study
from carsclf.tuning.study.tables import write_study


def conclude(study: Study, plan: Plan, *, say_what_next: bool) -> None:
    """Writes and draws what came out, and says it; raises CarsclfError where nothing did."""
    summary = write_study(study, plan, finished=True)
    draw_study(study, plan.folder.figures)
    print(state(study))
    summarise(study, summary, plan.folder)
    if study.controller.best is None:
        raise CarsclfError(f"no trial of {plan.folder.root} succeeded")
    if not say_what_next:
        return
    if plan.table is None:
        say_next(f"python train.py {argument('overrides', plan.folder.best)}")
    else:
        table = argument("objective.table", plan.composition.config.objective.table)
        other = "asha" if summary.search == "random" else "random"  # the yardstick
        say_next(f"python tune.py objective=replay {table} search={other}")
