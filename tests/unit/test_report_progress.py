"""Each step of the work has words of its own, made from the value alone."""

import pytest

from billingsync.core.progress import Progress, Stage
from billingsync.report.progress import progress_text


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_has_words(stage: Stage) -> None:
    text = progress_text(Progress(stage=stage, nth=2, of=9, client="Contoso", about="2026-11", seconds=61.4))
    assert text and "{" not in text and not text.endswith(".")


def test_a_number_of_one_is_singular() -> None:
    assert progress_text(Progress(stage=Stage.RECOVER, of=1)) == "finding out about 1 posting of an interrupted run"
    assert progress_text(Progress(stage=Stage.RECOVER, of=2)) == "finding out about 2 postings of an interrupted run"


def test_names_with_braces_stay_as_they_are() -> None:
    posting = Progress(stage=Stage.POST, nth=3, of=9, client="{client} {0} Ltd")
    assert progress_text(posting) == "posting 3 of 9: {client} {0} Ltd"


def test_only_stages_that_may_have_a_write_in_hand_say_so() -> None:
    assert {stage for stage in Stage if stage.writes} == {
        Stage.CREATE_GROUP, Stage.CREATE_ITEM, Stage.POST, Stage.UNDO, Stage.SET_LINES,
    }  # fmt: skip
